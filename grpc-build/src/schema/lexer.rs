//! Tokens of a `.proto` file, as the language's specification splits it.

use super::Fault;

/// The largest file that is read: positions are 32 bits wide, and no schema comes near.
pub(crate) const MAX_FILE_BYTES: usize = 64 << 20;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters, digits and underscores.
    Ident,
    /// A decimal, octal or hexadecimal number.
    Int,
    /// A number with a point or an exponent.
    Float,
    /// A string with its quotes.
    Str,
    /// One byte of punctuation.
    Symbol,
    /// The end of the file.
    End,
}

/// A token: its kind and its bytes `start..end` of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The number of bytes of a byte order mark at the start of the text.
pub(crate) fn mark_len(text: &[u8]) -> usize {
    if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// Splits the text of a file into tokens; the last one is [`Kind::End`].
pub(crate) fn tokens(text: &[u8]) -> Result<Vec<Token>, Fault> {
    if text.len() > MAX_FILE_BYTES {
        return Err(Fault::new(0, "the file is larger than 64 MiB; split it"));
    }
    let mut lexer = Lexer { text, at: mark_len(text) };
    let mut out = Vec::with_capacity(text.len() / 6 + 1);
    loop {
        lexer.skip_blank()?;
        let start = lexer.at;
        let kind = lexer.token()?;
        out.push(Token { kind, start: start as u32, end: lexer.at as u32 });
        if kind == Kind::End {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

pub(crate) fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn fault<T>(&self, at: usize, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::new(at as u32, what))
    }

    /// Passes over space and comments.
    fn skip_blank(&mut self) -> Result<(), Fault> {
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                byte if is_blank(byte) => self.at += 1,
                b'/' if self.peek(1) == b'/' => self.skip_line(),
                b'/' if self.peek(1) == b'*' => self.skip_block()?,
                _ => break,
            }
        }
        Ok(())
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |len| len + 1);
        self.at += len;
    }

    fn skip_block(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let end = self.text[start + 2..].windows(2).position(|pair| pair == b"*/");
        match end {
            Some(len) => {
                let inside = &self.text[start + 2..start + 2 + len];
                if let Some(nested) = inside.windows(2).position(|pair| pair == b"/*") {
                    let what = "a comment begins within a comment; comments do not nest";
                    return self.fault(start + 2 + nested, what);
                }
                self.at = start + 2 + len + 2;
                Ok(())
            }
            None => self.fault(start, "the comment has no end; write `*/` behind it"),
        }
    }

    fn token(&mut self) -> Result<Kind, Fault> {
        let Some(&byte) = self.text.get(self.at) else { return Ok(Kind::End) };
        match byte {
            byte if is_letter(byte) => {
                self.words();
                Ok(Kind::Ident)
            }
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => {
                if self.at > 0 && is_word(self.text[self.at - 1]) {
                    let what = "a number follows a name directly; write a space before `.`";
                    return self.fault(self.at, what);
                }
                self.number()
            }
            b'"' | b'\'' => self.string(byte),
            0..0x20 | 0x7f => {
                let what = format!("the control character 0x{byte:02x} cannot be here; remove it");
                self.fault(self.at, what)
            }
            0x80.. => {
                let what = "a character that is not ASCII cannot be here; use it in comments and strings only";
                self.fault(self.at, what)
            }
            _ => {
                self.at += 1;
                Ok(Kind::Symbol)
            }
        }
    }

    fn words(&mut self) {
        while is_word(self.peek(0)) {
            self.at += 1;
        }
    }

    fn digits(&mut self, is_digit: fn(&u8) -> bool) -> usize {
        let start = self.at;
        while is_digit(&self.peek(0)) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let start = self.at;
        let mut kind = Kind::Int;
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X') {
            self.at += 2;
            if self.digits(u8::is_ascii_hexdigit) == 0 {
                return self.fault(start, "`0x` has no digits; write at least one of 0-9, a-f");
            }
        } else if self.peek(0) == b'0' && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.digits(|byte| matches!(byte, b'0'..=b'7'));
            if self.peek(0).is_ascii_digit() {
                let what = "a number with a leading zero is octal; write it with digits 0-7, or without the zero";
                return self.fault(start, what);
            }
        } else {
            self.digits(u8::is_ascii_digit);
            if self.peek(0) == b'.' {
                kind = Kind::Float;
                self.at += 1;
                self.digits(u8::is_ascii_digit);
            }
            if matches!(self.peek(0), b'e' | b'E') {
                kind = Kind::Float;
                self.at += 1;
                if matches!(self.peek(0), b'-' | b'+') {
                    self.at += 1;
                }
                if self.digits(u8::is_ascii_digit) == 0 {
                    return self
                        .fault(start, "the exponent has no digits; write at least one behind `e`");
                }
            }
        }
        match self.peek(0) {
            byte if is_letter(byte) => {
                self.fault(self.at, "a name follows a number directly; write a space between them")
            }
            b'.' => self
                .fault(self.at, "a number has one point at most, and none if hexadecimal or octal; write a number such as 1.5"),
            _ => Ok(kind),
        }
    }

    fn string(&mut self, quote: u8) -> Result<Kind, Fault> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.text.get(self.at) {
                None => return self.fault(start, "the string has no end; write the closing quote"),
                Some(b'\n') => {
                    return self.fault(
                        start,
                        "a string ends on its line; write the closing quote, or several strings",
                    );
                }
                Some(0) => {
                    return self.fault(self.at, "a zero byte cannot be in a string; write `\\0`");
                }
                Some(b'\\') => self.escape()?,
                Some(&byte) => {
                    self.at += 1;
                    if byte == quote {
                        return Ok(Kind::Str);
                    }
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let hex =
            |lexer: &Self, count: usize| (2..2 + count).all(|i| lexer.peek(i).is_ascii_hexdigit());
        let len = match self.peek(1) {
            b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' | b'?' | b'\'' | b'"' => 2,
            b'0'..=b'7' => 2,
            b'x' | b'X' if hex(self, 1) => 3,
            b'u' if hex(self, 4) => 6,
            b'U' if hex(self, 8) => {
                let digits = &self.text[self.at + 2..self.at + 10];
                let value = digits.iter().fold(0_u32, |sum, &digit| sum << 4 | hex_digit(digit));
                if value > 0x1f_ffff {
                    let what = "`\\U` is followed by a number up to 001fffff; write a code point of Unicode";
                    return self.fault(start, what);
                }
                10
            }
            b'u' => {
                return self
                    .fault(start, "`\\u` has fewer than four hexadecimal digits; write four");
            }
            b'U' => {
                return self
                    .fault(start, "`\\U` has fewer than eight hexadecimal digits; write eight");
            }
            b'x' | b'X' => {
                return self
                    .fault(start, "`\\x` has no digits; write one or two hexadecimal digits");
            }
            _ => {
                let what = "there is no such escape; write `\\\\` for a backslash";
                return self.fault(start, what);
            }
        };
        self.at += len;
        Ok(())
    }
}

