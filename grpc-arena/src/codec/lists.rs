//! Repeated fields.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::{
    ClosedEnum, Context, Cursor, Frame, Leaf, Message, Packable, UnknownFields, Writer,
    delimited_len, scan,
};
use crate::SizeCache;

/// Reads a run of elements, each but the first behind `tag`, and appends them.
#[inline(always)]
pub fn repeated<'a, L: Leaf<'a>>(
    cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    tag: u32,
    to: &mut &'a [L::Value],
    frame: &mut Frame<'a>,
) -> Cursor<'a>
where
    L::Value: 'a,
{
    cursor.checked(read_repeated::<L>(cursor, cx, tag, to, frame))
}

#[inline(never)]
fn read_repeated<'a, L: Leaf<'a>>(
    cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    tag: u32,
    to: &mut &'a [L::Value],
    frame: &mut Frame<'a>,
) -> Cursor<'a>
where
    L::Value: 'a,
{
    if to.is_empty() {
        // Leaves should take nothing from the arena, so its free end holds the list as it grows. One that does, or gives
        // something back, or panics, finds the window taken: `open`'s room is this list's alone until it is closed.
        let open = cx.arena.open::<L::Value>();
        let mut next = cursor;
        for len in 0..open.room() {
            let value = L::read(&mut next, cx);
            // SAFETY: `len` is less than the room, of which foreign code, in `L::read`, can get nothing.
            unsafe { open.start().add(len).write(value) };
            if !next.skip_tag(tag) {
                // SAFETY: `len + 1` elements were written; one that panicked would have left the list unclosed.
                *to = unsafe { open.close(len + 1) };
                return next;
            }
        }
        // SAFETY: claims no element.
        unsafe { open.close(0) };
    }
    let count = scan::count_run(cursor, tag);
    append(cursor, cx, count, to, frame, |cursor, cx, last| {
        let mut cursor = cursor;
        let value = L::read(&mut cursor, cx);
        if !last {
            cursor.skip_tag(tag);
        }
        (value, cursor)
    })
}

/// Reads a packed list and appends it.
#[inline(always)]
pub fn packed<'a, L: Packable<'a>>(
    cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    to: &mut &'a [L::Value],
    frame: &mut Frame<'a>,
) -> Cursor<'a>
where
    L::Value: 'a,
{
    // SAFETY: what is returned is the cursor behind the length and what it delimits, or ended.
    unsafe { cursor.on(read_packed::<L>(cursor, cx, to, frame)) }
}

#[inline(never)]
fn read_packed<'a, L: Packable<'a>>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    to: &mut &'a [L::Value],
    frame: &mut Frame<'a>,
) -> Cursor<'a>
where
    L::Value: 'a,
{
    let start = cursor;
    let inner = cursor.delimited(cx);
    let fixed = if L::WIRE == scan::VARINT { None } else { L::SIZE };
    if let Some(size) = fixed
        && !inner.len().is_multiple_of(size)
    {
        return cx.fail(crate::DecodeRule::PackedLength, start);
    }
    if to.is_empty() {
        let open = cx.arena.open::<L::Value>();
        // A byte makes one element at most, so that there is no need to count when there is room for so many.
        if open.room() >= fixed.map_or(inner.len(), |size| inner.len() / size) {
            let (mut inner, mut len) = (inner, 0);
            // Each turn takes a byte (or `size` bytes) at least, unless the leaf is broken.
            while !inner.is_empty() && len < open.room() {
                let value = L::read(&mut inner, cx);
                // SAFETY: `len` is less than the room, of which foreign code, in `L::read`, can get nothing.
                unsafe { open.start().add(len).write(value) };
                len += 1;
            }
            // SAFETY: `len` elements were written.
            *to = unsafe { open.close(len) };
            return if cx.failed() { cursor.ended() } else { cursor };
        }
        // SAFETY: claims no element.
        unsafe { open.close(0) };
    }
    // Every varint ends with the one byte that has no continuation bit; what is cut off fails when it is read.
    let ends = || inner.rest().iter().filter(|&&byte| byte < 0x80).count();
    let cut_off = |last: &u8| *last >= 0x80;
    let count = match fixed {
        Some(size) => inner.len() / size,
        None => ends() + usize::from(inner.rest().last().is_some_and(cut_off)),
    };
    append(inner, cx, count, to, frame, |mut inner, cx, _| (L::read(&mut inner, cx), inner));
    if cx.failed() { cursor.ended() } else { cursor }
}

