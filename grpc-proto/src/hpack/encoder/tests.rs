use alloc::format;
use alloc::string::String;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::hpack::{Decoder, ListLimits, ListOutcome, Token};

const NO_LIMITS: ListLimits = ListLimits { max_size: u32::MAX, max_fields: u32::MAX };

/// The two ends of one direction.
struct Pair {
    encoder: Encoder,
    decoder: Decoder,
}

impl Pair {
    fn new() -> Self {
        Pair { encoder: Encoder::new(), decoder: Decoder::new(4096) }
    }

    /// Sends a list, checks that the other end has the same list and the same table, and returns the
    /// block.
    fn send(&mut self, list: &FieldList) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.encode(list, &mut block);
        let mut seen = FieldList::new();
        let outcome = self.decoder.decode(&block, &NO_LIMITS, &mut seen);
        assert_eq!(outcome, Ok(ListOutcome::Complete));
        assert_eq!(&seen, list);
        assert!(self.encoder.table_entries().eq(self.decoder.table_entries()));
        assert_eq!(self.encoder.table_size(), self.decoder.table_size());
        block
    }
}

fn request(path: &str, trace: &str) -> FieldList {
    let mut list = FieldList::new();
    list.push_known(Token::Method, b"POST");
    list.push_known(Token::Scheme, b"http");
    list.push_known(Token::Path, path.as_bytes());
    list.push_known(Token::Authority, b"greeter.example:50051");
    list.push_known(Token::Te, b"trailers");
    list.push_known(Token::ContentType, b"application/grpc");
    list.push_known(Token::UserAgent, b"grpc-rust/0.1");
    list.push_known(Token::GrpcTimeout, format!("{}u", trace.len() * 7919 % 99999).as_bytes());
    list.push(b"x-tenant", b"blue");
    list.push(b"x-trace-id", trace.as_bytes());
    list
}

#[test]
fn constant_fields_take_one_byte_from_the_second_call_on() {
    let mut pair = Pair::new();
    let first = pair.send(&request("/a.B/C", "0123456789abcdef"));
    let second = pair.send(&request("/a.B/C", "0123456789abcdef"));
    assert!(first.len() > 100);
    assert_eq!(second.len(), 10);
    assert!(pair.encoder.is_settled());
}

