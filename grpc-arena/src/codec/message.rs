//! Messages within messages, and the outermost one.

use alloc::vec::Vec;
use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;

use super::kind::other_text;
use super::{Context, Cursor, MessageInfo, Writer, delimited_len, scan};
use crate::{Arena, DecodeError, DecodeLimits, DecodeRule, SizeCache};

/// What a message type does for the codec; [`Schema`](crate::Schema) and [`Encode`](crate::Encode) rest on it.
pub trait Message<'a>: Copy + fmt::Debug + PartialEq + 'a {
    /// The message without a field set.
    const EMPTY: Self;

    /// Whether [`size`](Self::size) leaves anything in its cache. `false` is for messages without messages within, maps of
    /// messages and packed lists, and spares them its upkeep.
    const USES_CACHE: bool = true;

    /// The type's name and fields, for errors.
    fn info() -> &'static MessageInfo;

    /// Reads fields from `cursor` into `self`: all of it, or up to the end-group tag `group` if that is not 0.
    /// Returns what is left, which is nothing after a failure (noted in `cx`).
    fn merge(&mut self, cursor: Cursor<'a>, cx: &mut Context<'a>, group: u32) -> Cursor<'a>;

    /// Sums up the sizes of the fields, leaving those of nested messages in `cache`.
    fn size(&self, cache: &mut SizeCache) -> usize;

    /// Writes the fields, taking the sizes of nested messages from `cache` in the same order.
    fn write<'w>(&self, cache: &mut SizeCache, writer: Writer<'w>) -> Writer<'w>;

    /// The name of the first `required` field that is missing here or within, behind those of the fields around it.
    ///
    /// # Errors
    /// With the field's path, and the offset 0.
    fn check_required(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// Where encoded bytes are appended: `alloc`'s vector, by a name that generated code finds in any crate.
pub type Buffer = Vec<u8>;

/// Whether `tag` ends the loop over a message's fields: 0, or that of an end-group tag.
#[inline(always)]
pub const fn ends(tag: u32) -> bool {
    tag == 0 || tag & 7 == scan::END_GROUP
}

/// The error for a `required` field that is missing.
#[cold]
pub fn missing(name: &'static str) -> DecodeError {
    DecodeError::new(DecodeRule::MissingRequired, 0).within(name)
}

/// Decodes one message from all of `bytes`: what generated implementations of [`Schema`](crate::Schema) call.
///
/// # Errors
/// Names the broken rule, the path of field names, and the offset.
#[inline(always)]
pub fn decode<'a, M: Message<'a>>(
    bytes: &'a [u8],
    arena: &'a Arena,
    limits: &DecodeLimits,
) -> Result<M, DecodeError> {
    // Built where it is returned, as a message may be large; that takes a function as plain as this.
    let mut result = MaybeUninit::uninit();
    decode_into(&mut result, bytes, arena, limits);
    // SAFETY: just written; a panic of foreign code would not come here.
    unsafe { result.assume_init() }
}

/// Decodes into a message that is empty, or puts an error in its place.
#[inline(never)]
fn decode_into<'a, M: Message<'a>>(
    place: &mut MaybeUninit<Result<M, DecodeError>>,
    bytes: &'a [u8],
    arena: &'a Arena,
    limits: &DecodeLimits,
) {
    let result = place.write(Ok(M::EMPTY));
    let Ok(message) = result else { return };
    let mut cx = Context::new(bytes, arena, limits);
    let narrowed = arena.narrow_within(limits.arena_bytes, bytes.len());
    message.merge(Cursor::new(bytes), &mut cx, 0);
    drop(narrowed);
    let checked = match cx.finish() {
        Ok(()) => message.check_required().map_err(|error| error.within(M::info().name())),
        Err(error) => Err(locate(error, M::info(), bytes)),
    };
    if let Err(error) = checked {
        *result = Err(error);
    }
}

#[cold]
#[inline(never)]
fn locate(mut error: DecodeError, info: &'static MessageInfo, bytes: &[u8]) -> DecodeError {
    for name in info.path_to(bytes, error.offset()).into_iter().rev() {
        error = error.within(name);
    }
    error
}

/// The size of a message: what generated implementations of [`Encode`](crate::Encode) call.
#[inline]
pub fn encoded_len<'a, M: Message<'a>>(message: &M, cache: &mut SizeCache) -> usize {
    if M::USES_CACHE {
        cache.clear();
    }
    let size = message.size(cache);
    cache.set_whole(size);
    size
}

/// Appends a message to `out`: what generated implementations of [`Encode`](crate::Encode) call.
#[inline]
pub fn encode<'a, M: Message<'a>>(message: &M, cache: &mut SizeCache, out: &mut Vec<u8>) {
    cache.rewind();
    let size = cache.whole();
    out.reserve(size);
    let start = Writer::new(out.spare_capacity_mut());
    let written = message.write(cache, start).written_since(start);
    debug_assert_eq!(
        written, size,
        "encode must follow encoded_len of the same message with the same cache"
    );
    // SAFETY: the writer has initialised so many bytes of the spare capacity. `write` is foreign code, but has `out` only
    // through the writer, and returns a later state of that one, as it is generic over its lifetime.
    unsafe { out.set_len(out.len() + written) };
}

/// Memory for a message, holding `from` to begin with.
#[inline(always)]
fn place<'a, M: Message<'a>>(cx: &Context<'a>, from: Option<&'a M>) -> Option<&'a mut M> {
    let place = cx.arena.take(Layout::new::<M>()).ok()?.cast::<M>();
    // SAFETY: fresh memory of the arena for one `M`, which lives for 'a; written before it is referred to, and before any
    // foreign code runs, as `M` is `Copy`.
    unsafe {
        match from {
            None => place.write(M::EMPTY),
            Some(from) => place.write(*from),
        }
        Some(&mut *place.as_ptr())
    }
}

