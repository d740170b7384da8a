//! Options and their values, aggregates included.

use super::{MAX_VALUE_DEPTH, Parser, Result};
use crate::schema::Fault;
use crate::schema::ast::{Entry, Key, NamePart, OptionDecl, Options, Pos, Value};
use crate::schema::lexer::{self, Kind};

impl Parser<'_> {
    /// `option name = value;`
    pub(super) fn option_statement(
        &mut self,
        options: &mut Options,
        location: usize,
    ) -> Result<()> {
        self.want("option", "before an option")?;
        self.option(options, false)?;
        self.want_end(";", Some(location), "behind the option")
    }

    /// `[name = value, ..]`
    pub(super) fn option_list(&mut self, options: &mut Options) -> Result<()> {
        self.want("[", "before the options")?;
        loop {
            self.option(options, true)?;
            if !self.take(",") {
                break;
            }
        }
        self.want("]", "behind the options")
    }

    /// `name = value`
    pub(super) fn option(&mut self, options: &mut Options, located: bool) -> Result<()> {
        let location = located.then(|| self.begin());
        let pos = self.pos();
        let mut name = vec![self.name_part()?];
        while self.take(".") {
            name.push(self.name_part()?);
            if name.len() > MAX_VALUE_DEPTH {
                let what = format!(
                    "the option's name has more than {MAX_VALUE_DEPTH} parts; set it by an aggregate"
                );
                return self.fault(what);
            }
        }
        self.want("=", "and the option's value")?;
        let value_pos = self.pos();
        let value = if self.is("{") {
            self.bump();
            Value::Message(self.entries("}", 0)?)
        } else {
            self.scalar_value()?
        };
        options.list.push(OptionDecl { name, value, pos, value_pos });
        if let Some(location) = location {
            self.end(location);
        }
        Ok(())
    }

    fn name_part(&mut self) -> Result<NamePart> {
        if self.take("(") {
            let name = self.full_name("the name of an extension", true)?;
            self.want(")", "behind the extension's name")?;
            return Ok(NamePart { name: name.text, is_extension: true, pos: name.pos });
        }
        let name = self.ident("the option's name, an extension's in parentheses")?;
        Ok(NamePart { name: name.text, is_extension: false, pos: name.pos })
    }

    /// A number, a name or strings.
    pub(super) fn scalar_value(&mut self) -> Result<Value> {
        let negative = self.take("-");
        let now = self.now();
        match now.kind {
            Kind::Int => {
                self.bump();
                let text = self.text_of(now);
                Ok(match (lexer::int_value(text), negative) {
                    (Some(value), false) => Value::Int(value),
                    (Some(value), true) if value <= 1 << 63 => Value::NegativeInt(value),
                    (_, true) => Value::Float(-lexer::float_value(text)),
                    (None, false) => Value::Float(lexer::float_value(text)),
                })
            }
            Kind::Float => {
                self.bump();
                let value = lexer::float_value(self.text_of(now));
                Ok(Value::Float(if negative { -value } else { value }))
            }
            Kind::Ident => {
                self.bump();
                let name = self.string_of(now);
                Ok(if negative { Value::NegativeIdent(name) } else { Value::Ident(name) })
            }
            Kind::Str if !negative => Ok(Value::Str(self.strings("a string")?)),
            _ => self.expected("a number, a string, a name or an aggregate in braces"),
        }
    }

    /// The fields of an aggregate up to `close`.
    fn entries(&mut self, close: &str, depth: usize) -> Result<Vec<Entry>> {
        if depth >= MAX_VALUE_DEPTH {
            return self.fault(format!(
                "values lie in each other more than {MAX_VALUE_DEPTH} deep; flatten the message"
            ));
        }
        let mut out = Vec::new();
        while !self.take(close) {
            if self.now().kind == Kind::End {
                return self.expected(&format!("`{close}` at the end of the value"));
            }
            let pos = self.pos();
            let key = self.key()?;
            let colon = self.take(":");
            let value_pos = self.pos();
            let value = self.aggregate_value(colon, depth)?;
            out.push(Entry { key, pos, value, value_pos });
            if !self.take(";") {
                self.take(",");
            }
        }
        Ok(out)
    }

    fn key(&mut self) -> Result<Key> {
        if !self.take("[") {
            return Ok(Key::Field(
                self.ident("the name of a field, an extension's in brackets")?.text,
            ));
        }
        let mut name = self.full_name("the name of an extension or the URL of a type", true)?.text;
        let mut prefix = None;
        // A URL may have characters between that are no name; those of a plain domain do.
        while self.is("/") || self.is("-") {
            let token = self.bump();
            if self.text_of(token) == b"/" {
                let before = prefix.take().unwrap_or_default();
                prefix = Some(format!("{before}{name}/"));
                name = self.full_name("the name of a message", false)?.text;
            } else {
                name.push('-');
                name.push_str(&self.full_name("the rest of the URL", false)?.text);
            }
        }
        self.want("]", "behind the name")?;
        Ok(match prefix {
            Some(prefix) => Key::Any(prefix, name),
            None => Key::Extension(name),
        })
    }

    fn aggregate_value(&mut self, colon: bool, depth: usize) -> Result<Value> {
        for (open, close) in [("{", "}"), ("<", ">")] {
            if self.take(open) {
                return Ok(Value::Message(self.entries(close, depth + 1)?));
            }
        }
        if self.take("[") {
            let mut list = Vec::new();
            while !self.take("]") {
                if !list.is_empty() {
                    self.want(",", "between the values of a list")?;
                }
                let pos: Pos = self.pos();
                if self.is("[") {
                    return self.fault("a list holds no lists; write its values one by one");
                }
                let value = self.aggregate_value(true, depth + 1)?;
                if !colon && !matches!(value, Value::Message(_)) {
                    return Err(Fault::new(
                        pos,
                        "values that are no messages have a colon before; write `:` behind the name",
                    ));
                }
                list.push((value, pos));
            }
            return Ok(Value::List(list));
        }
        if !colon {
            return self.expected("`:` behind the name, or a message in braces");
        }
        self.scalar_value()
    }
}
