//! The grammar: from tokens to declarations.

mod body;
mod enums;
mod fields;
mod options;
mod services;

use super::Fault;
use super::ast::{File, Import, ImportKind, Location, Name, Options, Pos, Visibility, edition};
use super::comments::{self, Between};
use super::lexer::{self, Kind, Token};

/// How deep messages, groups and aggregates may lie in each other. No schema comes near, and every later pass over a file
/// may recurse as deep.
pub(crate) const MAX_MESSAGE_DEPTH: usize = 31;
pub(crate) const MAX_VALUE_DEPTH: usize = 64;

/// Reads the text of the file `name`.
pub(crate) fn parse(name: &str, text: &[u8]) -> Result<File, Fault> {
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        path: Vec::new(),
        comments: Between::default(),
        locations: Vec::new(),
        options_len: 0,
        edition: edition::PROTO2,
        depth: 0,
    };
    let first = parser.tokens[0];
    let gap = &text[lexer::mark_len(text)..first.start as usize];
    let at_start = comments::between(gap, true, parser.closes(first));
    parser.comments = Between { trailing: None, ..at_start };
    parser.file(name)
}

struct Parser<'a> {
    text: &'a [u8],
    tokens: Vec<Token>,
    at: usize,
    /// The path of what is being read, in the file's descriptor.
    path: Vec<i32>,
    /// The comments in front of the declaration that comes next.
    comments: Between,
    locations: Vec<Location>,
    options_len: u32,
    edition: i32,
    depth: usize,
}

type Result<T, E = Fault> = std::result::Result<T, E>;

impl<'a> Parser<'a> {
    fn now(&self) -> Token {
        self.tokens[self.at]
    }

    fn pos(&self) -> Pos {
        self.now().start
    }

