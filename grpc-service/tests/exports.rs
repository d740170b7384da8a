//! That a program which depends on this crate can name all that the crate's signatures name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What the crate imports for its inside alone, and the front page of no other crate would help with.
const INSIDE: &[&str] = &[
    "Allotment",
    "ArenaMark",
    "CallHead",
    "CallKey",
    "Config",
    "Event",
    "Message",
    "MessageBuf",
    "Messages",
    "OpenError",
    "Outcome",
    "Payload",
    "RequestHead",
    "ResponseHead",
    "Role",
    "Server",
    "Side",
    "Recorder",
    "Recording",
    "END",
    "Options",
    "Sink",
    "SEGMENT",
    "Usage",
];

/// The names in `use` items of `krate` in a source text, whether alone or in braces.
fn imported(text: &str, krate: &str, public: bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let start = if public { format!("pub use {krate}::") } else { format!("\nuse {krate}::") };
    for part in text.split(&start).skip(1) {
        let item = part.split(';').next().unwrap_or_default();
        for word in item.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
            let is_type = word.starts_with(|c: char| c.is_ascii_uppercase());
            if is_type || ["decode_bin", "parse_timeout"].contains(&word) {
                names.insert(word.to_owned());
            }
        }
    }
    names
}

fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the crate's sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            // What tests import is theirs.
            into.push(text.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
        }
    }
}

#[test]
fn every_type_that_the_api_takes_from_other_crates_is_exported_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let front = fs::read_to_string(folder.join("lib.rs")).expect("the front page");
    let mut texts = Vec::new();
    sources(&folder, &mut texts);
    for krate in ["grpc_proto", "grpc_arena"] {
        let exported = imported(&front, krate, true);
        assert!(exported.len() > 5, "{krate}: {exported:?}");
        let mut missing = BTreeSet::new();
        for text in &texts {
            missing.extend(imported(text, krate, false));
        }
        missing.retain(|name| !exported.contains(name) && !INSIDE.contains(&name.as_str()));
        assert!(missing.is_empty(), "grpc_service re-exports no {missing:?} of {krate}");
    }
}
