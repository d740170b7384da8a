//! Aggregates: messages in protobuf's text format.

use super::{Interpreter, Result};
use crate::schema::ast::{Entry, Key, Pos, Value};
use crate::schema::pool::{FieldId, Lookup, MessageId, Symbol, Target, Want};
use crate::schema::values::{Dyn, Val};

/// The hosts whose type URLs name types of the schema.
const ANY_PREFIXES: [&str; 2] = ["type.googleapis.com/", "type.googleprod.com/"];

impl Interpreter<'_, '_> {
    pub(super) fn entries(&self, entries: &[Entry], out: &mut Dyn) -> Result<()> {
        for entry in entries {
            match &entry.key {
                Key::Any(prefix, name) => self.any(prefix, name, entry, out)?,
                Key::Field(name) => {
                    if let Some(id) = self.field_in_text(out.message, name) {
                        self.entry(id, entry, out)?;
                    } else if !self.is_reserved(out.message, name) {
                        let message = &self.pool.messages[out.message].full_name;
                        return self.fault(entry.pos, format!("`{message}` has no field `{name}`; write an extension's name in brackets"));
                    }
                }
                Key::Extension(name) => {
                    let id = self.extension_in_text(out.message, name, entry.pos)?;
                    self.entry(id, entry, out)?;
                }
            }
        }
        Ok(())
    }

    /// A field by its name; a group by its type's.
    fn field_in_text(&self, message: MessageId, name: &str) -> Option<FieldId> {
        let info = &self.pool.messages[message];
        if let Some(&id) = info.by_name.get(name) {
            return Some(id);
        }
        let &id = info.by_name.get(name.to_ascii_lowercase().as_str())?;
        let Target::Message(target) = self.pool.fields[id].target else { return None };
        let group = self.pool.fields[id].features.message_encoding
            == crate::schema::features::DELIMITED
            || self.pool.fields[id].kind == crate::schema::ast::kind::GROUP;
        (group && self.pool.messages[target].ast.name.text == name).then_some(id)
    }

    fn is_reserved(&self, message: MessageId, name: &str) -> bool {
        self.pool.messages[message].ast.reserved_names.iter().any(|reserved| reserved.text == name)
    }

    /// An extension by its name, relative to the message that holds it. A MessageSet's goes by its type's name as well.
    fn extension_in_text(&self, message: MessageId, name: &str, pos: Pos) -> Result<FieldId> {
        let info = &self.pool.messages[message];
        match self.pool.lookup(self.file, &info.full_name, name, Want::Any, true) {
            Lookup::Found(Symbol::Field(id), _)
                if self.pool.fields[id].extendee == Some(message) =>
            {
                Ok(id)
            }
            Lookup::Found(Symbol::Message(of), _) if info.message_set => {
                let of = &self.pool.messages[of].ast.extensions;
                let found = self.pool.fields.iter().position(|field| {
                    field.extendee == Some(message)
                        && of.iter().any(|ast| std::ptr::eq(ast, field.ast))
                });
                match found {
                    Some(id) => Ok(id),
                    None => self.fault(
                        pos,
                        format!(
                            "`{name}` does not extend `{}`; use an extension of it",
                            info.full_name
                        ),
                    ),
                }
            }
            Lookup::NotImported(home) => {
                let home = &self.pool.files[home].ast.name;
                self.fault(pos, format!("`{name}` is declared in \"{home}\", which is not imported; write `import \"{home}\";`"))
            }
            _ => self.fault(
                pos,
                format!(
                    "`{}` has no extension `{name}`; declare it, or import its file",
                    info.full_name
                ),
            ),
        }
    }

    fn any(&self, prefix: &str, name: &str, entry: &Entry, out: &mut Dyn) -> Result<()> {
        let info = &self.pool.messages[out.message];
        let fields = (info.by_name.get("type_url"), info.by_name.get("value"));
        let (Some(&url), Some(&content), "google.protobuf.Any") =
            (fields.0, fields.1, info.full_name.as_str())
        else {
            let what = format!(
                "`{}` is no google.protobuf.Any; write the name of a field",
                info.full_name
            );
            return self.fault(entry.pos, what);
        };
        if !ANY_PREFIXES.contains(&prefix) {
            return self.fault(
                entry.pos,
                format!("the type URL begins with `{prefix}`; write type.googleapis.com/"),
            );
        }
        let rooted = format!(".{name}");
        let Lookup::Found(Symbol::Message(target), _) =
            self.pool.lookup(self.file, "", &rooted, Want::Any, true)
        else {
            return self.fault(
                entry.pos,
                format!("the message `{name}` is not declared; import the file that declares it"),
            );
        };
        let Value::Message(entries) = &entry.value else {
            return self
                .fault(entry.value_pos, format!("`{name}` is a message; write it in braces"));
        };
        if !out.fields.is_empty() {
            return self.fault(entry.pos, "an Any holds one message; remove the other fields");
        }
        let mut inner = Dyn::new(target);
        self.entries(entries, &mut inner)?;
        self.check_required(&inner, entry.value_pos)?;
        out.push(1, url, Val::Bytes(format!("{prefix}{name}").into_bytes()));
        out.push(2, content, Val::Packed(inner));
        Ok(())
    }

    fn entry(&self, id: FieldId, entry: &Entry, out: &mut Dyn) -> Result<()> {
        let field = &self.pool.fields[id];
        let number = field.ast.number;
        if !field.is_repeated() && out.fields.contains_key(&number) {
            let what = format!(
                "`{}` is not repeated and is set already; remove one of the two",
                field.ast.name.text
            );
            return self.fault(entry.pos, what);
        }
        self.check_oneof(out, id, entry.pos)?;
        let Value::List(list) = &entry.value else {
            let value = self.text_value(id, &entry.value, entry.value_pos)?;
            out.push(number, id, value);
            return Ok(());
        };
        if !field.is_repeated() {
            let what = format!(
                "`{}` is not repeated; write one value without brackets",
                field.ast.name.text
            );
            return self.fault(entry.value_pos, what);
        }
        for (value, pos) in list {
            let value = self.text_value(id, value, *pos)?;
            out.push(number, id, value);
        }
        Ok(())
    }

    fn text_value(&self, id: FieldId, value: &Value, pos: Pos) -> Result<Val> {
        match (self.pool.fields[id].target, value) {
            (Target::Message(target), Value::Message(entries)) => {
                let mut inner = Dyn::new(target);
                self.entries(entries, &mut inner)?;
                Ok(Val::Message(inner))
            }
            (_, value) => self.scalar(id, value, pos, true),
        }
    }
}