#[test]
fn values_that_never_repeat_do_not_enter_the_table_again() {
    let mut pair = Pair::new();
    pair.send(&request("/a.B/C", "first"));
    let len = pair.encoder.table_len();
    for call in 0..1000u32 {
        let trace = format!("{:016x}", u64::from(call).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let block = pair.send(&request("/a.B/C", &trace));
        assert!(block.len() < 40, "{} bytes", block.len());
    }
    assert_eq!(pair.encoder.table_len(), len);
}

#[test]
fn paths_enter_when_they_are_seen_twice() {
    let mut pair = Pair::new();
    let mut list = FieldList::new();
    let send = |pair: &mut Pair, list: &mut FieldList, path: &str| {
        list.clear();
        list.push_known(Token::Path, path.as_bytes());
        pair.send(list).len()
    };
    assert!(send(&mut pair, &mut list, "/a.Service/First") > 1);
    assert_eq!(send(&mut pair, &mut list, "/a.Service/First"), 1);
    assert!(send(&mut pair, &mut list, "/a.Service/Second") > 1);
    assert_eq!(pair.encoder.table_len(), 1);
    assert!(send(&mut pair, &mut list, "/a.Service/Second") > 1);
    assert_eq!(pair.encoder.table_len(), 2);
    assert_eq!(send(&mut pair, &mut list, "/a.Service/Second"), 1);
    assert_eq!(send(&mut pair, &mut list, "/a.Service/First"), 1);
    for id in 0..500 {
        send(&mut pair, &mut list, &format!("/users/{id}"));
    }
    assert_eq!(pair.encoder.table_len(), 2);
}

#[test]
fn credentials_are_never_indexed_whatever_their_length() {
    for name in ["authorization", "cookie", "proxy-authorization", "set-cookie"] {
        for len in [0, 1, 20, 500] {
            let list: FieldList = [(name, "s".repeat(len))].into_iter().collect();
            let mut pair = Pair::new();
            for _ in 0..3 {
                assert_eq!(pair.send(&list)[0] & 0xf0, 0x10, "{name}");
            }
            assert_eq!(pair.encoder.table_len(), 0);
        }
    }
    let mut list = FieldList::new();
    list.push_sensitive(b":method", b"GET");
    list.push_sensitive(b"x-api-key", b"k");
    let mut pair = Pair::new();
    pair.send(&list);
    let block = pair.send(&list);
    assert_eq!(block[0] & 0xf0, 0x10);
    assert_eq!(pair.encoder.table_len(), 0);
}

#[test]
fn large_fields_wait_and_the_largest_stay_out() {
    let mut pair = Pair::new();
    let large: FieldList = [("x-large", "l".repeat(2000))].into_iter().collect();
    pair.send(&large);
    assert_eq!(pair.encoder.table_len(), 0);
    pair.send(&large);
    assert_eq!(pair.encoder.table_len(), 1);
    assert_eq!(pair.send(&large).len(), 1);
    let huge: FieldList = [("x-huge", "h".repeat(3100))].into_iter().collect();
    for _ in 0..4 {
        pair.send(&huge);
    }
    assert_eq!(pair.encoder.table_len(), 1);
}

#[test]
fn the_generation_stays_while_the_table_does() {
    let mut pair = Pair::new();
    let list = request("/a.B/C", "one");
    let start = pair.encoder.generation();
    pair.send(&list);
    let warm = pair.encoder.generation();
    assert_ne!(start, warm);
    assert!(!pair.encoder.is_settled());
    let block = pair.send(&list);
    assert_eq!(pair.encoder.generation(), warm);
    assert!(pair.encoder.is_settled());
    // What a memo does: the old block once more, past the encoder.
    let mut seen = FieldList::new();
    assert!(pair.decoder.decode(&block, &NO_LIMITS, &mut seen).is_ok());
    assert_eq!(seen, list);

    pair.send(&request("/a.B/C", "two"));
    assert!(!pair.encoder.is_settled());
    assert_eq!(pair.encoder.generation(), warm);

    pair.encoder.set_peer_max_table_size(4096);
    assert_eq!(pair.encoder.generation(), warm);
    pair.encoder.set_peer_max_table_size(1000);
    let reduced = pair.encoder.generation();
    assert_ne!(reduced, warm);
    pair.send(&list);
    assert_ne!(pair.encoder.generation(), reduced);
}

#[test]
fn size_updates_tell_the_smallest_size_and_the_last() {
    let first_bytes = |sizes: &[u32]| {
        let mut pair = Pair::new();
        pair.send(&request("/a.B/C", "one"));
        for &size in sizes {
            pair.encoder.set_peer_max_table_size(size);
        }
        let mut block = Vec::new();
        pair.encoder.encode(&FieldList::new(), &mut block);
        let mut again = Vec::new();
        pair.encoder.encode(&FieldList::new(), &mut again);
        assert_eq!(again, []);
        block
    };
    assert_eq!(first_bytes(&[]), []);
    assert_eq!(first_bytes(&[4096]), []);
    assert_eq!(first_bytes(&[u32::MAX]), []);
    assert_eq!(first_bytes(&[0]), [0x20]);
    assert_eq!(first_bytes(&[16]), [0x30]);
    assert_eq!(first_bytes(&[16, 0, 8]), [0x20, 0x28]);
    assert_eq!(first_bytes(&[0, 65536]), [0x20, 0x3f, 0xe1, 0x1f]);
    assert_eq!(first_bytes(&[100, 100]), [0x3f, 0x45]);
}

#[test]
fn a_smaller_cap_is_told_in_the_first_block_and_a_larger_one_waits_for_settings() {
    let mut block = Vec::new();
    Encoder::with_max_table_size(0).encode(&FieldList::new(), &mut block);
    assert_eq!(block, [0x20]);
    block.clear();
    let mut encoder = Encoder::with_max_table_size(8192);
    encoder.encode(&FieldList::new(), &mut block);
    assert_eq!(block, []);
    encoder.set_peer_max_table_size(u32::MAX);
    encoder.encode(&FieldList::new(), &mut block);
    assert_eq!(block, [0x3f, 0xe1, 0x3f]);
}

#[test]
fn nothing_is_allocated_once_the_table_is_warm() {
    let mut pair = Pair::new();
    for call in 0..20u32 {
        pair.send(&request("/a.B/C", &format!("{call:016x}")));
    }
    let held = pair.encoder.heap_bytes();
    for call in 20..2000u32 {
        pair.send(&request("/a.B/C", &format!("{call:016x}")));
    }
    assert_eq!(pair.encoder.heap_bytes(), held);
    assert!(held < 3000, "{held} bytes");
}

#[test]
fn strings_are_coded_exactly_where_that_saves_sixteen_bytes() {
    // Codes of five, six, five, eight, thirteen and nineteen bits.
    for symbol in ["0", "7", "e", "X", "~", "\\"] {
        for len in 0..300 {
            let text = symbol.repeat(len);
            let mut out = Vec::new();
            string(text.as_bytes(), &mut out);
            let pays = huffman::encoded_len(text.as_bytes()) + LEAST_SAVING <= len;
            // Below the length at which it is tried, only codes of five bits would pay.
            assert_eq!(out[0] >= 0x80, pays && len >= WORTH_CODING, "{len} times {symbol}");
            let mut block = [&[0x00, 0x01, b'a'][..], &out].concat();
            block.push(0x82);
            let mut list = FieldList::new();
            Decoder::new(4096).decode(&block, &NO_LIMITS, &mut list).unwrap();
            assert_eq!(list.get(0).unwrap().value, text.as_bytes());
            assert_eq!(list.len(), 2);
        }
    }
}

#[test]
fn parts_of_a_block_make_the_same_block_together() {
    let lists = [b"1S", b"2S", b"2S"].map(|timeout| {
        let (mut before, mut after) = (FieldList::new(), FieldList::new());
        before.push_known(Token::Method, b"POST");
        before.push_known(Token::Path, b"/a.B/C");
        after.push(b"x-trace", b"0123456789abcdef");
        (before, timeout, after)
    });
    let (mut whole, mut parts) = (Encoder::new(), Encoder::new());
    for (before, timeout, after) in &lists {
        let mut list = before.clone();
        list.push_known(Token::GrpcTimeout, *timeout);
        list.extend_from(after);
        let (mut wanted, mut found) = (Vec::new(), Vec::new());
        whole.encode(&list, &mut wanted);
        parts.encode(before, &mut found);
        parts.encode_value(Token::GrpcTimeout, *timeout, &mut found);
        parts.encode(after, &mut found);
        assert_eq!(found, wanted);
        assert_eq!(whole.generation(), parts.generation());
    }
}

#[test]
fn a_peer_that_allows_a_table_of_4_gib_is_given_one_of_4_kib() {
    let mut pair = Pair::new();
    pair.encoder.set_peer_max_table_size(u32::MAX);
    for nth in 0..1000 {
        // New names enter at once; a third of them have room for hardly anything else.
        let name = format!("x-{nth:0width$}", width = [1, 30, 900][nth % 3]);
        let list: FieldList = [(name, "")].into_iter().collect();
        pair.send(&list);
        assert!(pair.encoder.table_size() <= 4096);
        assert!(pair.encoder.heap_bytes() <= 9216, "{} bytes", pair.encoder.heap_bytes());
    }
    for nth in 0..1000u16 {
        let list: FieldList = [(nth.to_be_bytes(), "")].into_iter().collect();
        pair.send(&list);
        assert!(pair.encoder.heap_bytes() <= 9216, "{} bytes", pair.encoder.heap_bytes());
    }
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(":path".into()),
        Just(":status".into()),
        Just("te".into()),
        Just("cookie".into()),
        Just("grpc-timeout".into()),
        Just("grpc-message".into()),
        Just("user-agent".into()),
        "[a-z]{0,3}",
        (100..400usize).prop_map(|len| "n".repeat(len)),
    ]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[0-9]{0,2}".prop_map(String::into_bytes),
        1 => Just(b"trailers".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (200..3000usize).prop_map(|len| vec![b'v'; len]),
    ]
}

