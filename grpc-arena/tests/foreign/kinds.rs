//! Implementations of this crate's traits that run the hook wherever they are called.

use std::cmp::Ordering;

use grpc_arena::codec::{
    self, Closed, ClosedEnum, Context, Cursor, Frame, Kind, Leaf, Map, MapBuilder, MapKey, Message,
    MessageInfo, Msg, Open, OpenEnum, Packable, Text, Uint32, UnknownFields, Writer,
};
use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Schema, SizeCache};

use crate::hook::{self, At};

/// An open enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) i32);

impl OpenEnum for Number {
    const DEFAULT: Self = Self(0);

    fn from_number(number: i32) -> Self {
        hook::run(At::OpenEnum);
        Self(number)
    }

    fn number(self) -> i32 {
        self.0
    }
}

/// A closed enum that knows every number that three does not divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named(pub(crate) i32);

impl ClosedEnum for Named {
    const DEFAULT: Self = Self(1);

    fn from_number(number: i32) -> Option<Self> {
        hook::run(At::ClosedEnum);
        (number % 3 != 0).then_some(Self(number))
    }

    fn number(self) -> i32 {
        self.0
    }
}

/// A string, whose values are references.
#[derive(Debug)]
pub(crate) struct Word;

impl<'a> Leaf<'a> for Word {
    type Value = &'a str;
    const ZERO: &'a str = "";
    const WIRE: u32 = <Text as Leaf<'static>>::WIRE;

    fn read(cursor: &mut Cursor<'a>, cx: &mut Context<'a>) -> &'a str {
        hook::run(At::Leaf);
        let text = Text::read(cursor, cx);
        hook::run(At::Leaf);
        text
    }

    fn size(value: &'a str) -> usize {
        hook::run(At::Size);
        Text::size(value)
    }

    fn put<'w>(tag: u32, value: &'a str, writer: Writer<'w>) -> Writer<'w> {
        hook::run(At::Write);
        Text::put(tag, value, writer)
    }
}

/// A key of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u32);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        hook::run(At::Order);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl MapKey for Key {
    fn rank(&self) -> u64 {
        hook::run(At::Rank);
        self.0.into()
    }
}

/// The field type of [`Key`].
#[derive(Debug)]
pub(crate) struct KeyKind;

impl<'a> Kind<'a> for KeyKind {
    type Value = Key;
    const ZERO: Key = Key(0);
    const WIRE: u32 = <Uint32 as Leaf<'static>>::WIRE;
    // As an implementation may say, whatever its hook does.
    const ALLOCATES: bool = false;

    fn read_into(mut cursor: Cursor<'a>, cx: &mut Context<'a>, to: &mut Key) -> Cursor<'a> {
        hook::run(At::Key);
        to.0 = Uint32::read(&mut cursor, cx);
        cursor
    }

    fn len(value: &Key, _: &mut SizeCache) -> usize {
        hook::run(At::Size);
        Uint32::size(value.0)
    }

    fn write<'w>(tag: u32, value: &Key, _: &mut SizeCache, writer: Writer<'w>) -> Writer<'w> {
        hook::run(At::Write);
        Uint32::put(tag, value.0, writer)
    }
}

/// A message with a field for each way in which lists come to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Node<'a> {
    pub(crate) numbers: &'a [Number],
    pub(crate) named: &'a [Named],
    pub(crate) words: &'a [&'a str],
    pub(crate) map: Map<'a, Key, &'a str>,
    pub(crate) kinds: Map<'a, u32, Named>,
    pub(crate) nodes: &'a [Node<'a>],
    pub(crate) groups: &'a [Node<'a>],
    pub(crate) node: Option<&'a Node<'a>>,
    pub(crate) group: Option<&'a Node<'a>>,
    pub(crate) inner: Map<'a, u32, Node<'a>>,
    pub(crate) unknown: UnknownFields<'a>,
}

