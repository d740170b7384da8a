//! The HPACK encoder: our decoder and the exact one decode its blocks to the same lists, under any changes of the table's
//! size, and the tables stay equal.

use grpc_proto::hpack::{Decoder, Encoder, FieldList, ListLimits, ListOutcome, Token};

use crate::hpack::Fields;
use crate::hpack::reference::Reference;
use crate::tape::Tape;

const NAMES: [&str; 16] = [
    ":method",
    ":path",
    ":status",
    ":authority",
    "content-type",
    "te",
    "grpc-timeout",
    "grpc-status",
    "grpc-message",
    "authorization",
    "user-agent",
    "traceparent",
    "x-request-id",
    "fuzz-bin",
    "accept",
    "content-length",
];

/// `data` chooses the encoder's cap and then, over and over, a list or a change.
pub fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut encoder = Encoder::with_max_table_size(tape.number());
    let mut decoder = Decoder::new(u32::MAX);
    let mut exact = Reference::new(u32::MAX);
    let mut list = FieldList::new();
    while !tape.is_at_end() {
        match tape.byte() {
            // SETTINGS come and are acknowledged, before the next block.
            0..=15 => {
                let size = tape.number();
                encoder.set_peer_max_table_size(size);
                decoder.set_max_table_size(size);
                exact.set_max_table_size(size);
            }
            16..=23 => encoder.shrink_idle(),
            // The same list again, as calls do.
            24..=63 => encode(&mut encoder, &mut decoder, &mut exact, &list),
            count => {
                list.clear();
                for _ in 0..count % 16 {
                    push(&mut list, &mut tape);
                }
                encode(&mut encoder, &mut decoder, &mut exact, &list);
            }
        }
    }
}

/// A field whose name or value is a usual one, or anything.
fn push(list: &mut FieldList, tape: &mut Tape<'_>) {
    let choice = tape.byte();
    let name: &[u8] = match NAMES.get(usize::from(choice & 31)) {
        Some(name) => name.as_bytes(),
        None => tape.bytes(),
    };
    let long;
    let value: &[u8] = match choice >> 5 {
        0 => b"POST",
        1 => b"200",
        2 => b"application/grpc",
        // Long enough for a code, and for what no table holds.
        3 => {
            long = tape.bytes().repeat(usize::from(tape.byte() % 32));
            &long
        }
        _ => tape.bytes(),
    };
    match choice {
        0xe0..=0xe3 => list.push_sensitive(name, value),
        _ => match Token::of(name) {
            token if token.name().is_some() => list.push_known(token, value),
            _ => list.push(name, value),
        },
    }
}

fn encode(encoder: &mut Encoder, decoder: &mut Decoder, exact: &mut Reference, list: &FieldList) {
    let generation = encoder.generation();
    // A block is appended to what is there.
    let mut out = b"before".to_vec();
    encoder.encode(list, &mut out);
    let block = out.strip_prefix(b"before").expect("what was there stays");

    let limits = ListLimits { max_size: u32::MAX, max_fields: u32::MAX };
    let mut seen = FieldList::new();
    assert_eq!(decoder.decode(block, &limits, &mut seen), Ok(ListOutcome::Complete));
    assert!(seen.same_bytes(list), "{list:?} became {seen:?}");
    let fields: Fields =
        list.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
    assert_eq!(exact.decode(block).expect("a block of ours is right"), fields);
    assert!(encoder.table_entries().eq(decoder.table_entries()), "the tables differ");
    assert_eq!(encoder.table_size(), decoder.table_size());

    // The property that a memo relies on.
    if encoder.generation() == generation {
        let mut again = FieldList::new();
        assert_eq!(decoder.decode(block, &limits, &mut again), Ok(ListOutcome::Complete));
        assert!(again.same_bytes(list), "a block that may be sent again means something else");
        if encoder.is_settled() {
            let mut anew = Vec::new();
            encoder.encode(list, &mut anew);
            assert_eq!(anew, block, "settled, but another block");
        }
    }
    let held = encoder.heap_bytes();
    assert!(held <= 3 * encoder.table_size() + (16 << 10), "{held} for {}", encoder.table_size());
}
