//! The field types, as types: how each is read, measured and written.

use core::marker::PhantomData;

use super::{
    Context, Cursor, Message, Writer, delimited_len, scan, utf8, varint_field_len, varint_len,
};
use crate::{DecodeRule, SizeCache};

/// A field type whose values need nothing from the arena.
pub trait Leaf<'a> {
    /// The Rust type of a value.
    type Value: Copy;
    /// The default of an entry of a map that lacks it.
    const ZERO: Self::Value;
    /// The wire type.
    const WIRE: u32;
    /// Reads a value behind its tag.
    fn read(cursor: &mut Cursor<'a>, cx: &mut Context<'a>) -> Self::Value;
    /// The size of a value without its tag.
    fn size(value: Self::Value) -> usize;
    /// The size of a value behind a tag of `tag_len` bytes.
    #[inline(always)]
    fn field_len(tag_len: usize, value: Self::Value) -> usize {
        tag_len + Self::size(value)
    }
    /// Writes a value behind a tag.
    fn put(tag: u32, value: Self::Value, writer: Writer<'_>) -> Writer<'_>;
}

/// A leaf whose lists may be packed.
pub trait Packable<'a>: Leaf<'a> {
    /// The size of each element, when all have the same.
    const SIZE: Option<usize>;
    /// Writes an element of a packed list.
    fn write_element(value: Self::Value, writer: Writer<'_>) -> Writer<'_>;
}

/// A field type: a leaf or a message.
pub trait Kind<'a> {
    /// The Rust type of a value.
    type Value: Copy;
    /// The default of an entry of a map that lacks it.
    const ZERO: Self::Value;
    /// The wire type.
    const WIRE: u32;
    /// Whether reading a value takes memory from the arena.
    const ALLOCATES: bool;
    /// Reads a value behind its tag, merging it into what is there if it is a message.
    fn read_into(cursor: Cursor<'a>, cx: &mut Context<'a>, to: &mut Self::Value) -> Cursor<'a>;
    /// The size of a value with the length in front of it, if it has one, but without its tag.
    fn len(value: &Self::Value, cache: &mut SizeCache) -> usize;
    /// Writes a value behind a tag.
    fn write<'w>(
        tag: u32,
        value: &Self::Value,
        cache: &mut SizeCache,
        writer: Writer<'w>,
    ) -> Writer<'w>;
}

impl<'a, L: Leaf<'a>> Kind<'a> for L {
    type Value = L::Value;
    const ZERO: L::Value = L::ZERO;
    const WIRE: u32 = L::WIRE;
    const ALLOCATES: bool = false;

    #[inline(always)]
    fn read_into(mut cursor: Cursor<'a>, cx: &mut Context<'a>, to: &mut L::Value) -> Cursor<'a> {
        *to = L::read(&mut cursor, cx);
        cursor
    }

    #[inline(always)]
    fn len(value: &L::Value, _: &mut SizeCache) -> usize {
        L::size(*value)
    }

    #[inline(always)]
    fn write<'w>(tag: u32, value: &L::Value, _: &mut SizeCache, writer: Writer<'w>) -> Writer<'w> {
        L::put(tag, *value, writer)
    }
}

/// Messages with a length in front, lying in a map's entries.
#[derive(Debug)]
pub struct Msg<M>(PhantomData<M>);

impl<'a, M: Message<'a>> Kind<'a> for Msg<M> {
    type Value = M;
    const ZERO: M = M::EMPTY;
    const WIRE: u32 = scan::DELIMITED;
    const ALLOCATES: bool = true;

    fn read_into(mut cursor: Cursor<'a>, cx: &mut Context<'a>, to: &mut M) -> Cursor<'a> {
        let start = cursor;
        let inner = cursor.delimited(cx);
        if !cx.enter(start) {
            return cursor.ended();
        }
        to.merge(inner, cx, 0);
        cx.leave();
        if cx.failed() { cursor.ended() } else { cursor }
    }

    fn len(value: &M, cache: &mut SizeCache) -> usize {
        super::message_len(0, value, cache)
    }

    fn write<'w>(tag: u32, value: &M, cache: &mut SizeCache, writer: Writer<'w>) -> Writer<'w> {
        super::write_message(tag, value, cache, writer)
    }
}