impl<'a> Message<'a> for Node<'a> {
    const EMPTY: Self = Self {
        numbers: &[],
        named: &[],
        words: &[],
        map: Map::EMPTY,
        kinds: Map::EMPTY,
        nodes: &[],
        groups: &[],
        node: None,
        group: None,
        inner: Map::EMPTY,
        unknown: UnknownFields::EMPTY,
    };

    fn info() -> &'static MessageInfo {
        static INFO: MessageInfo = MessageInfo::new("Node", &[]);
        &INFO
    }

    fn merge(&mut self, mut cursor: Cursor<'a>, cx: &mut Context<'a>, group: u32) -> Cursor<'a> {
        let mut frame = Frame::new();
        let (mut map, mut kinds, mut inner) =
            (MapBuilder::new(), MapBuilder::new(), MapBuilder::new());
        let (f, unknown) = (&mut frame, &mut self.unknown);
        loop {
            hook::run(At::Merge);
            let start = cursor;
            let tag = cursor.tag(cx);
            cursor = match tag {
                8 => codec::repeated::<Open<Number>>(cursor, cx, tag, &mut self.numbers, f),
                10 => codec::packed::<Open<Number>>(cursor, cx, &mut self.numbers, f),
                16 | 18 => codec::closed(cursor, cx, tag, &mut self.named, unknown, f),
                26 => codec::repeated::<Word>(cursor, cx, tag, &mut self.words, f),
                34 => codec::map::<KeyKind, Word>(cursor, cx, tag, self.map, &mut map, unknown, f),
                42 => codec::map::<Uint32, Closed<Named>>(
                    cursor, cx, tag, self.kinds, &mut kinds, unknown, f,
                ),
                50 => codec::messages(cursor, cx, tag, &mut self.nodes, f),
                59 => codec::groups(cursor, cx, tag, &mut self.groups, f),
                66 => codec::message(cursor, cx, &mut self.node),
                75 => codec::group(cursor, cx, 76, &mut self.group),
                82 => codec::map::<Uint32, Msg<Node<'a>>>(
                    cursor, cx, tag, self.inner, &mut inner, unknown, f,
                ),
                _ if codec::ends(tag) => {
                    cursor = cx.end(start, cursor, tag, group, unknown, f);
                    break;
                }
                _ => cx.unknown(start, cursor, tag, unknown, f),
            };
        }
        map.finish(cx, &mut self.map);
        kinds.finish(cx, &mut self.kinds);
        inner.finish(cx, &mut self.inner);
        cursor
    }

    fn size(&self, cache: &mut SizeCache) -> usize {
        hook::run(At::Size);
        codec::packed_len::<Open<Number>>(1, self.numbers, cache)
            + codec::packed_len::<Closed<Named>>(1, self.named, cache)
            + codec::repeated_len::<Word>(1, self.words)
            + codec::map_len::<KeyKind, Word>(1, &self.map, cache)
            + codec::map_len::<Uint32, Closed<Named>>(1, &self.kinds, cache)
            + codec::messages_len(1, self.nodes, cache)
            + codec::groups_len(1, self.groups, cache)
            + self.node.map_or(0, |node| codec::message_len(1, node, cache))
            + self.group.map_or(0, |group| codec::group_len(1, group, cache))
            + codec::map_len::<Uint32, Msg<Node<'a>>>(1, &self.inner, cache)
            + self.unknown.encoded_len()
    }

    fn write<'w>(&self, cache: &mut SizeCache, mut writer: Writer<'w>) -> Writer<'w> {
        hook::run(At::Write);
        writer = codec::write_packed::<Open<Number>>(10, self.numbers, cache, writer);
        writer = codec::write_packed::<Closed<Named>>(18, self.named, cache, writer);
        writer = codec::write_repeated::<Word>(26, self.words, writer);
        writer = codec::write_map::<KeyKind, Word>(34, &self.map, cache, writer);
        writer = codec::write_map::<Uint32, Closed<Named>>(42, &self.kinds, cache, writer);
        writer = codec::write_messages(50, self.nodes, cache, writer);
        writer = codec::write_groups(59, self.groups, cache, writer);
        if let Some(node) = self.node {
            writer = codec::write_message(66, node, cache, writer);
        }
        if let Some(group) = self.group {
            writer = codec::write_group(75, group, cache, writer);
        }
        writer = codec::write_map::<Uint32, Msg<Node<'a>>>(82, &self.inner, cache, writer);
        writer.unknown(self.unknown)
    }
}

impl Schema for Node<'static> {
    type View<'a> = Node<'a>;

    fn decode<'a>(
        bytes: &'a [u8],
        arena: &'a Arena,
        limits: &DecodeLimits,
    ) -> Result<Node<'a>, DecodeError> {
        codec::decode(bytes, arena, limits)
    }
}

impl Encode for Node<'_> {
    fn encoded_len(&self, cache: &mut SizeCache) -> usize {
        codec::encoded_len(self, cache)
    }

    fn encode(&self, cache: &mut SizeCache, out: &mut Vec<u8>) {
        codec::encode(self, cache, out);
    }
}

impl Node<'static> {
    /// Adds every list of the message and of those within to `live`.
    pub(crate) fn track(&self, live: &mut crate::live::Live) {
        live.add("numbers", self.numbers);
        live.add("closed enums", self.named);
        live.add("words", self.words);
        live.add("entries", self.map.entries());
        live.add("entries of closed enums", self.kinds.entries());
        live.add("messages", self.nodes);
        live.add("groups", self.groups);
        live.add("entries of messages", self.inner.entries());
        live.add("spans", self.unknown.spans());
        let single = self.node.map(std::slice::from_ref);
        live.add("a message", single.unwrap_or(&[]));
        let single = self.group.map(std::slice::from_ref);
        live.add("a group", single.unwrap_or(&[]));
        let within = self.nodes.iter().chain(self.groups).chain(self.node).chain(self.group);
        within.chain(self.inner.iter().map(|(_, node)| node)).for_each(|node| node.track(live));
    }
}

/// A leaf whose lists may be packed, with elements as large as is said.
#[derive(Debug)]
pub(crate) struct Wide<const N: usize>;

impl<'a, const N: usize> Leaf<'a> for Wide<N> {
    type Value = [u64; N];
    const ZERO: [u64; N] = [0; N];
    const WIRE: u32 = <Uint32 as Leaf<'static>>::WIRE;

    fn read(cursor: &mut Cursor<'a>, cx: &mut Context<'a>) -> [u64; N] {
        hook::run(At::Leaf);
        [Uint32::read(cursor, cx).into(); N]
    }

    fn size(_: [u64; N]) -> usize {
        1
    }

    fn put(_: u32, _: [u64; N], writer: Writer<'_>) -> Writer<'_> {
        writer
    }
}

impl<'a, const N: usize> Packable<'a> for Wide<N> {
    const SIZE: Option<usize> = None;

    fn write_element(_: [u64; N], writer: Writer<'_>) -> Writer<'_> {
        writer
    }
}

impl Default for Node<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}
