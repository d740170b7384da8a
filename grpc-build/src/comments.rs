//! Comments and line numbers out of a file's source information.

use std::collections::HashMap;

use crate::Error;
use crate::descriptor::FileDescriptorProto;
use crate::model::Comments;

/// Where declarations are and what is said about them, by their path in the file's descriptor.
pub(crate) struct SourceInfo<'a> {
    locations: HashMap<&'a [i32], (Option<u32>, Comments)>,
}

impl<'a> SourceInfo<'a> {
    pub(crate) fn of(file: &FileDescriptorProto<'a>) -> Self {
        let mut locations = HashMap::new();
        for location in file.source_code_info.map_or(&[][..], |info| info.location) {
            let line =
                location.span.first().and_then(|&line| u32::try_from(line.checked_add(1)?).ok());
            let text = location.leading_comments.or(location.trailing_comments).unwrap_or_default();
            // The first location of a path is the declaration itself.
            locations.entry(location.path).or_insert_with(|| (line, to_markdown(text)));
        }
        Self { locations }
    }

    fn line(&self, path: &[i32]) -> Option<u32> {
        self.locations.get(path)?.0
    }

    /// What is wrong with the declaration at `path` of `file`.
    pub(crate) fn error(
        &self,
        file: &FileDescriptorProto<'_>,
        path: &[i32],
        message: impl std::fmt::Display,
    ) -> Error {
        Error::at(file.name.unwrap_or_default(), self.line(path), message)
    }

    pub(crate) fn comments(&self, path: &[i32]) -> Comments {
        self.locations.get(path).map(|(_, comments)| comments.clone()).unwrap_or_default()
    }
}

/// Comments as rustdoc takes them without a warning: what looks like HTML or a test is none, links stay links.
fn to_markdown(text: &str) -> Comments {
    let text = printable(text);
    let text = text.trim_end();
    // Of `/**` the second star is in the comment, as parsers of schemas know no such mark.
    let text = match text.split_once('\n').unwrap_or((text, "")) {
        (first, rest) if first.trim_end().bytes().all(|b| b == b'*') => rest,
        _ => text,
    };
    let mut lines = text.lines().map(plain).peekable();
    let mut out = Vec::new();
    // The lines in which a link or code may begin on one and end on another.
    let mut paragraph = Vec::new();
    let mut after_blank = true;
    while let Some(line) = lines.next() {
        if let Some(fence) = fence(&line) {
            end_paragraph(&mut paragraph, &mut out);
            // Without a language it would be compiled and run as a test.
            out.push(format!("{fence}text"));
            out.extend(lines.by_ref().take_while(|line| !closes(line, fence)));
            out.push(fence.to_owned());
        } else if line.starts_with("    ") && after_blank {
            end_paragraph(&mut paragraph, &mut out);
            out.push("```text".to_owned());
            out.push(line.clone());
            while let Some(code) = lines.next_if(|line| line.starts_with("    ") || line.is_empty())
            {
                out.push(code);
            }
            out.push("```".to_owned());
        } else {
            let line = item(line.trim_start());
            if stands_alone(&line) || paragraph.last().is_some_and(|last| stands_alone(last)) {
                end_paragraph(&mut paragraph, &mut out);
            }
            paragraph.push(line);
        }
        after_blank = line.is_empty();
    }
    end_paragraph(&mut paragraph, &mut out);
    while out.first().is_some_and(String::is_empty) {
        out.remove(0);
    }
    out
}

/// Whether Markdown may take a line for a block of its own: then no link or code goes on from or to the line before.
fn stands_alone(line: &str) -> bool {
    line.is_empty()
        || line.contains('|')
        || line.starts_with(|c: char| "-+*#=_>".contains(c) || c.is_ascii_digit())
}

fn end_paragraph(paragraph: &mut Vec<String>, out: &mut Comments) {
    if !paragraph.is_empty() {
        out.extend(escape(&paragraph.join("\n")).split('\n').map(str::to_owned));
        paragraph.clear();
    }
}

