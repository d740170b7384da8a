//! Extensions: fields that are declared elsewhere than their message, and so arrive as unknown ones.

use core::alloc::Layout;
use core::mem::MaybeUninit;

use super::{Context, Cursor, Message, UnknownFields, Writer};
use crate::{Arena, ArenaFull, DecodeError, DecodeLimits, SizeCache};

/// Reads an extension out of the fields that its message does not know. `E` is a message of that one field.
///
/// # Errors
/// Names the rule that the field breaks; its offset counts from the start of the first span, through all of them.
pub fn extension<'a, E: Message<'a>>(
    fields: UnknownFields<'a>,
    arena: &'a Arena,
    limits: &DecodeLimits,
) -> Result<E, DecodeError> {
    let mut extension = E::EMPTY;
    let mut cx = Context::new(&[], arena, limits);
    let narrowed = arena.narrow_within(limits.arena_bytes, fields.encoded_len());
    let mut before = 0;
    for span in fields.spans() {
        cx.turn_to(span);
        extension.merge(Cursor::new(span), &mut cx, 0);
        if cx.failed() {
            break;
        }
        before += span.len();
    }
    drop(narrowed);
    cx.finish().map_err(|error| error.behind(before).within(E::info().name()))?;
    extension.check_required().map_err(|error| error.within(E::info().name()))?;
    Ok(extension)
}

/// Appends an extension to the fields that its message does not know, encoded into the arena.
///
/// # Errors
/// When the arena's budget is spent.
pub fn extend<'a, E: Message<'a>>(
    fields: UnknownFields<'a>,
    extension: &E,
    arena: &'a Arena,
) -> Result<UnknownFields<'a>, ArenaFull> {
    let span = encode_in(extension, arena)?;
    let mut list = crate::ArenaVec::new_in(arena);
    list.try_reserve_exact(fields.spans().len() + 1)?;
    list.extend(fields.spans().iter().copied());
    list.push(span);
    Ok(UnknownFields::from_spans(list.into_slice()))
}

/// Encodes a message into the arena.
///
/// # Errors
/// When the arena's budget is spent.
pub fn encode_in<'m, 'a, M: Message<'m>>(
    message: &M,
    arena: &'a Arena,
) -> Result<&'a [u8], ArenaFull> {
    let mut cache = SizeCache::new();
    let size = super::encoded_len(message, &mut cache);
    let place =
        arena.take(Layout::array::<u8>(size).map_err(|_| ArenaFull)?)?.cast::<MaybeUninit<u8>>();
    // SAFETY: fresh memory of the arena for `size` bytes, which need not be initialised; nothing else refers to it, and
    // nothing that foreign code does in `write` can give it back.
    let memory = unsafe { core::slice::from_raw_parts_mut(place.as_ptr(), size) };
    let start = Writer::new(memory);
    cache.rewind();
    let written = message.write(&mut cache, start).written_since(start);
    debug_assert_eq!(written, size, "a message is as large as it says");
    // SAFETY: the writer has initialised so many bytes, which live for 'a and which nothing writes to again.
    Ok(unsafe { core::slice::from_raw_parts(place.cast::<u8>().as_ptr(), written) })
}
