//! The HPACK decoder beside two others: where both of them read a block, ours reads the same fields.

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
        let theirs = httlib.decode(&mut block.to_vec(), &mut fields);
        let httlib: Option<Fields> =
            theirs.ok().map(|_| fields.into_iter().map(|(name, value, _)| (name, value)).collect());
        // It panics on some blocks (which is why it is only an oracle).
        let loona: Option<Fields> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            loona.decode(block).ok()
        }))
        .ok()
        .flatten();
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
