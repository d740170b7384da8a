//! The public HPACK stories: what six other encoders made is decoded, and what ours makes is decoded by two foreign
//! decoders, whose tables are held against ours after each block.

use std::fs;
use std::io::Write;
use std::path::Path;

use grpc_proto::hpack::{Decoder, Encoder, FieldList, ListLimits, ListOutcome};
use serde_json::Value;

const NO_LIMITS: ListLimits = ListLimits { max_size: u32::MAX, max_fields: u32::MAX };

/// Blocks that share one context.
struct Story {
    name: String,
    cases: Vec<Case>,
}

struct Case {
    table_size: Option<u32>,
    wire: Vec<u8>,
    headers: Vec<(String, String)>,
}

/// The stories of one folder; none, after a word, where the data is absent.
fn stories(folder: &str) -> Vec<Story> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data/hpack-test-case")
        .join(folder);
    let Ok(files) = fs::read_dir(&path) else {
        // Past the harness, which keeps what a test that passes prints.
        let _ = writeln!(std::io::stderr(), "{folder}: SKIPPED, {} is absent", path.display());
        return Vec::new();
    };
    let mut stories: Vec<Story> = files
        .map(|file| {
            let path = file.expect("a file of the folder").path();
            let text = fs::read_to_string(&path).expect("a readable story");
            let story: Value = serde_json::from_str(&text).expect("a story in JSON");
            let cases = story["cases"].as_array().expect("cases").iter().map(case).collect();
            Story { name: path.display().to_string(), cases }
        })
        .collect();
    assert!(stories.len() > 20, "{folder} is whole");
    stories.sort_by(|a, b| a.name.cmp(&b.name));
    stories
}

fn case(case: &Value) -> Case {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    Case {
        table_size: case["header_table_size"].as_u64().map(|size| size as u32),
        wire: case["wire"].as_str().map(hex).unwrap_or_default(),
        headers: case["headers"]
            .as_array()
            .expect("headers")
            .iter()
            .flat_map(|field| field.as_object().expect("a field"))
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
    }
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits"))
        .collect()
}

fn decode_folder(folder: &str) {
    for story in stories(folder) {
        let mut decoder = Decoder::new(4096);
        let mut list = FieldList::new();
        for case in &story.cases {
            if let Some(size) = case.table_size {
                decoder.set_max_table_size(size);
            }
            list.clear();
            let outcome = decoder.decode(&case.wire, &NO_LIMITS, &mut list);
            assert_eq!(outcome, Ok(ListOutcome::Complete), "{}", story.name);
            let wanted =
                case.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            assert!(
                list.iter().map(|field| (field.name, field.value)).eq(wanted),
                "{}",
                story.name
            );
        }
    }
}

#[test]
fn the_stories_of_nghttp2_are_decoded() {
    decode_folder("nghttp2");
}

#[test]
fn the_stories_with_changing_table_sizes_are_decoded() {
    decode_folder("nghttp2-change-table-size");
}

#[test]
fn the_stories_of_go_are_decoded() {
    decode_folder("go-hpack");
}

#[test]
fn the_stories_of_haskell_are_decoded() {
    decode_folder("haskell-http2-linear-huffman");
}

#[test]
fn the_stories_of_python_are_decoded() {
    decode_folder("python-hpack");
}

/// A decoder that someone else wrote.
trait Oracle {
    /// Decodes one block; `None` is an error.
    fn decode(&mut self, block: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Its dynamic table, asked for by references to one entry after another until one fails.
    fn table(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut entries = Vec::new();
        for index in 62u16.. {
            let mut block = Vec::new();
            match index {
                ..127 => block.push(0x80 | index as u8),
                127..255 => block.extend_from_slice(&[0xff, (index - 127) as u8]),
                _ => panic!("a table of 4096 octets has at most 128 entries"),
            }
            match self.decode(&block) {
                Some(entry) => entries.extend(entry),
                None => break,
            }
        }
        entries
    }
}

impl Oracle for loona_hpack::Decoder<'_> {
    fn decode(&mut self, block: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        loona_hpack::Decoder::decode(self, block).ok()
    }
}

impl Oracle for httlib_hpack::Decoder<'_> {
    fn decode(&mut self, block: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut fields = Vec::new();
        httlib_hpack::Decoder::decode(self, &mut block.to_vec(), &mut fields).ok()?;
        Some(fields.into_iter().map(|(name, value, _)| (name, value)).collect())
    }
}

/// Encodes each list of a story and has `oracle` decode it; `sizes` are the table sizes of the peer, in turn.
fn encode_story(story: &Story, oracle: &mut impl Oracle, sizes: &[u32]) {
    let mut encoder = Encoder::new();
    let mut block = Vec::new();
    for (case, nth) in story.cases.iter().zip(1..) {
        if !sizes.is_empty() && nth % 5 == 0 {
            encoder.set_peer_max_table_size(sizes[nth / 5 % sizes.len()]);
        }
        let list: FieldList = case.headers.iter().cloned().collect();
        block.clear();
        encoder.encode(&list, &mut block);
        let decoded = oracle.decode(&block).expect("a block that others decode");
        let wanted = list.iter().map(|field| (field.name.to_vec(), field.value.to_vec()));
        assert!(decoded.into_iter().eq(wanted), "{} block {nth}", story.name);
        let table = oracle.table();
        let size: usize = table.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        assert_eq!(encoder.table_size(), size);
        let table = table.iter().map(|(name, value)| (&name[..], &value[..]));
        let ours: Vec<_> = encoder.table_entries().collect();
        assert!(ours.iter().map(|(name, value)| (&name[..], &value[..])).eq(table));
    }
}

#[test]
fn our_blocks_are_decoded_by_loona() {
    // It decodes slowly: a tenth of the stories takes as long as all other tests here.
    for (nth, story) in stories("raw-data").iter().step_by(10).enumerate() {
        let sizes: &[u32] = if nth % 2 == 0 { &[] } else { &[0, 4096, 100, 1000] };
        encode_story(story, &mut loona_hpack::Decoder::new(), sizes);
    }
}

#[test]
fn our_blocks_are_decoded_by_httlib() {
    for story in stories("raw-data") {
        encode_story(&story, &mut httlib_hpack::Decoder::default(), &[]);
        encode_story(&story, &mut httlib_hpack::Decoder::default(), &[0, 4096, 100, 1000]);
    }
}