/// Appends `count` elements that `read` takes from the cursor.
#[inline(always)]
fn append<'a, T: Copy + 'a>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    count: usize,
    to: &mut &'a [T],
    frame: &mut Frame<'a>,
    read: impl Fn(Cursor<'a>, &mut Context<'a>, bool) -> (T, Cursor<'a>),
) -> Cursor<'a> {
    let Ok(room) = frame.room(cx.arena, to, count) else { return cx.full(cursor) };
    for i in 0..count {
        let (value, next) = read(cursor, cx, i + 1 == count);
        // SAFETY: `i < count`, which there is room for. The room was taken before `read` ran foreign code, which reaches
        // neither it nor the frame and the list, as these are borrowed here.
        unsafe { room.add(i).write(value) };
        cursor = next;
    }
    // SAFETY: `count` elements were written at `room`.
    unsafe { frame.commit(to, room, count) };
    cursor
}

/// Room for `count` messages behind those that are there: exact for the first run, so that no entry is needed.
#[inline]
fn room_for<'a, M: Message<'a>>(
    cx: &mut Context<'a>,
    count: usize,
    to: &mut &'a [M],
    frame: &mut Frame<'a>,
) -> Option<NonNull<M>> {
    if !to.is_empty() {
        return frame.room(cx.arena, to, count).ok();
    }
    let layout = Layout::array::<M>(count).ok()?;
    Some(cx.arena.take(layout).ok()?.cast())
}

/// Makes `count` messages at `room`, which [`room_for`] returned, part of the list.
///
/// # Safety
/// As for [`Frame::commit`].
#[inline]
unsafe fn commit<'a, M: Message<'a>>(
    room: NonNull<M>,
    count: usize,
    to: &mut &'a [M],
    frame: &mut Frame<'a>,
) {
    if to.is_empty() {
        // SAFETY: `count` initialised messages in memory that lives for 'a and that nothing writes to again.
        *to = unsafe { core::slice::from_raw_parts(room.as_ptr(), count) };
    } else {
        // SAFETY: the caller's word.
        unsafe { frame.commit(to, room, count) };
    }
}

/// Reads a run of messages, each but the first behind `tag`, and appends them.
#[inline(always)]
pub fn messages<'a, M: Message<'a>>(
    cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    tag: u32,
    to: &mut &'a [M],
    frame: &mut Frame<'a>,
) -> Cursor<'a> {
    // SAFETY: what is returned is the cursor behind the last message, or ended.
    unsafe { cursor.on(read_messages(cursor, cx, tag, to, frame)) }
}

#[inline(never)]
fn read_messages<'a, M: Message<'a>>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    tag: u32,
    to: &mut &'a [M],
    frame: &mut Frame<'a>,
) -> Cursor<'a> {
    if !cx.enter(cursor) {
        return cursor.ended();
    }
    let count = scan::count_run(cursor, tag);
    let Some(room) = room_for(cx, count, to, frame) else { return cx.full(cursor) };
    let (mut len, tag_len) = (0, super::tag_len(tag));
    loop {
        let inner = cursor.delimited(cx);
        // SAFETY: `len < count`, which there is room for; written before it is referred to. The room was taken before any
        // `merge` ran, and each has its element for the call alone.
        let element = unsafe {
            let place = room.add(len);
            place.write(M::EMPTY);
            &mut *place.as_ptr()
        };
        element.merge(inner, cx, 0);
        len += 1;
        if cx.failed() {
            return cursor.ended();
        }
        if len == count {
            break;
        }
        // Counting has seen that the tag is there.
        cursor.skip(tag_len);
    }
    cx.leave();
    // SAFETY: `count` messages were written at `room`.
    unsafe { commit(room, count, to, frame) };
    cursor
}

