//! Extension declarations: what a message says about who may extend it.

use std::collections::HashSet;

use super::{Checks, Result};
use crate::schema::ast::{ExtensionRange, Pos, kind};
use crate::schema::pool::{FieldId, MessageId, Target};
use crate::schema::values::Dyn;

/// The numbers of fields of `ExtensionRangeOptions` and its `Declaration`.
const DECLARATION: i64 = 2;
const VERIFICATION: i64 = 3;
mod number {
    pub(super) const NUMBER: i64 = 1;
    pub(super) const FULL_NAME: i64 = 2;
    pub(super) const TYPE: i64 = 3;
    pub(super) const RESERVED: i64 = 5;
    pub(super) const REPEATED: i64 = 6;
}
const UNVERIFIED: i64 = 1;

fn text(declaration: &Dyn, number: i64) -> String {
    String::from_utf8_lossy(declaration.text(number).unwrap_or_default()).into_owned()
}

impl Checks<'_, '_> {
    /// What a message's ranges declare.
    pub(super) fn declarations(&self, id: MessageId) -> Result {
        let ast = self.pool.messages[id].ast;
        let mut names = HashSet::new();
        let mut lists = HashSet::new();
        for range in &ast.ranges {
            let Some(options) = self.options(&range.options) else { continue };
            let mut declared = options.messages(DECLARATION).peekable();
            if declared.peek().is_none() {
                continue;
            }
            // One list of options stands for all ranges of a line, and can be meant for one alone.
            let pos = range.options.list.first().map_or(range.range.pos, |option| option.pos);
            if !lists.insert(pos) {
                return self.fault(
                    pos,
                    "declarations go with one range; write each range on a line of its own",
                );
            }
            if options.int(VERIFICATION) == Some(UNVERIFIED) {
                return self.fault(
                    pos,
                    "a range with declarations is verified; remove `verification = UNVERIFIED`",
                );
            }
            let mut numbers = HashSet::new();
            for declaration in declared {
                self.declaration(declaration, range, pos, &mut numbers, &mut names)?;
            }
        }
        Ok(())
    }

    fn declaration(
        &self,
        declaration: &Dyn,
        range: &ExtensionRange,
        pos: Pos,
        numbers: &mut HashSet<i64>,
        names: &mut HashSet<String>,
    ) -> Result {
        let Some(number) = declaration.int(number::NUMBER) else {
            return self.fault(pos, "the declaration has no number; write `number: ..`");
        };
        let end = if range.range.to_max { i64::MAX } else { range.range.end };
        if number < range.range.start || number >= end {
            return self.fault(
                pos,
                format!(
                    "the declared number {number} lies outside of its range; write one of the range"
                ),
            );
        }
        if !numbers.insert(number) {
            return self.fault(
                pos,
                format!("the number {number} is declared twice; remove one of the two"),
            );
        }
        let (name, r#type) =
            (text(declaration, number::FULL_NAME), text(declaration, number::TYPE));
        if declaration.flag(number::RESERVED) {
            if name.is_empty() != r#type.is_empty() {
                return self.fault(
                    pos,
                    format!(
                        "the reserved number {number} has a name and a type, or neither; write both"
                    ),
                );
            }
        } else if name.is_empty() || r#type.is_empty() {
            return self.fault(
                pos,
                format!(
                    "the declaration of {number} has a name and a type; write full_name and type"
                ),
            );
        }
        if !name.is_empty() {
            if !names.insert(name.clone()) {
                return self.fault(
                    pos,
                    format!("the name `{name}` is declared twice; remove one of the two"),
                );
            }
            if !is_rooted(&name) {
                return self.fault(
                    pos,
                    format!("`{name}` is no full name with a dot in front; write `.package.name`"),
                );
            }
            if kind::scalar(&r#type).is_none() && !is_rooted(&r#type) {
                return self.fault(pos, format!("`{type}` is neither a scalar type nor a full name with a dot in front; write one"));
            }
        }
        Ok(())
    }

    /// Whether an extension is as the range that it lies in declares.
    pub(super) fn declared(&self, id: FieldId, extendee: MessageId, range: usize) -> Result {
        let message = &self.pool.messages[extendee];
        let field = &self.pool.fields[id];
        let range = &message.ast.ranges[range];
        let Some(options) = self.pool.options(message.file, &range.options) else { return Ok(()) };
        let verified =
            options.int(VERIFICATION) == Some(0) || options.messages(DECLARATION).next().is_some();
        if !verified {
            return Ok(());
        }
        let number = field.ast.number;
        let pos = field.ast.number_pos;
        let of = &message.full_name;
        let Some(declaration) =
            options.messages(DECLARATION).find(|it| it.int(number::NUMBER) == Some(number))
        else {
            return self.fault(pos, format!("`{of}` does not declare the extension number {number}; write a number that it declares"));
        };
        if declaration.flag(number::RESERVED) {
            return self.fault(
                pos,
                format!("`{of}` reserves the extension number {number}; write another"),
            );
        }
        let (name, r#type) =
            (text(declaration, number::FULL_NAME), text(declaration, number::TYPE));
        let actual = format!(".{}", field.full_name);
        if name != actual {
            return self.fault(field.ast.name.pos, format!("`{of}` declares `{name}` for the extension number {number}, and this is `{actual}`; write another number"));
        }
        let is = match field.target {
            Target::Message(target) => format!(".{}", self.pool.messages[target].full_name),
            Target::Enum(target) => format!(".{}", self.pool.enums[target].full_name),
            Target::None => SCALARS
                .iter()
                .find(|name| kind::scalar(name) == Some(field.kind))
                .map_or("", |name| *name)
                .to_owned(),
        };
        if is != r#type {
            return self.fault(field.ast.type_name.pos, format!("`{of}` declares the type `{type}` for `{actual}`, and this is `{is}`; write the declared one"));
        }
        if declaration.flag(number::REPEATED) != field.is_repeated() {
            return self.fault(pos, format!("`{of}` declares otherwise whether `{actual}` is repeated; write the declared label"));
        }
        Ok(())
    }
}

const SCALARS: [&str; 15] = [
    "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "bytes",
    "uint32", "sfixed32", "sfixed64", "sint32", "sint64",
];

fn is_rooted(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    name.strip_prefix('.').is_some_and(|rest| rest.split('.').all(part))
}
