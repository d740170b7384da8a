//! The HPACK decoder beside two others: where both of them read a block, ours reads the same fields.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use grpc_proto::hpack::{Decoder, FieldList, ListLimits, ListOutcome};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// `data` holds blocks, each behind its length, for one table.
pub fn check(data: &[u8]) {
    let mut ours = Decoder::new(4096);
    let mut httlib = httlib_hpack::Decoder::with_dynamic_size(4096);
    let mut loona = loona_hpack::Decoder::new();
    let mut rest = data;
    while let Some((&len, tail)) = rest.split_first() {
        let (block, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        let limits = ListLimits { max_size: 1 << 20, max_fields: 1 << 12 };
        let mut list = FieldList::new();
        let decoded = ours.decode(block, &limits, &mut list);
        let mut fields = Vec::new();
        let theirs = foreign(|| httlib.decode(&mut block.to_vec(), &mut fields).ok());
        let httlib: Option<Fields> =
            theirs.map(|_| fields.into_iter().map(|(name, value, _)| (name, value)).collect());
        let loona: Option<Fields> = foreign(|| loona.decode(block).ok());
        let Ok(ListOutcome::Complete) = decoded else {
            // The others are laxer about padding, updates and sizes; the tables are apart from here on.
            return;
        };
        let read: Fields =
            list.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
        match (httlib, loona) {
            (Some(one), Some(two)) if one == two => assert_eq!(read, one),
            (Some(one), Some(two)) => assert!(read == one || read == two, "{read:?}"),
            _ => return,
        }
    }
}

thread_local! {
    static FOREIGN: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder that is not ours. Both panic on some blocks, which must not look like a panic of ours:
/// libFuzzer ends the process at the first that its hook hears of.
fn foreign<T>(decode: impl FnOnce() -> Option<T>) -> Option<T> {
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