/// Reads a run of groups, each but the first behind its start `tag`, and appends them.
#[inline(never)]
pub fn groups<'a, M: Message<'a>>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    tag: u32,
    to: &mut &'a [M],
    frame: &mut Frame<'a>,
) -> Cursor<'a> {
    if !cx.enter(cursor) {
        return cursor.ended();
    }
    // Counting groups would mean to look through them; so they are gathered at the other end of the arena's chunk,
    // and stay there unless they are elements of groups that do.
    let mut pile = cx.arena.pile::<M>();
    let mut more = true;
    while more && let Some(element) = pile.push(M::EMPTY) {
        cursor = element.merge(cursor, cx, tag + 1);
        if cx.failed() {
            return cursor.ended();
        }
        more = cursor.skip_tag(tag);
    }
    if !more
        && to.is_empty()
        && let Some(list) = pile.keep()
    {
        *to = list;
        cx.leave();
        return cursor;
    }
    let count = pile.len();
    let room = if to.is_empty() { pile.room() } else { frame.room(cx.arena, to, count) };
    let Ok(room) = room else { return cx.full(cursor) };
    // SAFETY: room for all elements, which are part of the list once they are copied; no foreign code runs between.
    unsafe {
        pile.finish(room);
        commit(room, count, to, frame);
    }
    // Where the chunk has no more room they come one by one, and the list doubles.
    while more {
        let Ok(room) = frame.room(cx.arena, to, 1) else { return cx.full(cursor) };
        // SAFETY: room for one; written before it is referred to. `merge` has it for the call alone and reaches neither
        // the frame nor the list, so that the room is still the one behind the list when it is committed.
        let element = unsafe {
            room.write(M::EMPTY);
            &mut *room.as_ptr()
        };
        cursor = element.merge(cursor, cx, tag + 1);
        if cx.failed() {
            return cursor.ended();
        }
        // SAFETY: one message was written at `room`.
        unsafe { frame.commit(to, room, 1) };
        more = cursor.skip_tag(tag);
    }
    cx.leave();
    cursor
}

/// Reads one element or a packed list of a closed enum and appends what has a name; the rest becomes unknown fields.
#[inline(never)]
pub fn closed<'a, E: ClosedEnum + 'a>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    tag: u32,
    to: &mut &'a [E],
    unknown: &mut UnknownFields<'a>,
    frame: &mut Frame<'a>,
) -> Cursor<'a> {
    let packed = tag & 7 == scan::DELIMITED;
    let mut values = if packed { cursor.delimited(cx) } else { cursor };
    // A list may be empty, an element may not.
    while !packed || !values.is_empty() {
        let at = values;
        let number = values.varint(cx) as i32;
        match E::from_number(number) {
            _ if cx.failed() => {}
            Some(value) if frame.push(cx.arena, to, value).is_ok() => {}
            Some(_) => {
                cx.full(at);
            }
            None => {
                cx.unnamed(tag, number, at, unknown, frame);
            }
        }
        if cx.failed() {
            return cursor.ended();
        }
        if !packed {
            return values;
        }
    }
    if cx.failed() { cursor.ended() } else { cursor }
}

/// The size of the elements of a packed list.
#[inline]
fn packed_size<'a, L: Packable<'a>>(list: &[L::Value]) -> usize {
    match L::SIZE {
        Some(size) => size * list.len(),
        None => list.iter().map(|&value| L::size(value)).sum(),
    }
}

/// The size of a packed list with its length and a tag of `tag_len` bytes; 0 when it is empty.
#[inline]
pub fn packed_len<'a, L: Packable<'a>>(
    tag_len: usize,
    list: &[L::Value],
    cache: &mut SizeCache,
) -> usize {
    if list.is_empty() {
        return 0;
    }
    let size = packed_size::<L>(list);
    if L::SIZE.is_none() {
        cache.push(size);
    }
    delimited_len(tag_len, size)
}

/// Writes a packed list behind a tag and its length, unless it is empty.
#[inline(always)]
pub fn write_packed<'a, 'w, L: Packable<'a>>(
    tag: u32,
    list: &[L::Value],
    cache: &mut SizeCache,
    writer: Writer<'w>,
) -> Writer<'w> {
    if list.is_empty() { writer } else { writer.on(put_packed::<L>(tag, list, cache, writer)) }
}

#[inline(never)]
fn put_packed<'a, 'w, L: Packable<'a>>(
    tag: u32,
    list: &[L::Value],
    cache: &mut SizeCache,
    mut writer: Writer<'w>,
) -> Writer<'w> {
    let size = L::SIZE.map_or_else(|| cache.next_size(), |size| size * list.len());
    writer = writer.varint_field(tag, size as u64);
    for &value in list {
        writer = L::write_element(value, writer);
    }
    writer
}

