//! Rust names for the names of a schema.

use std::collections::HashSet;

use proc_macro2::{Ident, Span};

/// An identifier, escaped when it is a keyword.
pub(crate) fn ident(name: &str) -> Ident {
    match name {
        // These cannot be raw identifiers.
        "self" | "super" | "crate" | "Self" | "_" => {
            Ident::new(&format!("{name}_"), Span::call_site())
        }
        // Since edition 2024, which the parser does not know.
        "gen" => Ident::new_raw(name, Span::call_site()),
        // The entry type of a map `_0` is `0Entry`.
        _ if name.starts_with(|c: char| c.is_ascii_digit()) => {
            Ident::new(&format!("_{name}"), Span::call_site())
        }
        _ => match syn::parse_str::<Ident>(name) {
            Ok(ident) => ident,
            Err(_) => Ident::new_raw(name, Span::call_site()),
        },
    }
}

/// An identifier that none of `taken` is; notes it there. Underscores tell names apart that Rust's style makes equal.
pub(crate) fn unique(mut name: String, taken: &mut HashSet<String>) -> Ident {
    loop {
        let ident = ident(&name);
        if taken.insert(ident.to_string()) {
            return ident;
        }
        name.push('_');
    }
}

/// The hidden second name of the module for what is declared in the message `name`.
///
/// The module itself may get an underscore because of files that the user of an [`extern_path`] does not import. This name
/// depends on the schema's name alone, so other crates find the module by it.
///
/// [`extern_path`]: crate::Config::extern_path
pub(crate) fn module_alias(name: &str) -> Ident {
    Ident::new(&format!("__in_{name}"), Span::call_site())
}

/// The hidden second name of a type whose name is not in Rust's style, as `foo_bar`, for other crates as
/// [`module_alias`] is; `None` for one that has its own name in Rust.
pub(crate) fn type_alias(name: &str) -> Option<Ident> {
    (camel(name) != name).then(|| Ident::new(&format!("__type_{name}"), Span::call_site()))
}

/// What generated code names without a path, primitive types and the codec: a module of that name would hide it.
const NAMED: [&str; 11] =
    ["__codec", "bool", "f32", "f64", "i32", "i64", "str", "u32", "u64", "u8", "usize"];

/// The module for what is declared in a message, or for a part of a package's name.
pub(crate) fn module(name: &str) -> String {
    let mut name = snake(name);
    if NAMED.contains(&name.as_str()) {
        name.push('_');
    }
    name
}

/// `snake_case`, with an acronym as one word: `HTTPServer2` becomes `http_server2`.
pub(crate) fn snake(name: &str) -> String {
    let chars = name.chars().collect::<Vec<_>>();
    let mut out = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let word_starts = c.is_ascii_uppercase()
            && before.is_some_and(|b| {
                b.is_ascii_lowercase()
                    || b.is_ascii_digit()
                    || b.is_ascii_uppercase()
                        && chars.get(i + 1).is_some_and(char::is_ascii_lowercase)
            });
        if word_starts {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// `UpperCamelCase`: underscores go, what follows one is a capital, all else stays. A word in capitals only is lowered,
/// unless it is the whole of a type's name.
pub(crate) fn camel(name: &str) -> String {
    let shouting = name.contains('_') && !name.contains(|c: char| c.is_ascii_lowercase());
    let mut out = String::new();
    for word in name.split('_') {
        let mut chars = word.chars();
        let Some(first) = chars.next() else { continue };
        // Digits of neighbouring words must not run together.
        if first.is_ascii_digit() && out.ends_with(|c: char| c.is_ascii_digit()) {
            out.push('_');
        }
        out.push(first.to_ascii_uppercase());
        let rest = chars.as_str();
        if shouting { out.push_str(&rest.to_ascii_lowercase()) } else { out.push_str(rest) }
    }
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

/// The variant of a closed enum: `UpperCamelCase` from `SCREAMING_SNAKE_CASE`, a single word included.
pub(crate) fn variant(name: &str) -> String {
    if name.contains(|c: char| c.is_ascii_lowercase()) {
        camel(name)
    } else {
        camel(&name.to_ascii_lowercase())
    }
}

/// The constant of an open enum: `SCREAMING_SNAKE_CASE`.
pub(crate) fn constant(name: &str) -> String {
    let shouting = !name.contains(|c: char| c.is_ascii_lowercase());
    if shouting { name.to_owned() } else { snake(name).to_ascii_uppercase() }
}

/// The modules of a package.
pub(crate) fn package_modules(package: &str) -> Vec<Ident> {
    package.split('.').filter(|part| !part.is_empty()).map(|part| ident(&module(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_where_a_reader_ends_them() {
        let cases = [
            ("HelloRequest", "hello_request", "HelloRequest"),
            ("HTTPServer", "http_server", "HTTPServer"),
            ("foo_bar", "foo_bar", "FooBar"),
            ("fooBar", "foo_bar", "FooBar"),
            ("Int32Value", "int32_value", "Int32Value"),
            ("FOO_BAR", "foo_bar", "FooBar"),
            ("v1_2", "v1_2", "V1_2"),
            ("A", "a", "A"),
        ];
        for (name, snake_case, camel_case) in cases {
            assert_eq!(
                (snake(name).as_str(), camel(name).as_str()),
                (snake_case, camel_case),
                "{name}"
            );
        }
        assert_eq!(
            (variant("FOO"), variant("FOO_BAR"), variant("Baz")),
            ("Foo".into(), "FooBar".into(), "Baz".into())
        );
        assert_eq!((constant("FOO_1"), constant("fooBar")), ("FOO_1".into(), "FOO_BAR".into()));
    }

    #[test]
    fn keywords_are_escaped() {
        assert_eq!(ident("type").to_string(), "r#type");
        assert_eq!(ident("gen").to_string(), "r#gen");
        assert_eq!(ident("self").to_string(), "self_");
        assert_eq!(ident("name").to_string(), "name");
    }

    #[test]
    fn names_that_would_be_equal_are_told_apart() {
        let mut taken = HashSet::new();
        assert_eq!(unique(snake("fooBar"), &mut taken), "foo_bar");
        assert_eq!(unique(snake("foo_bar"), &mut taken), "foo_bar_");
        assert_eq!(unique("self".to_owned(), &mut taken), "self_");
        assert_eq!(unique("self_".to_owned(), &mut taken), "self__");
    }
}
