//! The public protobuf data sets that lie beside the repository, where they are present.

use std::io::Write;
use std::path::Path;

/// The messages of `../shared/data/protobuf-benchmarks/FILE.pb`, or nothing, after a word, when the data is absent.
pub fn payloads(file: &str) -> Option<Vec<Vec<u8>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data/protobuf-benchmarks")
        .join(format!("{file}.pb"));
    let Ok(bytes) = std::fs::read(&path) else {
        // Past a test harness, which keeps what a test that passes prints.
        let _ = writeln!(std::io::stderr(), "{file}: SKIPPED, {} is absent", path.display());
        return None;
    };
    Some(parse(&bytes).expect("a BenchmarkDataset"))
}

/// Field 3 of a `BenchmarkDataset`, whose fields are all length-delimited.
fn parse(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    const PAYLOAD: u64 = 3 << 3 | 2;
    let mut payloads = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let length = varint(&mut bytes)? as usize;
        let (value, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        if tag == PAYLOAD {
            payloads.push(value.to_vec());
        }
    }
    Some(payloads)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_and_names_skipped() {
        let bytes = b"\x0a\x01n\x12\x01m\x1a\x02ab\x1a\x00";
        assert_eq!(parse(bytes), Some(vec![b"ab".to_vec(), Vec::new()]));
        assert_eq!(parse(b"\x1a\x02a"), None);
    }
}