/// The size of a list of messages, each with its length and a tag of `tag_len` bytes.
#[inline]
pub fn messages_len<'a, M: Message<'a>>(
    tag_len: usize,
    list: &[M],
    cache: &mut SizeCache,
) -> usize {
    list.iter().map(|message| super::message_len(tag_len, message, cache)).sum()
}

/// Writes a list of messages, each behind a tag and its length.
#[inline]
pub fn write_messages<'a, 'w, M: Message<'a>>(
    tag: u32,
    list: &[M],
    cache: &mut SizeCache,
    writer: Writer<'w>,
) -> Writer<'w> {
    list.iter().fold(writer, |writer, message| super::write_message(tag, message, cache, writer))
}

/// The size of a list of groups, each with two tags of `tag_len` bytes.
#[inline]
pub fn groups_len<'a, M: Message<'a>>(tag_len: usize, list: &[M], cache: &mut SizeCache) -> usize {
    list.iter().map(|message| super::group_len(tag_len, message, cache)).sum()
}

/// Writes a list of groups, each between its start `tag` and its end tag.
#[inline]
pub fn write_groups<'a, 'w, M: Message<'a>>(
    tag: u32,
    list: &[M],
    cache: &mut SizeCache,
    writer: Writer<'w>,
) -> Writer<'w> {
    list.iter().fold(writer, |writer, message| super::write_group(tag, message, cache, writer))
}

/// The size of a list of leaves, each behind a tag of `tag_len` bytes.
#[inline]
pub fn repeated_len<'a, L: Leaf<'a>>(tag_len: usize, list: &[L::Value]) -> usize {
    list.iter().map(|&value| L::field_len(tag_len, value)).sum()
}

/// Writes a list of leaves, each behind a tag.
#[inline]
pub fn write_repeated<'a, 'w, L: Leaf<'a>>(
    tag: u32,
    list: &[L::Value],
    writer: Writer<'w>,
) -> Writer<'w> {
    list.iter().fold(writer, |writer, &value| L::put(tag, value, writer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arena, DecodeLimits};

    /// Takes nothing of what it reads where `STUCK`, else leaves a cursor of other memory.
    #[derive(Debug)]
    struct Broken<const STUCK: bool>;

    impl<'a, const STUCK: bool> Leaf<'a> for Broken<STUCK> {
        type Value = u64;
        const ZERO: u64 = 0;
        const WIRE: u32 = scan::VARINT;

        fn read(cursor: &mut Cursor<'a>, _: &mut Context<'a>) -> u64 {
            if !STUCK {
                *cursor = Cursor::new(b"elsewhere");
            }
            1
        }

        fn size(_: u64) -> usize {
            1
        }

        fn put(_: u32, _: u64, writer: Writer<'_>) -> Writer<'_> {
            writer
        }
    }

    impl<'a, const STUCK: bool> Packable<'a> for Broken<STUCK> {
        const SIZE: Option<usize> = None;

        fn write_element(_: u64, writer: Writer<'_>) -> Writer<'_> {
            writer
        }
    }

    #[test]
    fn a_leaf_that_takes_nothing_fills_no_more_than_the_room_that_there_is() {
        let arena = Arena::with_capacity(1 << 10);
        let bytes = b"\x02\x00\x00";
        let mut cx = Context::new(bytes, &arena, &DecodeLimits::DEFAULT);
        let mut list: &[u64] = &[];
        packed::<Broken<true>>(Cursor::new(bytes), &mut cx, &mut list, &mut Frame::new());
        assert_eq!(list, [1; 128]);
    }

    #[test]
    fn a_leaf_that_leaves_for_other_memory_ends_the_message() {
        let arena = Arena::with_capacity(1 << 10);
        let bytes = b"\x00\x08\x00";
        let mut cx = Context::new(bytes, &arena, &DecodeLimits::DEFAULT);
        let mut list: &[u64] = &[];
        let cursor = Cursor::new(bytes);
        let left = repeated::<Broken<false>>(cursor, &mut cx, 8, &mut list, &mut Frame::new());
        assert!(left.is_empty());
        assert_eq!(list, [1]);
    }
}
