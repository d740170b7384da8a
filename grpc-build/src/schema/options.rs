//! Options: from `name = value` to the fields of a message.

mod aggregate;

use super::FileFault;
use super::ast::{Label, Name, NamePart, OptionDecl, Options, Pos, Value, kind};
use super::pool::{FieldId, FileId, MessageId, Pool, Symbol, Target, Want};
use super::values::{Dyn, Val};

type Result<T, E = FileFault> = std::result::Result<T, E>;

/// Interprets the options of one declaration; `None` where there are none. `scope` is the full name of the declaration,
/// within which names of extensions are looked up.
pub(crate) fn interpret(
    pool: &Pool<'_>,
    file: FileId,
    scope: &str,
    message: MessageId,
    options: &Options,
) -> Result<Option<Dyn>> {
    if options.list.is_empty() {
        return Ok(None);
    }
    let interpreter = Interpreter { pool, file, scope };
    let mut out = Dyn::new(message);
    for option in &options.list {
        interpreter.option(option, &mut out)?;
    }
    Ok(Some(out))
}

/// How an option is written, for errors.
pub(crate) fn display(parts: &[NamePart]) -> String {
    let part = |part: &NamePart| match part.is_extension {
        true => format!("({})", part.name),
        false => part.name.clone(),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(".")
}

struct Interpreter<'p, 'a> {
    pool: &'p Pool<'a>,
    file: FileId,
    scope: &'p str,
}

impl Interpreter<'_, '_> {
    fn fault<T>(&self, pos: Pos, what: impl Into<String>) -> Result<T> {
        self.pool.fault(self.file, pos, what)
    }

    fn option(&self, option: &OptionDecl, out: &mut Dyn) -> Result<()> {
        if option.name[0].name == "uninterpreted_option" && !option.name[0].is_extension {
            return self
                .fault(option.pos, "`uninterpreted_option` is for compilers alone; remove it");
        }
        let mut message = out;
        let (last, around) =
            option.name.split_last().unwrap_or_else(|| unreachable!("a name has parts"));
        for part in around {
            let id = self.named(message.message, part, &option.name)?;
            let field = &self.pool.fields[id];
            let Target::Message(target) = field.target else {
                let what = format!(
                    "`{}` has a value and no fields; write `{} = ..`",
                    part.name, part.name
                );
                return self.fault(part.pos, what);
            };
            if field.is_repeated() {
                let what = format!(
                    "`{}` is repeated; set the whole message by an aggregate: `{} = {{ .. }}`",
                    part.name, part.name
                );
                return self.fault(part.pos, what);
            }
            let slot = message
                .fields
                .entry(field.ast.number)
                .or_insert_with(|| (id, vec![Val::Message(Dyn::new(target))]));
            let Some(Val::Message(inner)) = slot.1.last_mut() else {
                return self.fault(part.pos, format!("`{}` cannot be set here", part.name));
            };
            message = inner;
        }
        let id = self.named(message.message, last, &option.name)?;
        let field = &self.pool.fields[id];
        if !field.is_repeated() && message.fields.contains_key(&field.ast.number) {
            let what = format!(
                "the option `{}` is set already; remove one of the two",
                display(&option.name)
            );
            return self.fault(option.pos, what);
        }
        self.check_oneof(message, id, option.pos)?;
        let value = match &option.value {
            Value::Message(entries) => match field.target {
                Target::Message(target) => {
                    let mut inner = Dyn::new(target);
                    self.entries(entries, &mut inner)?;
                    self.check_required(&inner, option.value_pos)?;
                    Val::Message(inner)
                }
                _ => {
                    return self.fault(
                        option.value_pos,
                        format!(
                            "`{}` is no message; write {} without braces",
                            display(&option.name),
                            self.wanted(id)
                        ),
                    );
                }
            },
            value => self.scalar(id, value, option.value_pos, false)?,
        };
        message.push(field.ast.number, id, value);
        Ok(())
    }

    /// The field of `message` that a part of an option's name means.
    fn named(&self, message: MessageId, part: &NamePart, whole: &[NamePart]) -> Result<FieldId> {
        let info = &self.pool.messages[message];
        if part.is_extension {
            let name = Name { text: part.name.clone(), pos: part.pos };
            let (symbol, _) = self.pool.resolve(self.file, self.scope, &name, Want::Any, true)?;
            return match symbol {
                Symbol::Field(id) if self.pool.fields[id].extendee == Some(message) => Ok(id),
                Symbol::Field(id) if self.pool.fields[id].is_extension() => {
                    let extendee = self.pool.fields[id].extendee.map_or("", |id| self.pool.messages[id].full_name.as_str());
                    self.fault(part.pos, format!("`{}` extends `{extendee}`, and `{}` is set here; use one that extends it", part.name, info.full_name))
                }
                _ => self.fault(part.pos, format!("`{}` is no extension; write an option without parentheses, or the extension's name", part.name)),
            };
        }
        match info.by_name.get(part.name.as_str()) {
            Some(&id) => Ok(id),
            None => {
                let what = format!(
                    "`{}` has no option `{}`; write an extension's name in parentheses, and import its file",
                    info.full_name, part.name
                );
                let what = if whole.len() > 1 && part.pos != whole[0].pos {
                    format!(
                        "`{}` has no field `{}`; declare it, or write an extension's name in parentheses",
                        info.full_name, part.name
                    )
                } else {
                    what
                };
                self.fault(part.pos, what)
            }
        }
    }

    /// One field of a oneof is set at most.
    fn check_oneof(&self, message: &Dyn, id: FieldId, pos: Pos) -> Result<()> {
        let field = &self.pool.fields[id];
        let Some(oneof) = field.ast.oneof.filter(|_| !field.is_extension()) else { return Ok(()) };
        for (other, _) in message.fields.values() {
            let other_field = &self.pool.fields[*other];
            if *other != id && !other_field.is_extension() && other_field.ast.oneof == Some(oneof) {
                let what = format!(
                    "`{}` and `{}` are of one oneof; set one of the two",
                    other_field.ast.name.text, field.ast.name.text
                );
                return self.fault(pos, what);
            }
        }
        Ok(())
    }

    fn check_required(&self, message: &Dyn, pos: Pos) -> Result<()> {
        let info = &self.pool.messages[message.message];
        for &id in &info.fields {
            let field = &self.pool.fields[id];
            if field.ast.label == Some(Label::Required)
                && !message.fields.contains_key(&field.ast.number)
            {
                let what = format!(
                    "the required field `{}` of `{}` is missing; set it",
                    field.ast.name.text, info.full_name
                );
                return self.fault(pos, what);
            }
        }
        for value in message.fields.values().flat_map(|(_, values)| values) {
            if let Val::Message(inner) = value {
                self.check_required(inner, pos)?;
            }
        }
        Ok(())
    }

    /// What the value of a field looks like, for errors.
    fn wanted(&self, id: FieldId) -> String {
        let field = &self.pool.fields[id];
        match (field.kind, field.target) {
            (_, Target::Message(message)) => {
                format!("a `{}` in braces", self.pool.messages[message].full_name)
            }
            (_, Target::Enum(id)) => {
                format!("the name of a value of `{}`", self.pool.enums[id].full_name)
            }
            (kind::BOOL, _) => "true or false".to_owned(),
            (kind::STRING | kind::BYTES, _) => "a string in quotes".to_owned(),
            (kind::DOUBLE | kind::FLOAT, _) => "a number, inf or nan".to_owned(),
            (kind, _) => {
                let (min, max) = int_range(kind);
                format!("an integer from {min} to {max}")
            }
        }
    }

    /// The value of a field that is no message, `in_text` within an aggregate, where more is allowed.
    fn scalar(&self, id: FieldId, value: &Value, pos: Pos, in_text: bool) -> Result<Val> {
        match self.scalar_value(id, value, in_text) {
            Some(value) => Ok(value),
            None => {
                let name = &self.pool.fields[id].ast.name.text;
                self.fault(pos, format!("this is no value of `{name}`; write {}", self.wanted(id)))
            }
        }
    }

    fn scalar_value(&self, id: FieldId, value: &Value, in_text: bool) -> Option<Val> {
        let field = &self.pool.fields[id];
        if let Target::Enum(declared) = field.target {
            let ast = self.pool.enums[declared].ast;
            let number = match value {
                Value::Ident(name) => {
                    ast.values.iter().find(|value| value.name.text == *name)?.number
                }
                Value::Int(number) if in_text => i32::try_from(*number).ok()?,
                Value::NegativeInt(number) if in_text => {
                    i32::try_from(-i128::from(*number)).ok()?
                }
                _ => return None,
            };
            let closed = self.pool.enums[declared].features.enum_type == super::features::CLOSED;
            if closed && !ast.values.iter().any(|value| value.number == number) {
                return None;
            }
            return Some(Val::Int(number.into()));
        }
        if let Target::Message(_) = field.target {
            return None;
        }
        match field.kind {
            kind::STRING | kind::BYTES => match value {
                Value::Str(bytes) => Some(Val::Bytes(bytes.clone())),
                _ => None,
            },
            kind::BOOL => match value {
                Value::Ident(name) => match name.as_str() {
                    "true" => Some(Val::Int(1)),
                    "false" => Some(Val::Int(0)),
                    "True" | "t" if in_text => Some(Val::Int(1)),
                    "False" | "f" if in_text => Some(Val::Int(0)),
                    _ => None,
                },
                Value::Int(number @ 0..=1) if in_text => Some(Val::Int(*number as i64)),
                _ => None,
            },
            kind::DOUBLE => float(value, in_text).map(Val::Double),
            kind::FLOAT => float(value, in_text).map(|value| Val::Float(value as f32)),
            kind => {
                let number = match value {
                    Value::Int(number) => i128::from(*number),
                    Value::NegativeInt(number) => -i128::from(*number),
                    _ => return None,
                };
                let (min, max) = int_range(kind);
                (min..=max).contains(&number).then_some(Val::Int(number as i64))
            }
        }
    }
}

/// The least and the greatest value of an integer type.
pub(crate) fn int_range(kind: i32) -> (i128, i128) {
    match kind {
        kind::INT32 | kind::SINT32 | kind::SFIXED32 => (i32::MIN.into(), i32::MAX.into()),
        kind::UINT32 | kind::FIXED32 => (0, u32::MAX.into()),
        kind::UINT64 | kind::FIXED64 => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

/// A floating-point value, as it may be written.
pub(crate) fn float(value: &Value, in_text: bool) -> Option<f64> {
    let named = |name: &str| {
        let lower = if in_text { name.to_ascii_lowercase() } else { name.to_owned() };
        match lower.as_str() {
            "inf" => Some(f64::INFINITY),
            "infinity" if in_text => Some(f64::INFINITY),
            "nan" => Some(f64::NAN),
            _ => None,
        }
    };
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::NegativeInt(value) => Some(-(*value as f64)),
        Value::Float(value) => Some(*value),
        Value::Ident(name) => named(name),
        Value::NegativeIdent(name) => named(name).map(|value| -value),
        _ => None,
    }
}
