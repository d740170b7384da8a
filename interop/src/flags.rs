//! Flags of the programs, as `--name=value` or `--name value`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// The flags of one run.
#[derive(Clone, Debug)]
pub struct Flags {
    given: BTreeMap<String, String>,
}

impl Flags {
    /// Reads the arguments of the process; `known` are the names that may occur.
    ///
    /// # Errors
    /// An argument is no flag, or not a known one, or has no value.
    pub fn of_process(known: &[&str]) -> Result<Self, String> {
        Self::parse(std::env::args().skip(1), known)
    }

    /// Reads arguments.
    ///
    /// # Errors
    /// As [`of_process`](Self::of_process).
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        known: &[&str],
    ) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut given = BTreeMap::new();
        while let Some(argument) = arguments.next() {
            let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
            let flag =
                flag.ok_or_else(|| format!("`{argument}` is no flag; write --name=value"))?;
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.to_owned()),
                None => {
                    let value = arguments.next();
                    let value = value.ok_or_else(|| format!("--{flag} lacks its value"))?;
                    (flag.to_owned(), value)
                }
            };
            if !known.contains(&name.as_str()) {
                return Err(format!("--{name} is not known; there are --{}", known.join(", --")));
            }
            given.insert(name, value);
        }
        Ok(Self { given })
    }

    /// The text of a flag, if it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// The value of a flag, or `otherwise`.
    ///
    /// # Errors
    /// The text is no such value.
    pub fn value<T: FromStr<Err: Display>>(&self, name: &str, otherwise: T) -> Result<T, String> {
        match self.text(name) {
            Some(text) => text.parse().map_err(|error| format!("--{name}={text}: {error}")),
            None => Ok(otherwise),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Flags, String> {
        Flags::parse(text.split(' ').map(str::to_owned), &["port", "use_tls"])
    }

    #[test]
    fn flags_have_their_values_behind_an_equals_sign_or_a_space() {
        let flags = parse("--port=10 --use_tls true").unwrap();
        assert_eq!((flags.value("port", 0), flags.value("use_tls", false)), (Ok(10), Ok(true)));
        assert_eq!(parse("--port=10").unwrap().value("use_tls", false), Ok(false));
        for wrong in ["port", "--port", "--sport=1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("--port=ten").unwrap().value("port", 0).is_err());
    }
}
