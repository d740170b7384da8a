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

/// Comments as rustdoc takes them without a warning: what looks like HTML, a link or a test is none.
fn to_markdown(text: &str) -> Comments {
    let text = printable(text);
    let mut lines = text.trim_end().lines().map(plain).peekable();
    let mut out = Vec::new();
    let mut after_blank = true;
    while let Some(line) = lines.next() {
        if let Some(fence) = fence(&line) {
            // Without a language it would be compiled and run as a test.
            out.push(format!("{fence}text"));
            out.extend(lines.by_ref().take_while(|line| !closes(line, fence)));
            out.push(fence.to_owned());
        } else if line.starts_with("    ") && after_blank {
            out.push("```text".to_owned());
            out.push(line.clone());
            while let Some(code) = lines.next_if(|line| line.starts_with("    ") || line.is_empty())
            {
                out.push(code);
            }
            out.push("```".to_owned());
        } else {
            out.push(escape(&item(line.trim_start())));
        }
        after_blank = line.is_empty();
    }
    while out.first().is_some_and(String::is_empty) {
        out.remove(0);
    }
    out
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

/// A line that begins an item of a list without the space that would make it code.
fn item(line: &str) -> String {
    match line.split_once(char::is_whitespace) {
        Some((mark, text))
            if ["-", "+", "*"].contains(&mark)
                || mark.ends_with(['.', ')'])
                    && mark[..mark.len() - 1].bytes().all(|b| b.is_ascii_digit()) =>
        {
            format!("{mark} {}", text.trim_start())
        }
        _ => line.to_owned(),
    }
}

/// Escapes what Markdown and rustdoc would read as markup, outside of code spans.
fn escape(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some((text, mark, behind)) = backquotes(rest, true) {
        out.push_str(&words(text));
        let (mut code, mut end) = ("", behind);
        loop {
            match backquotes(end, false) {
                Some((_, closing, behind_code)) if closing == mark => {
                    code = &behind[..behind.len() - behind_code.len()];
                    break;
                }
                Some((.., further)) => end = further,
                None => break,
            }
        }
        if code.is_empty() {
            // Backquotes that are not paired up are no code.
            out.push_str(&mark.replace('`', "\\`"));
        } else {
            out.push_str(mark);
            out.push_str(code);
        }
        rest = &behind[code.len()..];
    }
    out.push_str(&words(rest));
    out
}

/// The first run of backquotes, between what is in front of it and behind it; but for the first that is escaped, where
/// that is possible: there are no escapes in code.
fn backquotes(text: &str, escapes: bool) -> Option<(&str, &str, &str)> {
    let mut escaped = false;
    let start = text.find(|c| {
        let found = c == '`' && !escaped;
        escaped = escapes && c == '\\' && !escaped;
        found
    })?;
    let len = text[start..].bytes().take_while(|&byte| byte == b'`').count();
    let (run, behind) = text[start..].split_at(len);
    Some((&text[..start], run, behind))
}

/// Escapes text without code, and makes links of addresses.
fn words(text: &str) -> String {
    let mut out = String::new();
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            out.push(' ');
        }
        let url = word.trim_end_matches(|c: char| ".,;:)>]\"'".contains(c));
        let bare = url.trim_start_matches(|c: char| "(<[\"'".contains(c));
        if bare.starts_with("http://") || bare.starts_with("https://") {
            let before = &url[..url.len() - bare.len()];
            out.push_str(&markup(before.trim_end_matches('<')));
            out.push_str(&format!("<{bare}>"));
            out.push_str(&markup(word[url.len()..].trim_start_matches('>')));
        } else {
            out.push_str(&markup(word));
        }
    }
    out
}

/// Escapes what is not escaped already.
fn markup(text: &str) -> String {
    let (mut out, mut escaped) = (String::new(), false);
    for c in text.chars() {
        if "<>[]~".contains(c) && !escaped {
            out.push('\\');
        }
        out.push(c);
        escaped = c == '\\' && !escaped;
    }
    out
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
    fn a_fence_is_no_test() {
        assert_eq!(to_markdown(" ```\n code <T>\n ```\n"), ["```text", "code <T>", "```"]);
        let tildes = " ~~~~ rust\n ```\n ~~~\n ~~~~~\n Text.";
        assert_eq!(to_markdown(tildes), ["~~~~text", "```", "~~~", "~~~~", "Text."]);
        assert_eq!(to_markdown(" ```\n left open"), ["```text", "left open", "```"]);
        assert_eq!(to_markdown(" ```in``` line\n - ~~~"), ["```in``` line", "- \\~\\~\\~"]);
    }
}
