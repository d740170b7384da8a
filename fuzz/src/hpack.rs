//! The HPACK decoder beside three others: two foreign ones, and one that is written from the RFC to be exact. Lists that
//! are cut off at a limit leave the table as it must be.

pub mod reference;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use grpc_proto::hpack::{Decoder, FieldList, ListLimits, ListOutcome};

use crate::tape::Tape;
use reference::Reference;

/// A name and a value.
pub type FieldText = (Vec<u8>, Vec<u8>);
/// A list of fields.
pub type Fields = Vec<FieldText>;

/// A length that means something else: SETTINGS of another table size were acknowledged, or the connection falls idle.
const SETTINGS: u8 = 255;
const IDLE: u8 = 254;

/// `data` chooses a table's size and the limits of lists; blocks follow, each behind its length, for one table.
pub fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let size = [4096, 0, 64, 1 << 16][usize::from(tape.byte() % 4)];
    let few = ListLimits { max_size: tape.number(), max_fields: tape.number() };
    let mut ours = Decoder::new(size);
    let mut short = Decoder::new(size);
    let mut exact = Reference::new(size);
    let mut foreign = (size == 4096).then(Foreign::new);
    while !tape.is_at_end() {
        match tape.byte() {
            SETTINGS => {
                let size = tape.number();
                ours.set_max_table_size(size);
                short.set_max_table_size(size);
                exact.set_max_table_size(size);
                foreign = None;
            }
            IDLE => ours.shrink_idle(),
            len => {
                let block = tape.take(len.into());
                let Some(read) = decode(&mut ours, &mut short, &few, &mut exact, block) else {
                    return;
                };
                foreign = foreign.and_then(|foreign| foreign.agrees(block, &read));
            }
        }
    }
}

/// The fields of a block; nothing if it is wrong.
fn decode(
    ours: &mut Decoder,
    short: &mut Decoder,
    few: &ListLimits,
    exact: &mut Reference,
    block: &[u8],
) -> Option<Fields> {
    let limits = ListLimits { max_size: 1 << 24, max_fields: 1 << 12 };
    let mut list = FieldList::new();
    let before = ours.generation();
    let decoded = ours.decode(block, &limits, &mut list);
    let read: Fields =
        list.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
    let mut cut = FieldList::new();
    let shortened = short.decode(block, few, &mut cut);
    match (&decoded, exact.decode(block)) {
        (Ok(outcome), Ok(fields)) => {
            assert_eq!(*outcome, ListOutcome::Complete);
            assert_eq!(read, fields);
        }
        (Err(error), Err(_)) => {
            assert_eq!(shortened, Err(*error), "a limit changes the verdict");
            return None;
        }
        (ours, exact) => panic!("ours: {ours:?}; exact: {exact:?}"),
    }
    for field in &list {
        // What is known of a field does not depend on how it came; only that it is sensitive does.
        let mut pushed = FieldList::new();
        pushed.push(field.name, field.value);
        let again = pushed.get(0).expect("one field");
        assert_eq!(again.token, field.token);
        let sensitive = grpc_proto::hpack::FieldFlags::SENSITIVE;
        assert_eq!(again.flags.union(sensitive), field.flags.union(sensitive));
    }
    // The limited list is the beginning of the whole one, and complete unless it says otherwise.
    let outcome = shortened.expect("a limit changes the verdict");
    assert!(cut.size() <= few.max_size as usize && cut.len() <= few.max_fields as usize);
    assert_eq!(outcome == ListOutcome::Complete, cut.len() == list.len(), "{outcome:?}");
    assert!(cut.iter().zip(&list).all(|(cut, whole)| cut == whole));

    let entries =
        || ours.table_entries().map(|(name, value)| (name.into_owned(), value.into_owned()));
    assert!(entries().eq(exact.entries().cloned()), "the tables differ");
    assert!(short.table_entries().eq(ours.table_entries()), "a limit changes the table");
    let size: usize = entries().map(|(name, value)| name.len() + value.len() + 32).sum();
    assert_eq!((size, entries().count()), (ours.table_size(), ours.table_len()));
    if ours.generation() == before {
        let mut again = FieldList::new();
        assert_eq!(ours.decode(block, &limits, &mut again), decoded);
        assert!(again.same_bytes(&list), "the same block, another list");
        assert_eq!(ours.generation(), before);
    }
    Some(read)
}

/// Two decoders of others.
struct Foreign {
    httlib: httlib_hpack::Decoder<'static>,
    loona: loona_hpack::Decoder<'static>,
}

impl Foreign {
    fn new() -> Self {
        let httlib = httlib_hpack::Decoder::with_dynamic_size(4096);
        Foreign { httlib, loona: loona_hpack::Decoder::new() }
    }

    /// Compares our fields of a block with theirs; nothing if one of them has lost its state.
    fn agrees(mut self, block: &[u8], read: &Fields) -> Option<Self> {
        let mut fields = Vec::new();
        let decoded = lenient(|| self.httlib.decode(&mut block.to_vec(), &mut fields).ok());
        let httlib: Option<Fields> =
            decoded.map(|_| fields.into_iter().map(|(name, value, _)| (name, value)).collect());
        let loona: Option<Fields> = lenient(|| self.loona.decode(block).ok());
        match (httlib, loona) {
            (Some(one), Some(two)) => {
                assert!(*read == one || *read == two, "{read:?}");
                (one == two).then_some(self)
            }
            _ => None,
        }
    }
}

thread_local! {
    static FOREIGN: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder that is not ours. Both panic on some blocks, which must not look like a panic of ours:
/// libFuzzer ends the process at the first that its hook hears of.
fn lenient<T>(decode: impl FnOnce() -> Option<T>) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |panic| {
            if !FOREIGN.get() {
                hook(panic);
            }
        }));
    });
    FOREIGN.set(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    FOREIGN.set(false);
    decoded.ok().flatten()
}