fn hex_digit(digit: u8) -> u32 {
    (digit as char).to_digit(16).unwrap_or(0)
}

/// The value of an integer token; `None` if it needs more than 64 bits.
pub(crate) fn int_value(text: &[u8]) -> Option<u64> {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// The value of a token as a floating-point number.
pub(crate) fn float_value(text: &[u8]) -> f64 {
    let radix = match text {
        [b'0', b'x' | b'X', ..] => Some((&text[2..], 16.0)),
        [b'0', rest @ ..] if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit) => {
            Some((rest, 8.0))
        }
        _ => None,
    };
    match radix {
        Some((digits, radix)) => {
            digits.iter().fold(0.0, |sum, &digit| sum * radix + f64::from(hex_digit(digit)))
        }
        None => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0),
    }
}

/// Appends the bytes that a string token stands for. Escapes were checked when it was read.
pub(crate) fn unquote(token: &[u8], out: &mut Vec<u8>) {
    let mut rest = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    while let [first, behind @ ..] = rest {
        if *first != b'\\' {
            out.push(*first);
            rest = behind;
            continue;
        }
        let [kind, behind @ ..] = behind else { return };
        rest = behind;
        match kind {
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let more =
                    rest.iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let value = rest[..more]
                    .iter()
                    .fold(u32::from(kind - b'0'), |sum, digit| sum << 3 | u32::from(digit - b'0'));
                // Three digits can say more than a byte; the upper bit is lost, as in protoc.
                out.push(value as u8);
                rest = &rest[more..];
            }
            b'x' | b'X' => {
                let len = rest.iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
                out.push(
                    rest[..len].iter().fold(0, |sum, &digit| sum << 4 | hex_digit(digit)) as u8
                );
                rest = &rest[len..];
            }
            b'u' | b'U' => {
                let len = if *kind == b'u' { 4 } else { 8 };
                let (mut point, behind) = code_point(rest, len);
                rest = behind;
                if (0xd800..0xdc00).contains(&point)
                    && let [b'\\', b'u', behind @ ..] = rest
                    && let (low @ 0xdc00..0xe000, behind) = code_point(behind, 4)
                {
                    point = 0x1_0000 + ((point - 0xd800) << 10) + (low - 0xdc00);
                    rest = behind;
                }
                push_code_point(point, out);
            }
            other => out.push(*other),
        }
    }
}

fn code_point(text: &[u8], len: usize) -> (u32, &[u8]) {
    let len = len.min(text.len());
    (text[..len].iter().fold(0, |sum, &digit| sum << 4 | hex_digit(digit)), &text[len..])
}

/// UTF-8, for half a surrogate pair and for numbers beyond Unicode too: bytes may hold them.
fn push_code_point(point: u32, out: &mut Vec<u8>) {
    match char::from_u32(point) {
        Some(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        None if point > 0xffff => out.extend_from_slice(&[
            0xf0 | (point >> 18) as u8,
            0x80 | (point >> 12 & 0x3f) as u8,
            0x80 | (point >> 6 & 0x3f) as u8,
            0x80 | (point & 0x3f) as u8,
        ]),
        None => out.extend_from_slice(&[
            0xe0 | (point >> 12) as u8,
            0x80 | (point >> 6 & 0x3f) as u8,
            0x80 | (point & 0x3f) as u8,
        ]),
    }
}