proptest! {
    // Each case is a conversation of up to forty blocks.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_encoded_decodes_to_itself_and_the_tables_agree(
        cap in prop_oneof![Just(4096u32), 0..300u32, 0..10_000u32],
        blocks in prop::collection::vec(
            (
                prop::collection::vec((names(), values(), prop::bool::weighted(0.1)), 0..12),
                prop::collection::vec(prop_oneof![0..300u32, 0..8192u32], 0..3),
                any::<bool>(),
            ),
            0..20,
        ),
    ) {
        let mut pair =
            Pair { encoder: Encoder::with_max_table_size(cap), decoder: Decoder::new(4096) };
        for (fields, sizes, shrink) in blocks {
            let mut list = FieldList::new();
            for (name, value, sensitive) in fields {
                match sensitive {
                    true => list.push_sensitive(name.as_bytes(), &value),
                    false => list.push(name.as_bytes(), &value),
                }
            }
            pair.send(&list);
            pair.send(&list);
            for size in sizes {
                pair.encoder.set_peer_max_table_size(size);
                pair.decoder.set_max_table_size(size);
            }
            if shrink {
                pair.encoder.shrink_idle();
                pair.decoder.shrink_idle();
            }
        }
    }
}

#[test]
fn a_field_may_fill_three_quarters_of_the_table_and_not_a_byte_more() {
    for (more, entries) in [(0, 1), (1, 0)] {
        let mut pair = Pair::new();
        let mut list = FieldList::new();
        list.push(b"x-large", &vec![b'v'; 4096 / 4 * 3 - 32 - b"x-large".len() + more]);
        for _ in 0..3 {
            pair.send(&list);
        }
        assert_eq!(pair.encoder.table_len(), entries);
    }
}

#[test]
fn every_entry_of_a_large_table_is_found_again() {
    let mut pair = Pair::new();
    let list: FieldList = (0..64).map(|n| (format!("x-{n:02}"), "value")).collect();
    pair.send(&list);
    assert_eq!(pair.encoder.table_len(), 64);
    // An index below 127 takes a byte.
    assert_eq!(pair.send(&list).len(), 64);
}
