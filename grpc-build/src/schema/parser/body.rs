//! What is declared in messages.

use super::{MAX_MESSAGE_DEPTH, Parser, Result};
use crate::schema::Fault;
use crate::schema::ast::{ExtensionRange, Field, Message, Name, Oneof, Range, Visibility, edition};
use crate::schema::lexer::Kind;

impl Parser<'_> {
    pub(super) fn message(&mut self, location: usize, visibility: Visibility) -> Result<Message> {
        self.bump();
        let name = self.ident("the message's name")?;
        let mut message = self.empty_message(name);
        message.visibility = visibility;
        self.message_block(&mut message, location)?;
        Ok(message)
    }

    pub(super) fn empty_message(&mut self, name: Name) -> Message {
        Message {
            name,
            fields: Vec::new(),
            extensions: Vec::new(),
            messages: Vec::new(),
            enums: Vec::new(),
            oneofs: Vec::new(),
            ranges: Vec::new(),
            reserved: Vec::new(),
            reserved_names: Vec::new(),
            visibility: Visibility::Unset,
            map_entry: false,
            options: self.options(),
        }
    }

    /// `{ .. }`, for messages and groups.
    pub(super) fn message_block(&mut self, message: &mut Message, location: usize) -> Result<()> {
        if self.depth >= MAX_MESSAGE_DEPTH {
            let what = format!(
                "messages lie in each other more than {MAX_MESSAGE_DEPTH} deep; declare some of them outside"
            );
            return self.fault(what);
        }
        self.depth += 1;
        self.want_end("{", Some(location), "before what the message declares")?;
        while !self.end_token("}", None) {
            if self.now().kind == Kind::End {
                return self.expected(&format!("`}}` at the end of `{}`", message.name.text));
            }
            if !self.end_token(";", None) {
                self.message_statement(message)?;
            }
        }
        self.depth -= 1;
        self.synthetic_oneofs(message);
        Ok(())
    }

    fn message_statement(&mut self, message: &mut Message) -> Result<()> {
        let visibility = self.visibility()?;
        let declares = self.ahead(1).kind == Kind::Ident && self.text_of(self.ahead(2)) == b"{";
        if self.is("message")
            && (visibility != Visibility::Unset || declares || !self.looks_like_field())
        {
            let index = message.messages.len();
            let nested =
                self.located(3, Some(index), |parser, at| parser.message(at, visibility))?;
            message.messages.push(nested);
        } else if self.is("enum")
            && (visibility != Visibility::Unset || declares || !self.looks_like_field())
        {
            let index = message.enums.len();
            let nested =
                self.located(4, Some(index), |parser, at| parser.r#enum(at, visibility))?;
            message.enums.push(nested);
        } else if self.is("extensions") {
            self.extensions(message)?;
        } else if self.is("reserved") {
            self.reserved(message)?;
        } else if self.is("extend") {
            let (extensions, messages) = (&mut message.extensions, &mut message.messages);
            self.within(6, None, |parser| parser.extend(extensions, messages, 3))?;
        } else if self.is("option") {
            let options = &mut message.options;
            self.located(7, None, |parser, at| parser.option_statement(options, at))?;
        } else if self.is("oneof") {
            self.oneof(message)?;
        } else {
            self.field(message, None)?;
        }
        Ok(())
    }

    /// `TYPE NAME =`, where the type has the name of a keyword.
    fn looks_like_field(&self) -> bool {
        self.text_of(self.ahead(2)) == b"="
    }

    fn oneof(&mut self, message: &mut Message) -> Result<()> {
        let index = message.oneofs.len();
        let len = self.path.len();
        self.path.extend([8, index as i32]);
        let location = self.begin();
        self.bump();
        let name = self.ident("the oneof's name")?;
        let options = self.options();
        message.oneofs.push(Oneof { name, options });
        self.want_end("{", Some(location), "before the fields of the oneof")?;
        self.path.truncate(len);
        while !self.end_token("}", None) {
            if self.now().kind == Kind::End {
                return self.expected("`}` at the end of the oneof");
            }
            if self.is("option") {
                let options = &mut message.oneofs[index].options;
                self.path.extend([8, index as i32]);
                self.located(2, None, |parser, at| parser.option_statement(options, at))?;
                self.path.truncate(len);
                continue;
            }
            self.field(message, Some(index as u32))?;
        }
        self.end(location);
        Ok(())
    }

    /// A oneof of its own around each optional field of proto3, which is how readers of descriptors know its presence.
    fn synthetic_oneofs(&mut self, message: &mut Message) {
        if !message.fields.iter().any(|field| field.proto3_optional) {
            return;
        }
        let mut names = message
            .fields
            .iter()
            .map(|field| field.name.text.clone())
            .collect::<std::collections::HashSet<_>>();
        names.extend(message.oneofs.iter().map(|oneof| oneof.name.text.clone()));
        for field in message.fields.iter_mut().filter(|field| field.proto3_optional) {
            let mut name = field.name.text.clone();
            if !name.starts_with('_') {
                name.insert(0, '_');
            }
            while names.contains(&name) {
                name.insert(0, 'X');
            }
            names.insert(name.clone());
            field.oneof = Some(message.oneofs.len() as u32);
            let name = Name { text: name, pos: field.name.pos };
            let options = self.options();
            message.oneofs.push(Oneof { name, options });
        }
    }

    fn extensions(&mut self, message: &mut Message) -> Result<()> {
        if self.edition == edition::PROTO3 {
            return self.fault(
                "proto3 has no extension ranges; remove the line, or use proto2 or an edition",
            );
        }
        let keyword = self.pos();
        self.bump();
        let first = message.ranges.len();
        loop {
            let pos = self.pos();
            let start = self.int("a field number")? as i64;
            let mut end = start;
            let mut to_max = false;
            if self.take("to") {
                if self.take("max") {
                    to_max = true;
                } else {
                    end = self.int("a field number or `max`")? as i64;
                }
            }
            let range = Range { to_max, ..range(start, end, pos)? };
            let options = self.options();
            message.ranges.push(ExtensionRange { range, options });
            if !self.take(",") {
                break;
            }
        }
        if self.is("[") {
            let mut options = std::mem::take(&mut message.ranges[first].options);
            self.path.extend([5, first as i32, 3]);
            self.option_list(&mut options)?;
            self.path.truncate(self.path.len() - 3);
            for range in &mut message.ranges[first..] {
                let id = range.options.id;
                range.options.list.clone_from(&options.list);
                range.options.id = id;
            }
            message.ranges[first].options.id = options.id;
        }
        self.path.push(5);
        self.locations.push(crate::schema::ast::Location {
            path: self.path.clone(),
            start: keyword,
            ..Default::default()
        });
        self.path.pop();
        let location = self.locations.len() - 1;
        self.want_end(";", Some(location), "behind the extension ranges")?;
        self.end(location);
        Ok(())
    }

    /// Field numbers or names that must not be used again.
    fn reserved(&mut self, message: &mut Message) -> Result<()> {
        self.bump();
        if self.reserved_names(&mut message.reserved_names)? {
            return Ok(());
        }
        loop {
            let pos = self.pos();
            let start = self.int("a field number, a range or names")? as i64;
            let (mut end, mut to_max) = (start, false);
            if self.take("to") {
                to_max = self.take("max");
                if !to_max {
                    end = self.int("a field number or `max`")? as i64;
                }
            }
            message.reserved.push(Range { to_max, ..range(start, end, pos)? });
            if !self.take(",") {
                break;
            }
        }
        self.want_end(";", None, "behind the reserved numbers")
    }

    /// Whether names are reserved here; they are read if so. In quotes up to proto3, without from edition 2023 on.
    pub(super) fn reserved_names(&mut self, names: &mut Vec<Name>) -> Result<bool> {
        let quoted = self.now().kind == Kind::Str;
        if !quoted && self.now().kind != Kind::Ident {
            return Ok(false);
        }
        if quoted && self.edition >= edition::E2023 {
            return self.fault("reserved names have no quotes in editions; write the name alone");
        }
        if !quoted && self.edition < edition::E2023 {
            return self.fault("reserved names have quotes in proto2 and proto3; write \"name\"");
        }
        loop {
            let name =
                if quoted { self.text_strings("a name in quotes")? } else { self.ident("a name")? };
            names.push(name);
            if !self.take(",") {
                break;
            }
        }
        self.want_end(";", None, "behind the reserved names")?;
        Ok(true)
    }

    pub(super) fn extend(
        &mut self,
        extensions: &mut Vec<Field>,
        messages: &mut Vec<Message>,
        message_field: i32,
    ) -> Result<()> {
        let location = self.begin();
        self.bump();
        let extendee = self.full_name("the name of the message that is extended", true)?;
        self.want_end("{", Some(location), "before the extensions")?;
        loop {
            if self.now().kind == Kind::End {
                return self.expected("`}` at the end of the extensions");
            }
            let before = messages.len();
            let index = extensions.len();
            self.path.push(index as i32);
            let mut field = self.field_with_label(messages, message_field, None)?;
            self.path.pop();
            debug_assert!(messages.len() <= before + 1);
            field.extendee = Some(extendee.clone());
            extensions.push(field);
            if self.end_token("}", None) {
                break;
            }
        }
        self.end(location);
        Ok(())
    }
}

/// A range as descriptors have it: the end is the first number behind it.
fn range(start: i64, end: i64, pos: u32) -> Result<Range> {
    let numbers = 0..=i64::from(i32::MAX);
    if !numbers.contains(&start) || !numbers.contains(&end) {
        return Err(Fault::new(pos, "the number is out of range; write one from 1 to 536870911"));
    }
    Ok(Range { start, end: end + 1, to_max: false, pos })
}
