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
    let mut lines = text
        .trim_end()
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .peekable();
    let mut out = Vec::new();
    let mut fenced = false;
    let mut after_blank = true;
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            // A fence without a language would be compiled and run as a test.
            out.push(if fenced { "```text".to_owned() } else { "```".to_owned() });
        } else if fenced {
            out.push(line.to_owned());
        } else if line.starts_with("    ") && after_blank {
            out.push("```text".to_owned());
            out.push(line.to_owned());
            while let Some(code) = lines.next_if(|line| line.starts_with("    ") || line.is_empty())
            {
                out.push(code.to_owned());
            }
            out.push("```".to_owned());
        } else {
            out.push(escape(line.trim_start_matches(' ')));
        }
        after_blank = line.is_empty();
    }
    if fenced {
        out.push("```".to_owned());
    }
    while out.first().is_some_and(String::is_empty) {
        out.remove(0);
    }
    out
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
        if "<>[]".contains(c) {
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
    fn a_fence_is_no_test() {
        assert_eq!(to_markdown(" ```\n code <T>\n ```\n"), ["```text", "code <T>", "```"]);
    }
}
