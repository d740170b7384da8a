//! Queries that are chosen to cost much.

#![allow(unreachable_pub, dead_code, reason = "the allocator is shared with other tests")]

mod common;
#[path = "../../tests/src/counting.rs"]
mod counting;

use std::collections::BTreeSet;

use common::{Schema, asking};
use grpc_service::Code;
use grpc_standard::reflection::v1::server_reflection_request::MessageRequest as Query;
use grpc_standard::reflection::{ANSWER_BYTES, NAME_BYTES, Registry};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Layers of `width` files, each of which imports all of the layer below; each has about `bytes` bytes.
fn layers(depth: usize, width: usize, bytes: usize) -> Registry {
    let mut schema = Schema::default();
    for layer in 0..depth {
        for place in 0..width {
            let mut text = format!("syntax = \"proto3\"; package l{layer}x{place};\n");
            for below in (0..width).filter(|_| layer > 0) {
                text.push_str(&format!("import \"{}x{below}.proto\";\n", layer - 1));
            }
            text.push_str(&format!("message M{} {{}}\n", "x".repeat(bytes)));
            schema.add(&format!("{layer}x{place}.proto"), text);
        }
    }
    Registry::new([schema.set()]).expect("a registry")
}

#[test]
fn a_query_looks_at_each_file_once_however_many_paths_lead_to_it() {
    // 4^30 paths from the top to the bottom.
    let registry = layers(30, 4, 1);
    let mut asking = asking(&registry);
    let files = asking.files(Query::FileByFilename("29x0.proto"));
    assert_eq!(files.len(), 29 * 4 + 1);
    // Nothing is looked at again: what is below is complete.
    for place in 0..1000 {
        let name = format!("29x{}.proto", place % 4);
        assert_eq!(asking.files(Query::FileByFilename(&name)), [name.as_str()]);
    }
}

#[test]
fn an_answer_stops_at_its_limit_and_the_rest_comes_when_it_is_asked_for() {
    // 8 MiB, of which each file is a sixteenth of an answer.
    let registry = layers(8, 16, ANSWER_BYTES / 16);
    let mut asking = asking(&registry);
    let mut had = BTreeSet::new();
    let mut before = 0;
    for place in 0..16 {
        let name = format!("7x{place}.proto");
        let files = asking.files(Query::FileByFilename(&name));
        assert!(asking.bytes - before <= ANSWER_BYTES, "{}", asking.bytes - before);
        before = asking.bytes;
        for file in files.into_iter().skip(1) {
            assert!(had.insert(file.clone()), "{file} came twice");
        }
    }
    // What did not fit into one answer came with a later one.
    assert_eq!(had.len(), 7 * 16);
}

#[test]
fn queries_leave_nothing_behind_in_their_stream() {
    let registry = layers(30, 4, 1);
    let mut asking = asking(&registry);
    let mut ask = |times: usize| {
        for place in 0..times {
            let absent = format!("absent{place}");
            assert_eq!(asking.code(Query::FileContainingSymbol(&absent)), Code::NotFound);
            let name = format!("{}x0.proto", place % 30);
            assert!(!asking.files(Query::FileByFilename(&name)).is_empty());
        }
        counting::live()
    };
    let warm = ask(100);
    let later = ask(2000);
    assert!(later - warm < 1024, "{} bytes stay", later - warm);
}

#[test]
fn a_file_above_the_limit_comes_alone() {
    let registry = layers(2, 1, ANSWER_BYTES * 2);
    let mut asking = asking(&registry);
    assert_eq!(asking.files(Query::FileByFilename("1x0.proto")), ["1x0.proto"]);
    assert_eq!(asking.files(Query::FileByFilename("0x0.proto")), ["0x0.proto"]);
}

#[test]
fn a_name_that_is_too_long_to_be_repeated_ends_the_call() {
    let registry = layers(1, 1, 1);
    let mut asking = asking(&registry);
    let longest = "x".repeat(NAME_BYTES);
    assert_eq!(asking.code(Query::FileByFilename(&longest)), Code::NotFound);
    let longer = "x".repeat(NAME_BYTES + 1);
    let ended = asking.ask(Some(Query::FileContainingSymbol(&longer))).expect_err("refused");
    assert_eq!(ended.code(), Code::InvalidArgument);
}