/// Text that Rust takes in a comment: a carriage return ends a line, as in Markdown, and what turns the direction of text
/// around is left out.
fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace("\r\n", "\n").replace('\r', "\n").replace(turns, "")
}

/// A line without the space that follows the slashes, and with spaces for the tabs it begins with, which Markdown takes
/// for as many.
fn plain(line: &str) -> String {
    let line = line.strip_prefix(' ').unwrap_or(line).trim_end();
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    format!("{}{text}", indent.replace('\t', "    "))
}

/// The fence that a line opens: three backquotes or tildes, or more.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|c| "`~".contains(*c))?;
    let rest = line.trim_start_matches(mark);
    let fence = &line[..line.len() - rest.len()];
    (fence.len() >= 3 && !(mark == '`' && rest.contains('`'))).then_some(fence)
}

fn closes(line: &str, fence: &str) -> bool {
    let line = line.trim();
    line.starts_with(fence) && line.chars().all(|c| fence.starts_with(c))
}

/// A line that begins an item of a list, or one of a list within, without the spaces that would make its text code.
fn item(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some((mark, text)) = rest.split_once(char::is_whitespace) {
        let number = mark.strip_suffix(['.', ')']);
        let numbered =
            number.is_some_and(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()));
        if !["-", "+", "*"].contains(&mark) && !numbered {
            break;
        }
        out.push_str(mark);
        out.push(' ');
        rest = text.trim_start();
    }
    out + rest
}

/// Escapes what Markdown and rustdoc would read as markup but for code, links and images, and makes links of addresses.
fn escape(text: &str) -> String {
    let (mut out, mut rest, mut escaped) = (String::new(), text, false);
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        if escaped {
            out.push(c);
            escaped = false;
        } else if c == '`' {
            match code_span(rest) {
                Some(code) => {
                    out.push_str(code);
                    taken = code.len();
                }
                // Backquotes that are not paired up are no code.
                None => {
                    taken = rest.bytes().take_while(|&byte| byte == b'`').count();
                    out.push_str(&"\\`".repeat(taken));
                }
            }
        } else if let Some(link) = (c == '[').then(|| link(rest)).flatten() {
            out.push_str(&format!("[{}]{}", text_of_link(link.text), link.target));
            taken = link.len;
        } else if let Some(address) = address(rest) {
            // One that is a link already has its brackets.
            let bracketed = out.ends_with("\\<") && rest[address.len()..].starts_with('>');
            if bracketed {
                out.truncate(out.len() - 2);
            }
            out.push_str(&format!("<{address}>"));
            taken = address.len() + usize::from(bracketed);
        } else {
            if "<>[]~".contains(c) {
                out.push('\\');
            }
            out.push(c);
            escaped = c == '\\';
        }
        rest = &rest[taken..];
    }
    out
}

/// The text of a link, in which addresses are no links.
fn text_of_link(text: &str) -> String {
    let (mut out, mut rest, mut escaped) = (String::new(), text, false);
    while let Some(c) = rest.chars().next() {
        let code = if c == '`' && !escaped { code_span(rest) } else { None };
        let taken = code.map_or(c.len_utf8(), str::len);
        if code.is_none() && !escaped && "<>[]~`".contains(c) {
            out.push('\\');
        }
        out.push_str(&rest[..taken]);
        escaped = c == '\\' && !escaped;
        rest = &rest[taken..];
    }
    out
}

/// The code that `text` begins with, up to as many backquotes as in front of it: there are no escapes in code.
fn code_span(text: &str) -> Option<&str> {
    let run = |text: &str| text.bytes().take_while(|&byte| byte == b'`').count();
    let opening = run(text);
    let mut end = opening;
    loop {
        end += text[end..].find('`')?;
        let closing = run(&text[end..]);
        end += closing;
        if closing == opening {
            return Some(&text[..end]);
        }
    }
}

/// A link at the beginning of a text: `[text](https://address "title")`.
struct Link<'t> {
    text: &'t str,
    /// The address and the title, with their brackets.
    target: &'t str,
    len: usize,
}

