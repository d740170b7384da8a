//! Which comments belong to which declaration: protoc's rules.
//!
//! A comment on the line where a declaration ends, or on the next with a blank line behind it, trails that declaration;
//! the last one before a declaration without a blank line between leads it; all others are detached.

use super::lexer::is_blank;

/// The comments between two tokens.
#[derive(Debug, Default)]
pub(crate) struct Between {
    pub(crate) trailing: Option<String>,
    pub(crate) detached: Vec<String>,
    pub(crate) leading: Option<String>,
}

struct Collector {
    out: Between,
    buffer: Option<(Vec<u8>, bool)>,
    attach_to_previous: bool,
}

impl Collector {
    fn line(&mut self) -> &mut Vec<u8> {
        if matches!(self.buffer, Some((_, false))) {
            self.flush();
        }
        &mut self.buffer.get_or_insert_with(|| (Vec::new(), true)).0
    }

    fn block(&mut self) -> &mut Vec<u8> {
        self.flush();
        &mut self.buffer.insert((Vec::new(), false)).0
    }

    fn flush(&mut self) {
        if let Some((text, _)) = self.buffer.take() {
            let text = lossy(text);
            if self.attach_to_previous {
                self.out.trailing = Some(text);
                self.attach_to_previous = false;
            } else {
                self.out.detached.push(text);
            }
        }
    }
}

/// The text of a comment, with U+FFFD for what is not UTF-8.
fn lossy(text: Vec<u8>) -> String {
    String::from_utf8(text)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Sorts the comments of `gap`, the text between two tokens. `first`: nothing precedes it. `closing`: what follows is
/// the end of the file or closes a scope.
pub(crate) fn between(gap: &[u8], first: bool, closing: bool) -> Between {
    let mut collector =
        Collector { out: Between::default(), buffer: None, attach_to_previous: !first };
    if !gap.contains(&b'/') {
        return collector.out;
    }
    let mut rest = gap;
    if !first {
        rest = skip_spaces(rest);
        if rest.starts_with(b"//") {
            rest = line_comment(rest, collector.line());
            collector.flush();
        } else if rest.starts_with(b"/*") {
            rest = skip_spaces(block_comment(rest, collector.block()));
            match rest {
                [b'\n', behind @ ..] => rest = behind,
                // It lies between two tokens of one line, and is neither's.
                _ => return Between::default(),
            }
            collector.flush();
        } else if let [b'\n', behind @ ..] = rest {
            rest = behind;
        } else {
            return collector.out;
        }
    }
    loop {
        rest = skip_spaces(rest);
        if rest.starts_with(b"//") {
            rest = line_comment(rest, collector.line());
        } else if rest.starts_with(b"/*") {
            rest = skip_spaces(block_comment(rest, collector.block()));
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        } else if let [b'\n', behind @ ..] = rest {
            rest = behind;
            collector.flush();
            collector.attach_to_previous = false;
        } else {
            if closing {
                collector.flush();
            }
            let leading = collector.buffer.take().map(|(text, _)| lossy(text));
            return Between { leading, ..collector.out };
        }
    }
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let len = text.iter().take_while(|&&byte| is_blank(byte) && byte != b'\n').count();
    &text[len..]
}

fn line_comment<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let len = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |len| len + 1);
    out.extend_from_slice(&text[2..len]);
    &text[len..]
}

/// Leaves out the space and the asterisk that lines begin with.
fn block_comment<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let len = text[2..].windows(2).position(|pair| pair == b"*/").unwrap_or(text.len() - 2);
    let mut first = true;
    for line in text[2..2 + len].split_inclusive(|&byte| byte == b'\n') {
        let inner = if first { line } else { skip_spaces(line) };
        out.extend_from_slice(if first {
            inner
        } else {
            inner.strip_prefix(b"*").unwrap_or(inner)
        });
        first = false;
    }
    text.get(2 + len + 2..).unwrap_or_default()
}
