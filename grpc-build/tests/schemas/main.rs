//! The front end: what it refuses and why, what it takes, and that the order of files makes no difference.

mod accepted;
mod refused;
mod scopes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grpc_build::Error;
use grpc_build::schema::{Compiled, Source, Sources, compile};

/// Files in memory, called by their names.
#[derive(Default)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl Memory {
    /// The files that others of this folder import.
    fn imported() -> Self {
        Self(files(&folder("imported")).into_iter().collect())
    }

    fn with(mut self, name: &str, text: impl Into<Vec<u8>>) -> Self {
        self.0.insert(name.to_owned(), text.into());
        self
    }
}

impl Sources for Memory {
    fn read(&self, name: &str) -> Result<Option<Source>, String> {
        let text = self.0.get(name).cloned();
        Ok(text.map(|text| Source { text, path: name.to_owned() }))
    }
}

/// Compiles one file.
fn compile_text(text: impl Into<Vec<u8>>) -> Result<Compiled, Error> {
    compile(&["it.proto"], &Memory::default().with("it.proto", text))
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas").join(name)
}

/// The files of a folder in the order of their names.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            out.push((name, std::fs::read(&path).unwrap()));
        }
    }
    out.sort();
    out
}