/// Reads a submessage with a length in front, merging it with what is there.
#[inline(always)]
pub fn message<'a, M: Message<'a>>(
    cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    to: &mut Option<&'a M>,
) -> Cursor<'a> {
    // SAFETY: what is returned is the cursor behind the length and what it delimits, or ended.
    unsafe { cursor.on(read_message(cursor, cx, to)) }
}

#[inline(never)]
fn read_message<'a, M: Message<'a>>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    to: &mut Option<&'a M>,
) -> Cursor<'a> {
    let start = cursor;
    let inner = cursor.delimited(cx);
    let Some(message) = place(cx, *to) else { return cx.full(start) };
    if !cx.enter(start) {
        return cursor.ended();
    }
    message.merge(inner, cx, 0);
    cx.leave();
    *to = Some(message);
    if cx.failed() { cursor.ended() } else { cursor }
}

/// Reads a string.
#[inline(always)]
pub fn text<'a>(cursor: Cursor<'a>, cx: &mut Context<'a>, to: &mut &'a str) -> Cursor<'a> {
    // SAFETY: what is returned is the cursor behind the string, or ended.
    unsafe { cursor.on(read_text(cursor, cx, to)) }
}

#[inline(never)]
fn read_text<'a>(mut cursor: Cursor<'a>, cx: &mut Context<'a>, to: &mut &'a str) -> Cursor<'a> {
    // The common case calls nothing, and so saves no registers.
    match cursor.short_ascii(cx) {
        Some(text) => {
            *to = text;
            cursor
        }
        None => other_text(cursor, cx, to),
    }
}

/// Reads a string that may be absent.
#[inline(always)]
pub fn optional_text<'a>(
    cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    to: &mut Option<&'a str>,
) -> Cursor<'a> {
    // SAFETY: what is returned is the cursor behind the string, or ended.
    unsafe { cursor.on(read_optional_text(cursor, cx, to)) }
}

#[inline(never)]
fn read_optional_text<'a>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    to: &mut Option<&'a str>,
) -> Cursor<'a> {
    match cursor.short_ascii(cx) {
        Some(text) => {
            *to = Some(text);
            cursor
        }
        None => other_text(cursor, cx, to.insert("")),
    }
}

/// Reads a group up to its end `tag`, merging it with what is there.
#[inline(never)]
pub fn group<'a, M: Message<'a>>(
    cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    tag: u32,
    to: &mut Option<&'a M>,
) -> Cursor<'a> {
    let Some(message) = place(cx, *to) else { return cx.full(cursor) };
    if !cx.enter(cursor) {
        return cursor.ended();
    }
    let cursor = message.merge(cursor, cx, tag);
    cx.leave();
    *to = Some(message);
    if cx.failed() { cursor.ended() } else { cursor }
}

/// The size of a submessage with its length and a tag of `tag_len` bytes.
#[inline]
pub fn message_len<'a, M: Message<'a>>(
    tag_len: usize,
    message: &M,
    cache: &mut SizeCache,
) -> usize {
    // The order is that in which messages are entered, so one with none within may also be remembered when it is left.
    let size = if M::USES_CACHE {
        let place = cache.reserve();
        let size = message.size(cache);
        cache.set(place, size);
        size
    } else {
        let size = message.size(cache);
        cache.push(size);
        size
    };
    delimited_len(tag_len, size)
}

/// Writes a submessage behind a tag and its length.
#[inline(always)]
pub fn write_message<'a, 'w, M: Message<'a>>(
    tag: u32,
    message: &M,
    cache: &mut SizeCache,
    writer: Writer<'w>,
) -> Writer<'w> {
    writer.on(put_message(tag, message, cache, writer))
}

/// Out of line, as two messages in one function want more registers than there are.
#[inline(never)]
fn put_message<'a, 'w, M: Message<'a>>(
    tag: u32,
    message: &M,
    cache: &mut SizeCache,
    writer: Writer<'w>,
) -> Writer<'w> {
    let size = cache.next_size();
    message.write(cache, writer.varint_field(tag, size as u64))
}

/// The size of a group with both its tags of `tag_len` bytes.
#[inline]
pub fn group_len<'a, M: Message<'a>>(tag_len: usize, message: &M, cache: &mut SizeCache) -> usize {
    2 * tag_len + message.size(cache)
}

/// Writes a group between its start `tag` and its end tag.
#[inline]
pub fn write_group<'a, 'w, M: Message<'a>>(
    tag: u32,
    message: &M,
    cache: &mut SizeCache,
    writer: Writer<'w>,
) -> Writer<'w> {
    message.write(cache, writer.tag(tag)).tag(tag + 1)
}
