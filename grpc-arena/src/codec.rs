//! What generated messages are made of: reading and writing the wire format, field by field.
//!
//! Generated code calls these; a message written by hand can too, see below. All of it is safe to call with anything:
//! what a caller gets wrong costs values, never memory safety.
//!
//! **Reading.** A [`Cursor`] is the input that is left. It is two pointers wide, and functions take it and return it
//! by value, so that the position stays in registers through the loop over a message's fields. A failure is noted in
//! the [`Context`] and empties the cursor, which ends every loop above it: no result is checked per field.
//!
//! **Writing.** A first pass sums up sizes, see [`SizeCache`](crate::SizeCache); the second writes forwards through a
//! [`Writer`] into memory that has been reserved.
//!
//! # By hand
//! ```
//! use grpc_arena::codec::{
//!     self, Context, Cursor, FieldInfo, Frame, Leaf, Message, MessageInfo, UnknownFields, Writer,
//! };
//! use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Schema, SizeCache};
//!
//! /// `message Person { string name = 1; Person boss = 2; }`
//! #[derive(Clone, Copy, Debug, PartialEq)]
//! struct Person<'a> {
//!     name: &'a str,
//!     boss: Option<&'a Person<'a>>,
//!     unknown: UnknownFields<'a>,
//! }
//!
//! impl<'a> Message<'a> for Person<'a> {
//!     const EMPTY: Self = Self { name: "", boss: None, unknown: UnknownFields::EMPTY };
//!
//!     fn info() -> &'static MessageInfo {
//!         static INFO: MessageInfo = MessageInfo::new(
//!             "Person",
//!             &[
//!                 FieldInfo::scalar(1, "name"),
//!                 FieldInfo::message(2, "boss", <Person<'static> as Message<'static>>::info),
//!             ],
//!         );
//!         &INFO
//!     }
//!
//!     fn merge(&mut self, mut cursor: Cursor<'a>, cx: &mut Context<'a>, group: u32) -> Cursor<'a> {
//!         let mut frame = Frame::new();
//!         loop {
//!             let start = cursor;
//!             let tag = cursor.tag(cx);
//!             cursor = match tag {
//!                 10 => codec::text(cursor, cx, &mut self.name),
//!                 18 => codec::message(cursor, cx, &mut self.boss),
//!                 _ if codec::ends(tag) => {
//!                     return cx.end(start, cursor, tag, group, &mut self.unknown, &mut frame);
//!                 }
//!                 _ => cx.unknown(start, cursor, tag, &mut self.unknown, &mut frame),
//!             };
//!         }
//!     }
//!
//!     fn size(&self, cache: &mut SizeCache) -> usize {
//!         let name = if self.name.is_empty() { 0 } else { 1 + codec::Text::size(self.name) };
//!         let boss = self.boss.map_or(0, |boss| codec::message_len(1, boss, cache));
//!         name + boss + self.unknown.encoded_len()
//!     }
//!
//!     fn write<'w>(&self, cache: &mut SizeCache, mut writer: Writer<'w>) -> Writer<'w> {
//!         if !self.name.is_empty() {
//!             writer = codec::Text::put(10, self.name, writer);
//!         }
//!         if let Some(boss) = self.boss {
//!             writer = codec::write_message(18, boss, cache, writer);
//!         }
//!         writer.unknown(self.unknown)
//!     }
//! }
//!
//! impl Schema for Person<'static> {
//!     type View<'a> = Person<'a>;
//!
//!     fn decode<'a>(
//!         bytes: &'a [u8],
//!         arena: &'a Arena,
//!         limits: &DecodeLimits,
//!     ) -> Result<Person<'a>, DecodeError> {
//!         codec::decode(bytes, arena, limits)
//!     }
//! }
//!
//! impl Encode for Person<'_> {
//!     fn encoded_len(&self, cache: &mut SizeCache) -> usize {
//!         codec::encoded_len(self, cache)
//!     }
//!
//!     fn encode(&self, cache: &mut SizeCache, out: &mut Vec<u8>) {
//!         codec::encode(self, cache, out);
//!     }
//! }
//!
//! let boss = Person { name: "Ada", ..Person::EMPTY };
//! let person = Person { name: "Bob", boss: Some(&boss), ..Person::EMPTY };
//! let (mut cache, mut bytes) = (SizeCache::new(), Vec::new());
//! assert_eq!(person.encoded_len(&mut cache), 12);
//! person.encode(&mut cache, &mut bytes);
//! assert_eq!(bytes, b"\x0a\x03Bob\x12\x05\x0a\x03Ada");
//!
//! let arena = Arena::new();
//! let limits = DecodeLimits::DEFAULT;
//! assert_eq!(<Person<'static> as Schema>::decode(&bytes, &arena, &limits), Ok(person));
//! let error = <Person<'static> as Schema>::decode(b"\x12\x03\x0a\x01\xff", &arena, &limits);
//! assert_eq!(error.unwrap_err().to_string(), "Person.boss.name: a string is not UTF-8, at byte 4");
//! ```

mod context;
mod cursor;
mod extension;
mod frame;
mod info;
mod kind;
mod lists;
mod map;
mod message;
mod message_set;
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
pub use message_set::{message_set_item, message_set_item_len, write_message_set_item};
pub use unknown::UnknownFields;
pub use writer::{Writer, delimited_len, fixed_len, tag_len, varint_field_len, varint_len};
