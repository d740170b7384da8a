//! The front end for schemas: any bytes are a few `.proto` files that are taken or refused.
//!
//! Nothing panics, and the result is the same each time and in each order of the files. A refusal names a place within the
//! text and says what to write; descriptors of what is taken are read by the generator, which answers the same each time.

use std::collections::BTreeMap;

use grpc_build::schema::{Source, Sources, compile};
use grpc_build::{Error, run_plugin};

/// The most files in one input. They may import each other and what the crate carries.
const FILES: usize = 4;

/// The files by their names.
struct Files<'a>(BTreeMap<String, &'a [u8]>);

impl Sources for Files<'_> {
    fn read(&self, name: &str) -> Result<Option<Source>, String> {
        let text = self.0.get(name).map(|text| text.to_vec());
        Ok(text.map(|text| Source { text, path: name.to_owned() }))
    }
}

/// Reads `data` as the files `f0.proto`, `f1.proto` and so on, which NUL bytes separate.
pub fn check(data: &[u8]) {
    let texts = data.splitn(FILES, |byte| *byte == 0).enumerate();
    let sources = Files(texts.map(|(i, text)| (format!("f{i}.proto"), text)).collect());
    let mut names: Vec<_> = sources.0.keys().map(String::as_str).collect();
    let read = compile(&names, &sources);
    assert_eq!(read, compile(&names, &sources), "read twice");
    names.reverse();
    let reversed = compile(&names, &sources);
    match (read, reversed) {
        (Ok(one), Ok(other)) => {
            let (one, other) = (files(&one.descriptor_set), files(&other.descriptor_set));
            assert!(one == other, "another order of files makes other descriptors");
            for name in &names {
                assert!(one.contains_key(name.as_bytes()), "{name} has no descriptor");
            }
            generate(&names, &one);
        }
        (Err(one), Err(other)) => {
            faulty(&sources, &one);
            faulty(&sources, &other);
        }
        (one, other) => panic!("by the order of files: {one:?}, {other:?}"),
    }
}

/// An error has a place in a file, and says what to write.
fn faulty(sources: &Files<'_>, error: &Error) {
    let text = sources.0[error.file().expect("an error names its file")];
    let line = error.line().expect("an error has a line") as usize;
    let column = error.column().expect("an error has a column") as usize;
    let line = text.split(|byte| *byte == b'\n').nth(line - 1);
    let line = line.unwrap_or_else(|| panic!("no such line: {error}"));
    // Behind the last character at most.
    assert!((1..=line.len() + 1).contains(&column), "no such column: {error}");
    let (what, write) = error.message().split_once(';').unwrap_or_default();
    assert!(!what.is_empty() && !write.is_empty(), "no advice: {error}");
    assert!(!error.message().contains('\n'), "an error is one line: {error}");
}

/// The descriptors in a `FileDescriptorSet`, by the names of their files.
fn files(set: &[u8]) -> BTreeMap<&[u8], &[u8]> {
    let (mut set, mut found) = (set, BTreeMap::new());
    while !set.is_empty() {
        let (file, rest) = field(set, 1);
        let (name, _) = field(file, 1);
        assert_eq!(found.insert(name, file), None, "two descriptors of one file");
        set = rest;
    }
    found
}

/// The content of the field `number`, which `bytes` begin with, and what is behind it.
fn field(bytes: &[u8], number: u8) -> (&[u8], &[u8]) {
    let (tag, mut rest) = bytes.split_first().expect("a field");
    assert_eq!(*tag, number << 3 | 2);
    let mut len = 0;
    for shift in (0..).step_by(7) {
        let (byte, behind) = rest.split_first().expect("a length");
        rest = behind;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    rest.split_at(len)
}

/// Gives descriptors to the generator: it reads them, and makes the same of them each time.
fn generate(names: &[&str], descriptors: &BTreeMap<&[u8], &[u8]>) {
    let mut request = Vec::new();
    for name in names {
        put(&mut request, 1, name.as_bytes());
    }
    for file in descriptors.values() {
        put(&mut request, 15, file);
    }
    let response = run_plugin(&request).expect("the generator reads descriptors of the front end");
    assert!(Ok(response) == run_plugin(&request), "generated twice");
}

fn put(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    let mut len = content.len();
    while len > 0x7f {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(content);
}
