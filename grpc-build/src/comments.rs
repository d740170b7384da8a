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
            let line = location.span.first().and_then(|&line| u32::try_from(line + 1).ok());
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
    let mut out = String::new();
    // Backquotes that are not paired up are no code.
    let spans = line.matches('`').count() / 2 * 2;
    for (i, part) in line.split('`').enumerate() {
        if i > 0 {
            out.push_str(if i <= spans { "`" } else { "\\`" });
        }
        if i % 2 == 1 && i < spans {
            out.push_str(part);
            continue;
        }
        for (j, word) in part.split(' ').enumerate() {
            if j > 0 {
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
    }
    out
}

fn markup(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "<>[]~".contains(c) {
            out.push('\\');
        }
        out.push(c);
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
