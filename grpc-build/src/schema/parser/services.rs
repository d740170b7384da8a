//! Services and their methods.

use super::{Parser, Result};
use crate::schema::ast::{Method, Name, Service};
use crate::schema::lexer::Kind;

impl Parser<'_> {
    pub(super) fn service(&mut self, location: usize) -> Result<Service> {
        self.bump();
        let name = self.ident("the service's name")?;
        let mut out = Service { name, methods: Vec::new(), options: self.options() };
        self.want_end("{", Some(location), "before the methods of the service")?;
        while !self.end_token("}", None) {
            if self.now().kind == Kind::End {
                return self.expected(&format!("`}}` at the end of `{}`", out.name.text));
            }
            if self.end_token(";", None) {
                continue;
            }
            if self.is("option") {
                let options = &mut out.options;
                self.located(3, None, |parser, at| parser.option_statement(options, at))?;
            } else if self.is("rpc") {
                let method = self.located(2, Some(out.methods.len()), Self::method)?;
                out.methods.push(method);
            } else {
                return self.expected("rpc or option");
            }
        }
        Ok(out)
    }

    fn method(&mut self, location: usize) -> Result<Method> {
        self.bump();
        let name = self.ident("the method's name")?;
        let (input, client_streaming) = self.method_type("the type of the requests")?;
        self.want("returns", "and the type of the responses")?;
        let (output, server_streaming) = self.method_type("the type of the responses")?;
        let mut options = self.options();
        if self.end_token("{", Some(location)) {
            options.braces = true;
            while !self.end_token("}", None) {
                if self.now().kind == Kind::End {
                    return self.expected("`}` at the end of the method");
                }
                if !self.end_token(";", None) {
                    self.located(4, None, |parser, at| parser.option_statement(&mut options, at))?;
                }
            }
        } else {
            self.want_end(";", Some(location), "or options in braces behind the method")?;
        }
        Ok(Method { name, input, output, client_streaming, server_streaming, options })
    }

    fn method_type(&mut self, what: &str) -> Result<(Name, bool)> {
        self.want("(", &format!("before {what}"))?;
        let streaming = self.take("stream");
        let name = self.full_name(what, true)?;
        self.want(")", &format!("behind {what}"))?;
        Ok((name, streaming))
    }
}
