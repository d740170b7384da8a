//! What generated messages are made of: reading and writing the wire format, field by field.
//!
//! Generated code calls these; a message written by hand can too (`docs/messages.md` shows one). All of it is safe to
//! call with anything: what a caller gets wrong costs values, never memory safety.
//!
//! **Reading.** A [`Cursor`] is the input that is left. It is two pointers wide, and functions take it and return it
//! by value, so that the position stays in registers through the loop over a message's fields. A failure is noted in
//! the [`Context`] and empties the cursor, which ends every loop above it: no result is checked per field.
//!
//! **Writing.** A first pass sums up sizes, see [`SizeCache`](crate::SizeCache); the second writes forwards through a
//! [`Writer`] into memory that has been reserved.

mod context;
mod cursor;
mod extension;
mod frame;
mod info;
mod kind;
mod lists;
mod map;
mod message;
mod scan;
mod unknown;
mod utf8;
mod writer;

pub use context::Context;
pub use cursor::Cursor;
pub use extension::{encode_in, extend, extension};
pub use frame::Frame;
pub use info::{FieldInfo, MessageInfo};
pub use kind::{
    Blob, Bool, Closed, ClosedEnum, Double, Fixed32, Fixed64, Float, Int32, Int64, Kind, Leaf, Msg,
    Open, OpenEnum, Packable, Sfixed32, Sfixed64, Sint32, Sint64, Text, Uint32, Uint64,
};
pub use lists::{
    closed, groups, groups_len, messages, messages_len, packed, packed_len, repeated, repeated_len,
    write_groups, write_messages, write_packed, write_repeated,
};
pub use map::{Map, MapBuilder, MapKey, map, map_len, write_map};
pub use message::{
    Buffer, Message, decode, encode, encoded_len, ends, group, group_len, message, message_len,
    missing, optional_text, text, write_group, write_message,
};
pub use unknown::UnknownFields;
pub use writer::{Writer, delimited_len, tag_len, varint_len};