/// The leaves that are varints.
macro_rules! varint {
    ($($(#[$doc:meta])* $name:ident: $value:ty, $zero:expr, $read:expr, $write:expr, $size:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl<'a> Leaf<'a> for $name {
            type Value = $value;
            const ZERO: $value = $zero;
            const WIRE: u32 = scan::VARINT;

            #[inline(always)]
            fn read(cursor: &mut Cursor<'a>, cx: &mut Context<'a>) -> $value {
                let read: fn(u64) -> $value = $read;
                read(cursor.varint(cx))
            }

            #[inline(always)]
            fn size(value: $value) -> usize {
                let write: fn($value) -> u64 = $write;
                varint_len(write(value))
            }

            #[inline(always)]
            fn field_len(tag_len: usize, value: $value) -> usize {
                let write: fn($value) -> u64 = $write;
                varint_field_len(tag_len, write(value))
            }

            #[inline(always)]
            fn put(tag: u32, value: $value, writer: Writer<'_>) -> Writer<'_> {
                let write: fn($value) -> u64 = $write;
                writer.varint_field(tag, write(value))
            }
        }

        impl<'a> Packable<'a> for $name {
            const SIZE: Option<usize> = $size;

            #[inline(always)]
            fn write_element(value: $value, writer: Writer<'_>) -> Writer<'_> {
                let write: fn($value) -> u64 = $write;
                writer.varint(write(value))
            }
        }
    )*};
}

varint! {
    /// `int32`: negative numbers take ten bytes, as if they had 64 bits.
    Int32: i32, 0, |raw| raw as i32, |value| i64::from(value) as u64, None;
    /// `int64`.
    Int64: i64, 0, |raw| raw as i64, |value| value as u64, None;
    /// `uint32`.
    Uint32: u32, 0, |raw| raw as u32, u64::from, None;
    /// `uint64`.
    Uint64: u64, 0, |raw| raw, |value| value, None;
    /// `sint32`: the sign in the lowest bit.
    Sint32: i32, 0, |raw| ((raw as u32 >> 1) as i32) ^ -((raw as u32 & 1) as i32),
        |value| u64::from(((value << 1) ^ (value >> 31)) as u32), None;
    /// `sint64`: the sign in the lowest bit.
    Sint64: i64, 0, |raw| ((raw >> 1) as i64) ^ -((raw & 1) as i64),
        |value| ((value << 1) ^ (value >> 63)) as u64, None;
    /// `bool`: true unless 0.
    Bool: bool, false, |raw| raw != 0, u64::from, Some(1);
}

/// The leaves of fixed size.
macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident: $value:ty, $wire:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl<'a> Leaf<'a> for $name {
            type Value = $value;
            const ZERO: $value = 0 as $value;
            const WIRE: u32 = $wire;

            #[inline(always)]
            fn read(cursor: &mut Cursor<'a>, cx: &mut Context<'a>) -> $value {
                <$value>::from_le_bytes(cursor.fixed(cx))
            }

            #[inline(always)]
            fn size(_: $value) -> usize {
                size_of::<$value>()
            }

            #[inline(always)]
            fn put(tag: u32, value: $value, writer: Writer<'_>) -> Writer<'_> {
                writer.fixed_field(tag, value.to_le_bytes())
            }
        }

        impl<'a> Packable<'a> for $name {
            const SIZE: Option<usize> = Some(size_of::<$value>());

            #[inline(always)]
            fn write_element(value: $value, writer: Writer<'_>) -> Writer<'_> {
                writer.bytes(&value.to_le_bytes())
            }
        }
    )*};
}

fixed! {
    /// `fixed32`.
    Fixed32: u32, scan::FIXED32;
    /// `fixed64`.
    Fixed64: u64, scan::FIXED64;
    /// `sfixed32`.
    Sfixed32: i32, scan::FIXED32;
    /// `sfixed64`.
    Sfixed64: i64, scan::FIXED64;
    /// `float`.
    Float: f32, scan::FIXED32;
    /// `double`.
    Double: f64, scan::FIXED64;
}

/// `string`, checked to be UTF-8.
#[derive(Debug)]
pub struct Text;

impl<'a> Leaf<'a> for Text {
    type Value = &'a str;
    const ZERO: &'a str = "";
    const WIRE: u32 = scan::DELIMITED;

    #[inline(always)]
    fn read(cursor: &mut Cursor<'a>, cx: &mut Context<'a>) -> &'a str {
        // The common case calls nothing, and so saves no registers.
        if let Some(text) = cursor.short_ascii(cx) {
            return text;
        }
        let mut text = "";
        *cursor = other_text(*cursor, cx, &mut text);
        text
    }

    #[inline(always)]
    fn size(value: &'a str) -> usize {
        delimited_len(0, value.len())
    }

    #[inline(always)]
    fn field_len(tag_len: usize, value: &'a str) -> usize {
        delimited_len(tag_len, value.len())
    }

    #[inline(always)]
    fn put<'w>(tag: u32, value: &'a str, writer: Writer<'w>) -> Writer<'w> {
        writer.bytes_field(tag, value.as_bytes())
    }
}

