//! Enums: their values.

use std::collections::{HashMap, HashSet};

use super::{Checks, Result};
use crate::schema::features;
use crate::schema::pool::EnumId;

/// The numbers of options of enums.
const ALLOW_ALIAS: i64 = 2;
const LEGACY_JSON_CONFLICTS: i64 = 6;

impl Checks<'_, '_> {
    pub(super) fn r#enum(&self, id: EnumId) -> Result {
        let info = &self.pool.enums[id];
        let ast = info.ast;
        let Some(first) = ast.values.first() else {
            return self.fault(
                ast.name.pos,
                format!("the enum `{}` has no values; declare one", info.full_name),
            );
        };
        if first.number != 0 && info.features.enum_type != features::CLOSED {
            return self.fault(
                first.name.pos,
                "the first value of an open enum is 0; declare a value 0 before it",
            );
        }
        let options = self.options(&ast.options);
        let allowed = options.and_then(|options| options.int(ALLOW_ALIAS));
        let at_alias = || self.pos_of(&ast.options, "allow_alias", ast.name.pos);
        if allowed == Some(0) {
            return self.fault(at_alias(), "`allow_alias = false` is the default; remove it");
        }
        let mut numbers: HashMap<i32, &str> = HashMap::new();
        let mut aliases = false;
        for value in &ast.values {
            if let Some(other) = numbers.insert(value.number, &value.name.text) {
                aliases = true;
                if allowed != Some(1) {
                    let what = format!(
                        "the number {} is that of `{other}` already; write another, or `option allow_alias = true;`",
                        value.number
                    );
                    return self.fault(value.name.pos, what);
                }
            }
        }
        if allowed == Some(1) && !aliases {
            return self
                .fault(at_alias(), "no two values have the same number; remove `allow_alias`");
        }
        self.reserved_values(id)?;
        self.value_names(id)
    }

    fn reserved_values(&self, id: EnumId) -> Result {
        let ast = self.pool.enums[id].ast;
        let mut before: Vec<&crate::schema::ast::Range> = Vec::new();
        for range in &ast.reserved {
            if range.end < range.start {
                return self.fault(
                    range.pos,
                    "the range ends before it begins; write the smaller number first",
                );
            }
            if let Some(other) =
                before.iter().find(|other| range.start <= other.end && other.start <= range.end)
            {
                let what = format!(
                    "the reserved range {} to {} overlaps {} to {}; remove the numbers from one of the two",
                    range.start, range.end, other.start, other.end
                );
                return self.fault(range.pos, what);
            }
            before.push(range);
        }
        let mut names = HashSet::new();
        for name in &ast.reserved_names {
            if !names.insert(name.text.as_str()) {
                return self.fault(
                    name.pos,
                    format!("the name `{}` is reserved twice; remove one of the two", name.text),
                );
            }
        }
        for value in &ast.values {
            let number = i64::from(value.number);
            if ast.reserved.iter().any(|range| (range.start..=range.end).contains(&number)) {
                return self.fault(
                    value.name.pos,
                    format!("the number {number} is reserved; write another"),
                );
            }
            if names.contains(value.name.text.as_str()) {
                return self.fault(
                    value.name.pos,
                    format!("the name `{}` is reserved; write another", value.name.text),
                );
            }
        }
        Ok(())
    }

    /// Names that are one without the enum's name in front and in the case that languages give them.
    fn value_names(&self, id: EnumId) -> Result {
        let info = &self.pool.enums[id];
        let legacy = self
            .options(&info.ast.options)
            .is_some_and(|options| options.flag(LEGACY_JSON_CONFLICTS));
        if legacy {
            return Ok(());
        }
        let mut names: HashMap<String, (&str, i32)> = HashMap::new();
        for value in &info.ast.values {
            let name = without_prefix(&info.ast.name.text, &value.name.text);
            match names.get(&name) {
                Some((other, number)) if *number != value.number => {
                    let what = format!(
                        "`{}` and `{other}` are one without the enum's name in front; rename one of the two",
                        value.name.text
                    );
                    return self.fault(value.name.pos, what);
                }
                Some(_) => {}
                None => {
                    names.insert(name, (&value.name.text, value.number));
                }
            }
        }
        Ok(())
    }
}

/// A value's name without the enum's in front, underscores and case aside, in camel case.
fn without_prefix(of: &str, name: &str) -> String {
    let plain = |text: &str| {
        text.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect::<String>()
    };
    let prefix = plain(of);
    let mut left = prefix.chars().peekable();
    let mut rest = name.char_indices();
    let mut end = 0;
    for (i, char) in rest.by_ref() {
        if char == '_' {
            continue;
        }
        if left.next_if(|next| *next == char.to_ascii_lowercase()).is_none() {
            end = i;
            break;
        }
        end = i + 1;
        if left.peek().is_none() {
            break;
        }
    }
    let stripped = if left.peek().is_some() { name } else { name[end..].trim_start_matches('_') };
    let stripped = if stripped.is_empty() { name } else { stripped };
    let mut out = String::new();
    let mut upper = true;
    for char in stripped.chars() {
        if char == '_' {
            upper = true;
        } else {
            out.push(if upper { char.to_ascii_uppercase() } else { char.to_ascii_lowercase() });
            upper = false;
        }
    }
    out
}
