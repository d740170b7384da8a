//! Fields of messages, oneofs and extensions.

use super::{Parser, Result};
use crate::schema::Fault;
use crate::schema::ast::{Field, Label, Message, Name, edition, kind};

impl Parser<'_> {
    /// Reads a field into `message`, within a oneof if there is one.
    pub(super) fn field(&mut self, message: &mut Message, oneof: Option<u32>) -> Result<()> {
        let index = message.fields.len();
        let len = self.path.len();
        self.path.extend([2, index as i32]);
        let field = self.field_with_label(&mut message.messages, 3, oneof)?;
        self.path.truncate(len);
        message.fields.push(field);
        Ok(())
    }

    /// Reads a field at the current path. Groups and map entries are added to `messages`, which are the field
    /// `message_field` of what declares them.
    pub(super) fn field_with_label(
        &mut self,
        messages: &mut Vec<Message>,
        message_field: i32,
        oneof: Option<u32>,
    ) -> Result<Field> {
        let location = self.begin();
        let start = self.pos();
        let label = match () {
            () if self.is("optional") => Some(Label::Optional),
            () if self.is("required") => Some(Label::Required),
            () if self.is("repeated") => Some(Label::Repeated),
            () => None,
        };
        if label.is_some() {
            if oneof.is_some() {
                return self.fault("fields of a oneof have no label; remove it");
            }
            if label == Some(Label::Optional) && self.edition >= edition::E2023 {
                return self
                    .fault("editions have no `optional`: presence is a feature; remove the label");
            }
            if label == Some(Label::Required) && self.edition >= edition::E2023 {
                return self.fault("editions have no `required`; write [features.field_presence = LEGACY_REQUIRED] behind the number");
            }
            if label == Some(Label::Required) && self.edition == edition::PROTO3 {
                return self.fault("proto3 has no required fields; remove `required`");
            }
            self.bump();
        }
        let is_map = self.is("map") && self.next_is("<");
        if label.is_none() && oneof.is_none() && !is_map && self.edition == edition::PROTO2 {
            return self
                .expected("`optional`, `required` or `repeated` before the type of a field");
        }
        let mut field = Field {
            name: Name::default(),
            number: 0,
            number_pos: 0,
            label,
            kind: 0,
            type_name: Name::default(),
            extendee: None,
            default: None,
            json_name: None,
            oneof,
            proto3_optional: false,
            options: self.options(),
        };
        let mut map = None;
        if is_map {
            if label.is_some() {
                return Err(Fault::new(start, "a map has no label; remove it"));
            }
            if oneof.is_some() {
                return self.fault("a oneof holds no maps; put the map into a message of its own");
            }
            // The path of a field of a message has its index at the end, and its field before.
            if self.path.len() >= 2 && self.path[self.path.len() - 2] != 2 {
                return self.fault("an extension cannot be a map; use a repeated message");
            }
            map = Some(self.map_types()?);
            field.label = Some(Label::Repeated);
        } else {
            self.field_type(&mut field)?;
        }
        if field.kind == kind::GROUP && self.edition != edition::PROTO2 {
            return Err(Fault::new(
                start,
                "there are groups in proto2 only; use a message, in editions with [features.message_encoding = DELIMITED]",
            ));
        }
        field.proto3_optional = label == Some(Label::Optional) && self.edition == edition::PROTO3;
        field.name = self.ident("the field's name")?;
        self.want("=", "and the field's number")?;
        field.number_pos = self.pos();
        let number = self.int("the field's number")?;
        field.number = match i32::try_from(number) {
            Ok(number) => i64::from(number),
            Err(_) => {
                let what = "the field number is out of range; write one from 1 to 536870911";
                return Err(Fault::new(field.number_pos, what));
            }
        };
        if self.is("[") {
            self.field_options(&mut field)?;
        }
        if field.kind == kind::GROUP {
            self.group(&mut field, messages, message_field, location)?;
        } else {
            self.want_end(";", Some(location), "behind the field")?;
        }
        self.end(location);
        if let Some((key, value)) = map {
            let entry = self.map_entry(&mut field, key, value);
            messages.push(entry);
        }
        Ok(field)
    }

    fn field_type(&mut self, field: &mut Field) -> Result<()> {
        if self.is("group") && self.next_is_name() {
            self.bump();
            field.kind = kind::GROUP;
            return Ok(());
        }
        (field.kind, field.type_name) = self.any_type("the type of a field")?;
        Ok(())
    }

    /// `group Name`: a field's type may be called `group` as well.
    fn next_is_name(&self) -> bool {
        let third = self.text_of(self.ahead(2));
        self.ahead(1).kind == super::Kind::Ident && third == b"=" && {
            let mut ahead = 4;
            if self.text_of(self.ahead(ahead)) == b"[" {
                let mut depth = 0_i32;
                loop {
                    match self.text_of(self.ahead(ahead)) {
                        b"[" => depth += 1,
                        b"]" => depth -= 1,
                        b"" | b";" => break,
                        _ => {}
                    }
                    ahead += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
            self.text_of(self.ahead(ahead)) == b"{"
        }
    }

    /// The number of a type and its name, of which one is empty.
    fn any_type(&mut self, what: &str) -> Result<(i32, Name)> {
        let scalar = kind::scalar(&String::from_utf8_lossy(self.text_of(self.now())));
        match scalar {
            Some(kind) => {
                let pos = self.bump().start;
                Ok((kind, Name { text: String::new(), pos }))
            }
            None => Ok((0, self.full_name(what, true)?)),
        }
    }

    fn map_types(&mut self) -> Result<((i32, Name), (i32, Name))> {
        self.bump();
        self.bump();
        let key = self.any_type("the type of the map's keys")?;
        self.want(",", "between the types of a map")?;
        let value = self.any_type("the type of the map's values")?;
        self.want(">", "behind the types of a map")?;
        Ok((key, value))
    }

    /// The message that a map's field stands for.
    fn map_entry(&mut self, field: &mut Field, key: (i32, Name), value: (i32, Name)) -> Message {
        let mut upper = true;
        let mut text = String::new();
        for byte in field.name.text.chars() {
            if byte == '_' {
                upper = true;
            } else {
                text.push(if upper { byte.to_ascii_uppercase() } else { byte });
                upper = false;
            }
        }
        text.push_str("Entry");
        let name = Name { text, pos: field.name.pos };
        field.type_name = name.clone();
        field.kind = kind::MESSAGE;
        let mut entry = self.empty_message(name);
        entry.map_entry = true;
        for (name, number, (kind, type_name)) in [("key", 1, key), ("value", 2, value)] {
            let mut options = self.options();
            options.list = field
                .options
                .list
                .iter()
                .filter(|option| {
                    option.name.len() > 1
                        && option.name[0].name == "features"
                        && !option.name[0].is_extension
                })
                .cloned()
                .collect();
            entry.fields.push(Field {
                name: Name { text: name.to_owned(), pos: type_name.pos },
                number,
                number_pos: field.number_pos,
                label: Some(Label::Optional),
                kind,
                type_name,
                extendee: None,
                default: None,
                json_name: None,
                oneof: None,
                proto3_optional: false,
                options,
            });
        }
        entry
    }

    fn group(
        &mut self,
        field: &mut Field,
        messages: &mut Vec<Message>,
        message_field: i32,
        location: usize,
    ) -> Result<()> {
        if !field.name.text.starts_with(|first: char| first.is_ascii_uppercase()) {
            return Err(Fault::new(
                field.name.pos,
                "the name of a group begins with a small letter; write a capital one",
            ));
        }
        let name = field.name.clone();
        field.type_name = name.clone();
        field.name.text.make_ascii_lowercase();
        let mut message = self.empty_message(name);
        let path = self.path.clone();
        // The message is declared beside the field: in a message `[.., 2, i]`, else as the caller says.
        let len = path.len().saturating_sub(2);
        self.path.truncate(len);
        self.path.extend([message_field, messages.len() as i32]);
        let nested = self.begin();
        self.locations[nested].start = self.locations[location].start;
        let result = self.message_block(&mut message, nested);
        self.end(nested);
        self.path = path;
        result?;
        let (leading, trailing) = {
            let nested = &self.locations[nested];
            (nested.leading.clone(), nested.trailing.clone())
        };
        self.locations[location].leading = leading;
        self.locations[location].trailing = trailing;
        messages.push(message);
        Ok(())
    }

    /// `[..]`, of which the default and the JSON name are no options in the descriptor.
    fn field_options(&mut self, field: &mut Field) -> Result<()> {
        self.want("[", "before the options")?;
        loop {
            if self.is("default") && self.next_is("=") {
                self.default(field)?;
            } else if self.is("json_name") && self.next_is("=") {
                let pos = self.pos();
                self.bump();
                self.bump();
                if field.json_name.is_some() {
                    return Err(Fault::new(
                        pos,
                        "the JSON name is set twice; remove one of the two",
                    ));
                }
                field.json_name = Some(self.text_strings("the JSON name in quotes")?);
            } else {
                self.within(8, None, |parser| parser.option(&mut field.options, true))?;
            }
            if !self.take(",") {
                break;
            }
        }
        self.want("]", "behind the options")
    }

    fn default(&mut self, field: &mut Field) -> Result<()> {
        let pos = self.pos();
        if field.default.is_some() {
            return self.fault("the default is set twice; remove one of the two");
        }
        self.bump();
        self.bump();
        let value_pos = self.pos();
        let value = self.scalar_value()?;
        if self.edition == edition::PROTO3 {
            return Err(Fault::new(pos, "proto3 has no defaults; remove it"));
        }
        field.default = Some((value, value_pos));
        Ok(())
    }
}