fn link(text: &str) -> Option<Link<'_>> {
    let (mut depth, mut end, mut escaped) = (0, 0, false);
    loop {
        let c = text[end..].chars().next()?;
        if c == '`' && !escaped {
            end += code_span(&text[end..])?.len();
            continue;
        }
        match c {
            _ if escaped => {}
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        end += c.len_utf8();
        if depth == 0 {
            break;
        }
    }
    let target = text[end..].strip_prefix('(')?;
    // All that may stand in an address, or stop it.
    let address = address_in(target, |c| !c.is_whitespace() && !"<>\\`".contains(c))?;
    let behind = &target[address.len()..];
    let title = match behind.strip_prefix(" \"") {
        Some(quoted) => 3 + quoted.find(['"', '\\', '\n'])?,
        None => 0,
    };
    let ends = behind.get(..title).is_some_and(|title| title.is_empty() || title.ends_with('"'));
    if !ends || !behind[title..].starts_with(')') {
        return None;
    }
    let len = end + 1 + address.len() + title + 1;
    Some(Link { text: &text[1..end - 1], target: &text[end..len], len })
}

/// The address that a text begins with, up to what is more likely to belong to the text around it.
fn address(text: &str) -> Option<&str> {
    let found = address_in(text, |c| c.is_ascii_graphic() && !"<>\\`\"'{}|*[]^".contains(c))?;
    let found = found.trim_end_matches(|c: char| "_.,;:!?~".contains(c));
    found.split_once("://").filter(|(_, rest)| !rest.is_empty()).map(|_| found)
}

