//! What can be wrong with a schema or its surroundings.

use std::fmt;

/// Why no code was generated: in which file, where in it, and what is wrong.
///
/// Displayed as compilers do, `file:line:column: message`, so that editors find the place.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
    message: String,
}

impl Error {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self { file: None, line: None, column: None, message: message.to_string() }
    }

    pub(crate) fn at(file: &str, line: Option<u32>, message: impl fmt::Display) -> Self {
        Self { file: Some(file.to_owned()), line, column: None, message: message.to_string() }
    }

    /// An error at a place of a schema. What the message quotes of the schema may hold any character: those that would
    /// break the line, or act upon a terminal, are escaped.
    pub(crate) fn at_column(
        file: &str,
        line: u32,
        column: u32,
        message: impl fmt::Display,
    ) -> Self {
        let mut escaped = String::new();
        for letter in message.to_string().chars() {
            match letter.is_control() {
                true => escaped.extend(letter.escape_default()),
                false => escaped.push(letter),
            }
        }
        Self { column: Some(column), ..Self::at(file, Some(line), escaped) }
    }

    /// The same error, in the file at `path`.
    pub(crate) fn in_file(self, path: String) -> Self {
        Self { file: Some(path), ..self }
    }

    /// The file that is to blame: its path where it was read from a folder, else its name among the imports.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line in it, from 1.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// The column in the line, in characters, from 1.
    pub fn column(&self) -> Option<u32> {
        self.column
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) if let Some(column) = self.column => {
                write!(f, "{file}:{line}:{column}: {}", self.message)
            }
            (Some(file), Some(line)) => write!(f, "{file}:{line}: {}", self.message),
            (Some(file), None) => write!(f, "{file}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

/// The same as `Display`, because this is what a `main` that returns the error prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_quotes_of_a_schema_stays_on_its_line() {
        let error = Error::at_column(
            "a.proto",
            1,
            11,
            "the edition `2024\n\x1b[31m\u{7f}é` is not known; write",
        );
        let expected = "a.proto:1:11: the edition `2024\\n\\u{1b}[31m\\u{7f}é` is not known; write";
        assert_eq!(error.to_string(), expected);
    }
}
