//! The message of the simulated service: all of it follows from the call, the direction and the place.

use grpc_service::Arena;

use crate::entropy::mix;
use crate::world::app;

/// Generated from `proto/world.proto`.
#[allow(missing_docs, unreachable_pub, dead_code, reason = "generated")]
pub(super) mod generated {
    include!(concat!(env!("OUT_DIR"), "/sim.rs"));
}

pub(super) use generated::Part;

/// What a message has beside its body, at most, when it is encoded.
pub(crate) const BESIDE: u32 = 400;

/// Message `index` of a call in one direction.
pub(super) fn part(call: usize, up: bool, index: usize, len: u32, arena: &Arena) -> Part<'_> {
    let number = number(call, up, index);
    let words: Vec<&str> = (0..number % 4).map(|n| word(number, n, arena)).collect();
    let numbers: Vec<u64> = (0..number % 7).map(|n| mix(number, n)).collect();
    let inner = (number.is_multiple_of(3)).then(|| {
        let inner =
            Part { index: index as u32, words: arena.alloc_slice(&words), ..Part::default() };
        &*arena.alloc(inner)
    });
    Part {
        call: call as u32,
        down: !up,
        index: index as u32,
        body: match is_repetitive(call, up, index) && len as usize <= app::REPEATED {
            true => app::repetitive(call, up, index, len),
            false => app::message(call, up, index, len),
        },
        words: arena.alloc_slice(&words),
        numbers: arena.alloc_slice(&numbers),
        inner,
        ..Part::default()
    }
}

fn number(call: usize, up: bool, index: usize) -> u64 {
    mix(call as u64 * 2 + u64::from(up), 0x9a27 + index as u64)
}

/// Whether compression makes less of the body of a message.
pub(super) fn is_repetitive(call: usize, up: bool, index: usize) -> bool {
    number(call, up, index) >> 40 & 1 == 1
}

fn word(number: u64, n: u64, arena: &Arena) -> &str {
    let text = format!("word {n} of {number}");
    arena.alloc_str(&text[..text.len().min(6 + (number >> 8) as usize % 20)])
}

/// Whether a message is the one that was sent.
pub(super) fn is_intact(got: &Part<'_>, call: usize, up: bool, index: usize, len: u32) -> bool {
    let arena = Arena::new();
    *got == part(call, up, index, len, &arena)
}
