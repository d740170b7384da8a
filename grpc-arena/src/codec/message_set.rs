//! Items of a MessageSet: the form that extensions take where the extended message has `message_set_wire_format`.
//!
//! ```text
//! repeated group Item = 1 { required uint32 type_id = 2; required bytes message = 3; }
//!
//!   0b | 10 number | 1a length message | 0c
//! ```

use super::scan::{DELIMITED, END_GROUP, START_GROUP, VARINT};
use super::{Context, Cursor, Frame, Message, UnknownFields, Writer};
use crate::SizeCache;

const ITEM: u32 = 1 << 3 | START_GROUP;
const ITEM_END: u32 = 1 << 3 | END_GROUP;
const TYPE_ID: u32 = 2 << 3 | VARINT;
const MESSAGE: u32 = 3 << 3 | DELIMITED;

/// Reads an Item of a MessageSet whose start-group tag lies between `start` and `cursor`. When its `type_id` is
/// `number`, its message is merged with what is there; any other Item is kept as the unknown field that it is.
///
/// The first `type_id` and the first `message` count, whichever comes first; what else an Item holds is skipped. One
/// that lacks either of them is no extension's. The group is a level of depth, and so is the message.
#[inline(never)]
pub fn message_set_item<'a, M: Message<'a>>(
    start: Cursor<'a>,
    cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    number: u32,
    to: &mut Option<&'a M>,
    unknown: &mut UnknownFields<'a>,
    frame: &mut Frame<'a>,
) -> Cursor<'a> {
    if !cx.enter(cursor) {
        return cursor.ended();
    }
    let (end, content) = content(cursor, cx);
    if let Some((type_id, message)) = content
        && type_id == number
    {
        super::message(message, cx, to);
        cx.leave();
        return if cx.failed() { end.ended() } else { end };
    }
    cx.leave();
    cx.unknown(start, cursor, ITEM, unknown, frame)
}

/// What is behind an Item, and its `type_id` and where the length of its `message` lies, if it has both.
fn content<'a>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
) -> (Cursor<'a>, Option<(u32, Cursor<'a>)>) {
    let (mut type_id, mut message) = (None, None);
    loop {
        let start = cursor;
        let tag = cursor.tag(cx);
        match tag {
            // As any uint32: of a longer varint the lower half counts.
            TYPE_ID if type_id.is_none() => type_id = Some(cursor.varint(cx) as u32),
            MESSAGE if message.is_none() => {
                message = Some(cursor);
                cursor.delimited(cx);
            }
            _ if super::ends(tag) => {
                let (mut none, mut frame) = (UnknownFields::EMPTY, Frame::new());
                let end = cx.end(start, cursor, tag, ITEM_END, &mut none, &mut frame);
                return (end, if cx.failed() { None } else { type_id.zip(message) });
            }
            _ => cursor = cx.skip(start, cursor, tag),
        }
    }
}

/// The size of a message as an Item of a MessageSet.
#[inline]
pub fn message_set_item_len<'a, M: Message<'a>>(
    number: u32,
    message: &M,
    cache: &mut SizeCache,
) -> usize {
    // Both tags of the group and that of the `type_id` take a byte, and so does that of the message.
    3 + super::varint_len(u64::from(number)) + super::message_len(1, message, cache)
}

/// Writes a message as an Item of a MessageSet.
#[inline]
pub fn write_message_set_item<'a, 'w, M: Message<'a>>(
    number: u32,
    message: &M,
    cache: &mut SizeCache,
    writer: Writer<'w>,
) -> Writer<'w> {
    let writer = writer.tag(ITEM).varint_field(TYPE_ID, u64::from(number));
    super::write_message(MESSAGE, message, cache, writer).tag(ITEM_END)
}