/// The address that a text begins with: characters that are `allowed`, and parentheses in pairs.
fn address_in(text: &str, allowed: impl Fn(char) -> bool) -> Option<&str> {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme))?;
    let mut depth = 0_usize;
    let ends = |c: char| {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return true,
            ')' => depth -= 1,
            _ => {}
        }
        !allowed(c)
    };
    let end = text.find(ends).unwrap_or(text.len());
    // One that is left open belongs to the text.
    let end = if depth > 0 { text[..end].find('(').unwrap_or(end) } else { end };
    (end > scheme.len()).then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_markup_is_text() {
        let text = " Takes a <name> [sic], see https://example.com/a_b.\n\n     let x = 1;\n\n Then `Vec<u8>` and `odd\n";
        assert_eq!(
            to_markdown(text),
            [
                "Takes a \\<name\\> \\[sic\\], see <https://example.com/a_b>.",
                "",
                "```text",
                "    let x = 1;",
                "",
                "```",
                "Then `Vec<u8>` and \\`odd",
            ]
        );
    }

    #[test]
    fn the_second_star_of_a_block_comment_is_no_text() {
        assert_eq!(to_markdown("*\n Text.\n\n More.\n"), ["Text.", "", "More."]);
        assert_eq!(to_markdown("*** \n Text.\n"), ["Text."]);
        assert_eq!(to_markdown("* Text.\n *\n"), ["* Text.", "*"]);
        assert_eq!(to_markdown("*\n"), [""; 0]);
    }

    #[test]
    fn what_is_escaped_already_stays_so() {
        let cases = [
            ("\\[x\\] [y]", "\\[x\\] \\[y\\]"),
            ("\\\\[x]", "\\\\\\[x\\]"),
            ("\\\\\\[x]", "\\\\\\[x\\]"),
            ("\\<T\\> \\ [z]", "\\<T\\> \\ \\[z\\]"),
            ("\\`foo\\` [x]", "\\`foo\\` \\[x\\]"),
            ("\\`a `b\\` <c>", "\\`a `b\\` \\<c\\>"),
            ("a\\", "a\\"),
        ];
        for (text, made) in cases {
            assert_eq!(to_markdown(text), [made], "{text}");
        }
    }

    #[test]
    fn code_ends_at_as_many_backquotes_as_it_began_with() {
        let cases = [
            ("``a ` [b]`` [c]", "``a ` [b]`` \\[c\\]"),
            ("``a` [b]", "\\`\\`a\\` \\[b\\]"),
            ("a `` ` `` <b>", "a `` ` `` \\<b\\>"),
        ];
        for (text, made) in cases {
            assert_eq!(to_markdown(text), [made], "{text}");
        }
    }

    #[test]
    fn what_is_indented_is_no_test_however_it_is() {
        for code in ["\tcode();", " \tcode();", "     code();", "  \t code();"] {
            let made = to_markdown(&format!(" Text:\n\n{code}\n"));
            assert_eq!((made[2].as_str(), made[4].as_str()), ("```text", "```"), "{code:?}");
            assert_eq!(to_markdown(&format!(" Text\n{code}\n"))[1], "code();", "{code:?}");
        }
        assert_eq!(to_markdown(" -     code();\n 1)\tcode();"), ["- code();", "1) code();"]);
    }

    #[test]
    fn items_of_lists_within_lists_are_no_code() {
        let cases = [
            (" - -     panic!();", "- - panic!();"),
            (" * 1.     panic!();", "* 1. panic!();"),
            (" + -\t\tpanic!();", "+ - panic!();"),
            (" 123456789. - \t  panic!();", "123456789. - panic!();"),
            (" - ```\n panic!();", "- \\`\\`\\`"),
        ];
        for (text, made) in cases {
            assert_eq!(to_markdown(text)[0], made, "{text}");
        }
    }

    #[test]
    fn links_stay_links_and_addresses_become_some() {
        let cases = [
            ("See [the docs](https://a.org/x).", "See [the docs](https://a.org/x)."),
            ("See [the\n docs](https://a.org/x).", "See [the\ndocs](https://a.org/x)."),
            ("[`a]`](http://a.org \"T\") [b]", "[`a]`](http://a.org \"T\") \\[b\\]"),
            ("[x <T>](https://a.org/(b))", "[x \\<T\\>](https://a.org/(b))"),
            ("![i](https://a.org/i.png)", "![i](https://a.org/i.png)"),
            ("[a](b) [c](javascript:x)", "\\[a\\](b) \\[c\\](javascript:x)"),
            ("x=\"https://a.org\"", "x=\"<https://a.org>\""),
            ("href=https://a.org/x", "href=<https://a.org/x>"),
            ("**https://a.org** _https://a.org_", "**<https://a.org>** _<https://a.org>_"),
            ("see:https://a.org, {https://a.org}", "see:<https://a.org>, {<https://a.org>}"),
            ("a|https://a.org|b", "a|<https://a.org>|b"),
            ("<https://a.org> <http://b.org", "<https://a.org> \\<<http://b.org>"),
            ("(https://a.org/b_(c)) https://", "(<https://a.org/b_(c)>) https://"),
            ("[https://a.org](https://a.org)", "[https://a.org](https://a.org)"),
            ("[open](https://a.org", "\\[open\\](<https://a.org>"),
        ];
        for (text, made) in cases {
            assert_eq!(to_markdown(text).join("\n"), made, "{text}");
        }
    }

    #[test]
    fn code_does_not_go_on_from_one_item_to_another() {
        assert_eq!(to_markdown(" a `b\n c` <d>"), ["a `b", "c` \\<d\\>"]);
        assert_eq!(to_markdown(" - a `b\n - c` <d>"), ["- a \\`b", "- c\\` \\<d\\>"]);
    }

    #[test]
    fn a_fence_is_no_test() {
        assert_eq!(to_markdown(" ```\n code <T>\n ```\n"), ["```text", "code <T>", "```"]);
        let tildes = " ~~~~ rust\n ```\n ~~~\n ~~~~~\n Text.";
        assert_eq!(to_markdown(tildes), ["~~~~text", "```", "~~~", "~~~~", "Text."]);
        assert_eq!(to_markdown(" ```\n left open"), ["```text", "left open", "```"]);
        assert_eq!(to_markdown(" ```in``` line\n - ~~~"), ["```in``` line", "- \\~\\~\\~"]);
    }
}