    fn text_of(&self, token: Token) -> &'a [u8] {
        &self.text[token.start as usize..token.end as usize]
    }

    fn ahead(&self, count: usize) -> Token {
        self.tokens[(self.at + count).min(self.tokens.len() - 1)]
    }

    fn is(&self, text: &str) -> bool {
        let now = self.now();
        now.kind != Kind::Str && self.text_of(now) == text.as_bytes()
    }

    fn next_is(&self, text: &str) -> bool {
        let next = self.ahead(1);
        next.kind != Kind::Str && self.text_of(next) == text.as_bytes()
    }

    fn bump(&mut self) -> Token {
        let now = self.now();
        if now.kind != Kind::End {
            self.at += 1;
        }
        now
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.is(text);
        if found {
            self.bump();
        }
        found
    }

    fn fault<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(Fault::new(self.pos(), what))
    }

    /// What stands here, for an error.
    fn found(&self) -> String {
        let now = self.now();
        match now.kind {
            Kind::End => "the end of the file".to_owned(),
            _ => {
                let text = String::from_utf8_lossy(self.text_of(now));
                let short = text.chars().take(40).collect::<String>();
                format!("`{short}`")
            }
        }
    }

    /// An error that says what should stand here instead of what does.
    fn expected<T>(&self, what: &str) -> Result<T> {
        self.fault(format!("{} cannot be here; write {what}", self.found()))
    }

    fn want(&mut self, text: &str, context: &str) -> Result<()> {
        if self.take(text) {
            return Ok(());
        }
        self.expected(&format!("`{text}` {context}"))
    }

    fn ident(&mut self, what: &str) -> Result<Name> {
        if self.now().kind != Kind::Ident {
            return self.expected(what);
        }
        let token = self.bump();
        Ok(Name { text: self.string_of(token), pos: token.start })
    }

    fn string_of(&self, token: Token) -> String {
        String::from_utf8_lossy(self.text_of(token)).into_owned()
    }

    /// `a.b.c`, with a dot in front where `rooted` allows one.
    fn full_name(&mut self, what: &str, rooted: bool) -> Result<Name> {
        let pos = self.pos();
        let mut text = String::new();
        if rooted && self.take(".") {
            text.push('.');
        }
        text.push_str(&self.ident(what)?.text);
        while self.take(".") {
            text.push('.');
            text.push_str(&self.ident("the name behind the dot")?.text);
        }
        if text.len() > MAX_NAME_LEN {
            return Err(Fault::new(pos, "the name is longer than 32768 bytes; shorten it"));
        }
        Ok(Name { text, pos })
    }

    /// One or more strings, joined.
    fn strings(&mut self, what: &str) -> Result<Vec<u8>> {
        if self.now().kind != Kind::Str {
            return self.expected(what);
        }
        let mut out = Vec::new();
        while self.now().kind == Kind::Str {
            let token = self.bump();
            lexer::unquote(self.text_of(token), &mut out);
        }
        Ok(out)
    }

    /// The same as text.
    fn text_strings(&mut self, what: &str) -> Result<Name> {
        let pos = self.pos();
        match String::from_utf8(self.strings(what)?) {
            Ok(text) => Ok(Name { text, pos }),
            Err(_) => Err(Fault::new(pos, "the string is not UTF-8; write it in UTF-8")),
        }
    }

    fn int(&mut self, what: &str) -> Result<u64> {
        if self.now().kind != Kind::Int {
            return self.expected(what);
        }
        match lexer::int_value(self.text_of(self.now())) {
            Some(value) => {
                self.bump();
                Ok(value)
            }
            None => self.fault("the number needs more than 64 bits; write a smaller one"),
        }
    }

    /// A number of 32 bits with a sign.
    fn signed(&mut self, what: &str) -> Result<i32> {
        let pos = self.pos();
        let negative = self.take("-");
        let value = i128::from(self.int(what)?);
        i32::try_from(if negative { -value } else { value }).map_err(|_| {
            Fault::new(pos, "the number is out of range; write one from -2147483648 to 2147483647")
        })
    }

    fn options(&mut self) -> Options {
        self.options_len += 1;
        Options { id: self.options_len - 1, ..Options::default() }
    }

    fn closes(&self, token: Token) -> bool {
        token.kind == Kind::End || matches!(self.text_of(token), b"}" | b"]" | b")")
    }

    /// Begins the location of the declaration at the current path.
    fn begin(&mut self) -> usize {
        let start = self.pos();
        self.locations.push(Location { path: self.path.clone(), start, ..Location::default() });
        self.locations.len() - 1
    }

    fn end(&mut self, location: usize) {
        let end = self.tokens[self.at.saturating_sub(1)].end;
        self.locations[location].end = end.max(self.locations[location].start);
    }

    /// Takes the token that ends a declaration or opens its body, and gives the comments around to `location`.
    fn end_token(&mut self, text: &str, location: Option<usize>) -> bool {
        if !self.is(text) {
            return false;
        }
        let token = self.bump();
        let next = self.now();
        let gap = &self.text[token.end as usize..next.start as usize];
        let around = comments::between(gap, false, self.closes(next));
        let before = std::mem::take(&mut self.comments);
        self.comments.leading = around.leading;
        match location {
            Some(location) => {
                self.comments.detached = around.detached;
                let location = &mut self.locations[location];
                location.leading = before.leading;
                location.trailing = around.trailing;
                location.detached = before.detached;
            }
            None if text == "}" => self.comments.detached = around.detached,
            None => {
                self.comments.detached = before.detached;
                self.comments.detached.extend(around.detached);
            }
        }
        true
    }

    fn want_end(&mut self, text: &str, location: Option<usize>, context: &str) -> Result<()> {
        if self.end_token(text, location) {
            return Ok(());
        }
        self.expected(&format!("`{text}` {context}"))
    }

    /// Runs `read` with `field` and `index` behind the path.
    fn within<T>(
        &mut self,
        field: i32,
        index: Option<usize>,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let len = self.path.len();
        self.path.push(field);
        self.path.extend(index.map(|index| index as i32));
        let out = read(self);
        self.path.truncate(len);
        out
    }

    /// The same, with a location around what is read.
    fn located<T>(
        &mut self,
        field: i32,
        index: Option<usize>,
        read: impl FnOnce(&mut Self, usize) -> Result<T>,
    ) -> Result<T> {
        self.within(field, index, |parser| {
            let location = parser.begin();
            let out = read(parser, location);
            parser.end(location);
            out
        })
    }

    fn file(mut self, name: &str) -> Result<File> {
        let mut file = File { name: name.to_owned(), ..File::default() };
        let whole = self.begin();
        if self.is("syntax") || self.is("edition") {
            self.syntax()?;
        }
        file.edition = self.edition;
        file.options = self.options();
        while self.now().kind != Kind::End {
            if !self.end_token(";", None) {
                self.statement(&mut file)?;
            }
        }
        self.end(whole);
        file.locations = self.locations;
        file.options_len = self.options_len;
        Ok(file)
    }

    fn syntax(&mut self) -> Result<()> {
        let is_edition = self.is("edition");
        self.located(12, None, |parser, location| {
            parser.bump();
            parser.want("=", "behind `syntax` or `edition`")?;
            let value = parser.text_strings("the version in quotes")?;
            parser.edition = match (is_edition, value.text.as_str()) {
                (false, "proto2") => edition::PROTO2,
                (false, "proto3") => edition::PROTO3,
                (true, "2023") => edition::E2023,
                (true, "2024") => edition::E2024,
                (false, other) => {
                    let what = format!("the syntax `{other}` is not known; write \"proto2\" or \"proto3\", or `edition = \"2023\"`");
                    return Err(Fault::new(value.pos, what));
                }
                (true, other) => {
                    let what = format!("the edition `{other}` is not known; write \"2023\" or \"2024\", or set PROTOC to a protoc that knows it");
                    return Err(Fault::new(value.pos, what));
                }
            };
            parser.want_end(";", Some(location), "behind the version")
        })
    }

    fn statement(&mut self, file: &mut File) -> Result<()> {
        let visibility = self.visibility()?;
        if self.is("message") {
            let index = file.messages.len();
            let message =
                self.located(4, Some(index), |parser, at| parser.message(at, visibility))?;
            file.messages.push(message);
        } else if self.is("enum") {
            let index = file.enums.len();
            let declared =
                self.located(5, Some(index), |parser, at| parser.r#enum(at, visibility))?;
            file.enums.push(declared);
        } else if self.is("service") {
            let index = file.services.len();
            let service = self.located(6, Some(index), Self::service)?;
            file.services.push(service);
        } else if self.is("extend") {
            let (extensions, messages) = (&mut file.extensions, &mut file.messages);
            self.within(7, None, |parser| parser.extend(extensions, messages, 4))?;
        } else if self.is("import") {
            let import = self.located(3, Some(file.imports.len()), Self::import)?;
            file.imports.push(import);
        } else if self.is("package") {
            if file.package.is_some() {
                return self.fault("the file has a package already; remove one of the two lines");
            }
            file.package = Some(self.located(2, None, |parser, at| {
                parser.bump();
                let name = parser.full_name("the package's name", false)?;
                parser.want_end(";", Some(at), "behind the package")?;
                Ok(name)
            })?);
        } else if self.is("option") {
            let options = &mut file.options;
            self.located(8, None, |parser, at| parser.option_statement(options, at))?;
        } else if self.is("syntax") || self.is("edition") {
            return self
                .fault("`syntax` and `edition` come first in a file; move the line to the top");
        } else {
            return self.expected("message, enum, service, extend, import, package or option");
        }
        Ok(())
    }

    /// `export` or `local` before `message` and `enum`.
    fn visibility(&mut self) -> Result<Visibility> {
        let visibility = match () {
            () if self.is("export") => Visibility::Export,
            () if self.is("local") => Visibility::Local,
            () => return Ok(Visibility::Unset),
        };
        if !self.next_is("message") && !self.next_is("enum") {
            return Ok(Visibility::Unset);
        }
        if self.edition < edition::E2024 {
            return self.fault("`export` and `local` exist from edition 2024 on; remove it");
        }
        self.bump();
        Ok(visibility)
    }

    fn import(&mut self, location: usize) -> Result<Import> {
        self.bump();
        let kind = if self.take("public") {
            ImportKind::Public
        } else if self.is("weak") {
            if self.edition >= edition::E2024 {
                return self.fault("edition 2024 has no weak imports; remove `weak`");
            }
            self.bump();
            ImportKind::Weak
        } else if self.is("option") {
            if self.edition < edition::E2024 {
                return self.fault("`import option` exists from edition 2024 on; remove `option`");
            }
            self.bump();
            ImportKind::Option
        } else {
            ImportKind::Plain
        };
        let name = self.text_strings("the name of the file in quotes")?;
        self.want_end(";", Some(location), "behind the import")?;
        Ok(Import { name, kind })
    }
}

/// What the runtimes of protobuf take for the length of a name with all its parts.
const MAX_NAME_LEN: usize = 32_768;
