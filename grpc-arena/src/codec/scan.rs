//! Looking at fields without decoding them: skipping and counting.

use super::Cursor;
use crate::DecodeRule;

/// The wire types, the low three bits of a tag.
pub(crate) const VARINT: u32 = 0;
pub(crate) const FIXED64: u32 = 1;
pub(crate) const DELIMITED: u32 = 2;
pub(crate) const START_GROUP: u32 = 3;
pub(crate) const END_GROUP: u32 = 4;
pub(crate) const FIXED32: u32 = 5;

/// How deep groups are followed where no limit is given: deeper than any message that was decoded under the default
/// limits, and little of the stack.
pub(crate) const ANY_DEPTH: u32 = 1000;

type Skipped<'a> = Result<Cursor<'a>, (DecodeRule, Cursor<'a>)>;

/// Moves past a value whose `tag` has been read; `depth` more groups may open.
pub(crate) fn skip_field(mut cursor: Cursor<'_>, tag: u32, depth: u32) -> Skipped<'_> {
    if tag < 8 {
        return Err((DecodeRule::FieldNumber, cursor));
    }
    match tag & 7 {
        START_GROUP => skip_group(cursor, tag, depth),
        END_GROUP => Err((DecodeRule::EndGroup, cursor)),
        _ => skip_value(&mut cursor, tag).map(|()| cursor).map_err(|rule| (rule, cursor)),
    }
}

/// Moves past the value of a field that is no group.
#[inline]
fn skip_value(cursor: &mut Cursor<'_>, tag: u32) -> Result<(), DecodeRule> {
    let broken = |cursor: &Cursor<'_>| {
        if cursor.len() < 10 && cursor.rest().iter().all(|&byte| byte >= 0x80) {
            DecodeRule::Truncated
        } else {
            DecodeRule::VarintTooLong
        }
    };
    let len = match tag & 7 {
        VARINT => return cursor.peek_varint().map(|_| ()).ok_or_else(|| broken(cursor)),
        FIXED64 => 8,
        FIXED32 => 4,
        DELIMITED => cursor.peek_varint().ok_or_else(|| broken(cursor))?,
        _ => return Err(DecodeRule::WireType),
    };
    if len > cursor.len() as u64 {
        return Err(DecodeRule::Truncated);
    }
    cursor.skip(len as usize);
    Ok(())
}

/// Moves past the group that `start_tag` opened, groups within it included. A loop with a counter, as depth alone
/// matters: tags are checked against the innermost open group through the numbers kept for each level.
fn skip_group(mut cursor: Cursor<'_>, start_tag: u32, depth: u32) -> Skipped<'_> {
    if depth == 0 {
        return Err((DecodeRule::Depth, cursor));
    }
    loop {
        let start = cursor;
        if cursor.is_empty() {
            return Err((DecodeRule::GroupNotClosed, cursor));
        }
        let tag = match cursor.peek_varint().map(u32::try_from) {
            Some(Ok(tag)) if tag >= 8 => tag,
            Some(Ok(_)) => return Err((DecodeRule::FieldNumber, start)),
            Some(Err(_)) => return Err((DecodeRule::VarintTooLong, start)),
            None if start.len() < 10 => return Err((DecodeRule::Truncated, start)),
            None => return Err((DecodeRule::VarintTooLong, start)),
        };
        match tag & 7 {
            END_GROUP if tag == start_tag + 1 => return Ok(cursor),
            END_GROUP => return Err((DecodeRule::EndGroup, start)),
            // As deep as the decoder itself would go, each level a small stack frame.
            START_GROUP => cursor = skip_group(cursor, tag, depth - 1)?,
            _ => skip_value(&mut cursor, tag).map_err(|rule| (rule, cursor))?,
        }
    }
}

/// How many elements follow each other, each but the first behind `tag`, the first's tag having been read. What is
/// broken is counted and left to the decoder to find.
#[inline]
pub(crate) fn count_run(mut cursor: Cursor<'_>, tag: u32) -> usize {
    let mut count = 1;
    while skip_value(&mut cursor, tag).is_ok() && cursor.skip_tag(tag) {
        count += 1;
    }
    count
}