/// A string that is long, not ASCII, or broken.
#[inline(never)]
pub(super) fn other_text<'a>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    to: &mut &'a str,
) -> Cursor<'a> {
    let bytes = cursor.delimited(cx);
    if !utf8::is_utf8(bytes.rest()) {
        cx.fail(DecodeRule::InvalidUtf8, bytes);
        return cursor.ended();
    }
    // SAFETY: just checked.
    *to = unsafe { core::str::from_utf8_unchecked(bytes.rest()) };
    cursor
}

/// `bytes`.
#[derive(Debug)]
pub struct Blob;

impl<'a> Leaf<'a> for Blob {
    type Value = &'a [u8];
    const ZERO: &'a [u8] = &[];
    const WIRE: u32 = scan::DELIMITED;

    #[inline(always)]
    fn read(cursor: &mut Cursor<'a>, cx: &mut Context<'a>) -> &'a [u8] {
        cursor.delimited(cx).rest()
    }

    #[inline(always)]
    fn size(value: &'a [u8]) -> usize {
        delimited_len(0, value.len())
    }

    #[inline(always)]
    fn field_len(tag_len: usize, value: &'a [u8]) -> usize {
        delimited_len(tag_len, value.len())
    }

    #[inline(always)]
    fn put<'w>(tag: u32, value: &'a [u8], writer: Writer<'w>) -> Writer<'w> {
        writer.bytes_field(tag, value)
    }
}

/// An enum that holds any number, named or not.
pub trait OpenEnum: Copy {
    /// The default value.
    const DEFAULT: Self;
    /// The value with this number.
    fn from_number(number: i32) -> Self;
    /// The number of this value.
    fn number(self) -> i32;
}

/// An enum that holds named values only.
pub trait ClosedEnum: Copy {
    /// The default value.
    const DEFAULT: Self;
    /// The value with this number, if one is named.
    fn from_number(number: i32) -> Option<Self>;
    /// The number of this value.
    fn number(self) -> i32;
}

/// An open enum.
#[derive(Debug)]
pub struct Open<E>(PhantomData<E>);

impl<'a, E: OpenEnum> Leaf<'a> for Open<E> {
    type Value = E;
    const ZERO: E = E::DEFAULT;
    const WIRE: u32 = scan::VARINT;

    #[inline(always)]
    fn read(cursor: &mut Cursor<'a>, cx: &mut Context<'a>) -> E {
        E::from_number(cursor.varint(cx) as i32)
    }

    #[inline(always)]
    fn size(value: E) -> usize {
        Int32::size(value.number())
    }

    #[inline(always)]
    fn field_len(tag_len: usize, value: E) -> usize {
        Int32::field_len(tag_len, value.number())
    }

    #[inline(always)]
    fn put(tag: u32, value: E, writer: Writer<'_>) -> Writer<'_> {
        Int32::put(tag, value.number(), writer)
    }
}

impl<'a, E: OpenEnum> Packable<'a> for Open<E> {
    const SIZE: Option<usize> = None;

    #[inline(always)]
    fn write_element(value: E, writer: Writer<'_>) -> Writer<'_> {
        Int32::write_element(value.number(), writer)
    }
}

/// A closed enum in the entries of a map, and for writing. A number without a name makes the whole entry unknown.
#[derive(Debug)]
pub struct Closed<E>(PhantomData<E>);

impl<'a, E: ClosedEnum> Leaf<'a> for Closed<E> {
    type Value = E;
    const ZERO: E = E::DEFAULT;
    const WIRE: u32 = scan::VARINT;

    #[inline(always)]
    fn read(cursor: &mut Cursor<'a>, cx: &mut Context<'a>) -> E {
        E::from_number(cursor.varint(cx) as i32).unwrap_or_else(|| {
            cx.unnamed = true;
            E::DEFAULT
        })
    }

    #[inline(always)]
    fn size(value: E) -> usize {
        Int32::size(value.number())
    }

    #[inline(always)]
    fn field_len(tag_len: usize, value: E) -> usize {
        Int32::field_len(tag_len, value.number())
    }

    #[inline(always)]
    fn put(tag: u32, value: E, writer: Writer<'_>) -> Writer<'_> {
        Int32::put(tag, value.number(), writer)
    }
}

impl<'a, E: ClosedEnum> Packable<'a> for Closed<E> {
    const SIZE: Option<usize> = None;

    #[inline(always)]
    fn write_element(value: E, writer: Writer<'_>) -> Writer<'_> {
        Int32::write_element(value.number(), writer)
    }
}
