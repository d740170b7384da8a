//! Enums.

use super::{Parser, Result};
use crate::schema::ast::{Enum, EnumValue, Range, Visibility};
use crate::schema::lexer::Kind;

impl Parser<'_> {
    pub(super) fn r#enum(&mut self, location: usize, visibility: Visibility) -> Result<Enum> {
        self.bump();
        let name = self.ident("the enum's name")?;
        let mut out = Enum {
            name,
            values: Vec::new(),
            reserved: Vec::new(),
            reserved_names: Vec::new(),
            visibility,
            options: self.options(),
        };
        self.want_end("{", Some(location), "before the values of the enum")?;
        while !self.end_token("}", None) {
            if self.now().kind == Kind::End {
                return self.expected(&format!("`}}` at the end of `{}`", out.name.text));
            }
            if self.end_token(";", None) {
                continue;
            }
            if self.is("option") && !self.next_is("=") {
                let options = &mut out.options;
                self.located(3, None, |parser, at| parser.option_statement(options, at))?;
            } else if self.is("reserved") && !self.next_is("=") {
                self.reserved_values(&mut out)?;
            } else {
                let value = self.located(2, Some(out.values.len()), Self::enum_value)?;
                out.values.push(value);
            }
        }
        Ok(out)
    }

    fn enum_value(&mut self, location: usize) -> Result<EnumValue> {
        let name = self.ident("the value's name")?;
        self.want("=", "and the value's number")?;
        let number = self.signed("the value's number")?;
        let mut options = self.options();
        if self.is("[") {
            self.path.push(3);
            self.option_list(&mut options)?;
            self.path.pop();
        }
        self.want_end(";", Some(location), "behind the value")?;
        Ok(EnumValue { name, number, options })
    }

    fn reserved_values(&mut self, out: &mut Enum) -> Result<()> {
        self.bump();
        if self.reserved_names(&mut out.reserved_names)? {
            return Ok(());
        }
        loop {
            let pos = self.pos();
            let start = self.signed("a number, a range or names")?;
            let end = match self.take("to") {
                true if self.take("max") => i32::MAX,
                true => self.signed("a number or `max`")?,
                false => start,
            };
            out.reserved.push(Range { start: start.into(), end: end.into(), to_max: false, pos });
            if !self.take(",") {
                break;
            }
        }
        self.want_end(";", None, "behind the reserved numbers")
    }
}
