//! The codec traits are open: messages written by hand, and messages of prost behind a wrapper.

use grpc_arena::codec::{
    self, Context, Cursor, FieldInfo, Frame, Leaf, Message, MessageInfo, UnknownFields, Writer,
};
use grpc_arena::{Arena, DecodeError, DecodeLimits, DecodeRule, Encode, Schema, SizeCache};
use grpc_service::Method;

/// `message Point { string name = 1; repeated sint32 at = 2; Point next = 3; }`, by hand.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point<'a> {
    name: &'a str,
    at: &'a [i32],
    next: Option<&'a Point<'a>>,
    unknown: UnknownFields<'a>,
}

impl<'a> Message<'a> for Point<'a> {
    const EMPTY: Self = Self { name: "", at: &[], next: None, unknown: UnknownFields::EMPTY };

    fn info() -> &'static MessageInfo {
        static INFO: MessageInfo = MessageInfo::new(
            "Point",
            &[
                FieldInfo::scalar(1, "name"),
                FieldInfo::scalar(2, "at"),
                FieldInfo::message(3, "next", <Point<'static> as Message<'static>>::info),
            ],
        );
        &INFO
    }

    fn merge(&mut self, mut cursor: Cursor<'a>, cx: &mut Context<'a>, group: u32) -> Cursor<'a> {
        let mut frame = Frame::new();
        loop {
            let start = cursor;
            let tag = cursor.tag(cx);
            cursor = match tag {
                10 => codec::text(cursor, cx, &mut self.name),
                18 => codec::packed::<codec::Sint32>(cursor, cx, &mut self.at, &mut frame),
                16 => codec::repeated::<codec::Sint32>(cursor, cx, 16, &mut self.at, &mut frame),
                26 => codec::message(cursor, cx, &mut self.next),
                _ if codec::ends(tag) => {
                    return cx.end(start, cursor, tag, group, &mut self.unknown, &mut frame);
                }
                _ => cx.unknown(start, cursor, tag, &mut self.unknown, &mut frame),
            };
        }
    }

    fn size(&self, cache: &mut SizeCache) -> usize {
        let mut size = self.unknown.encoded_len();
        if !self.name.is_empty() {
            size += 1 + codec::Text::size(self.name);
        }
        size += codec::packed_len::<codec::Sint32>(1, self.at, cache);
        if let Some(next) = self.next {
            size += codec::message_len(1, next, cache);
        }
        size
    }

    fn write<'w>(&self, cache: &mut SizeCache, mut writer: Writer<'w>) -> Writer<'w> {
        if !self.name.is_empty() {
            writer = codec::Text::put(10, self.name, writer);
        }
        writer = codec::write_packed::<codec::Sint32>(18, self.at, cache, writer);
        if let Some(next) = self.next {
            writer = codec::write_message(26, next, cache, writer);
        }
        writer.unknown(self.unknown)
    }
}

impl Schema for Point<'static> {
    type View<'a> = Point<'a>;

    fn decode<'a>(
        bytes: &'a [u8],
        arena: &'a Arena,
        limits: &DecodeLimits,
    ) -> Result<Point<'a>, DecodeError> {
        codec::decode(bytes, arena, limits)
    }
}

impl Encode for Point<'_> {
    fn encoded_len(&self, cache: &mut SizeCache) -> usize {
        codec::encoded_len(self, cache)
    }

    fn encode(&self, cache: &mut SizeCache, out: &mut Vec<u8>) {
        codec::encode(self, cache, out);
    }
}

/// Any message of prost, which owns what it holds and needs neither arena nor cache.
#[derive(Debug, PartialEq)]
struct Prost<M>(M);

impl<M: prost::Message + Default + 'static> Schema for Prost<M> {
    type View<'a> = Self;

    fn decode<'a>(bytes: &'a [u8], _: &'a Arena, _: &DecodeLimits) -> Result<Self, DecodeError> {
        M::decode(bytes).map(Self).map_err(DecodeError::foreign)
    }
}

impl<M: prost::Message> Encode for Prost<M> {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0.encoded_len()
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        self.0.encode_raw(out);
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(sint32, repeated, tag = "2")]
    at: Vec<i32>,
}

/// A method that takes one and returns the other: generated code is not needed for it.
struct Convert;

impl Method for Convert {
    const PATH: &'static str = "/points.Points/Convert";
    type Request = Prost<Pair>;
    type Response = Point<'static>;
}

fn encode(message: &impl Encode) -> Vec<u8> {
    let (mut cache, mut out) = (SizeCache::new(), Vec::new());
    let len = message.encoded_len(&mut cache);
    message.encode(&mut cache, &mut out);
    assert_eq!(out.len(), len);
    out
}

#[test]
fn a_message_of_prost_and_one_by_hand_meet_in_one_method() {
    let arena = Arena::new();
    let request = encode(&Prost(Pair { name: "here".into(), at: vec![1, -2] }));
    let limits = DecodeLimits::DEFAULT;
    let pair = <Convert as Method>::Request::decode(&request, &arena, &limits).unwrap();
    let next = Point { name: "there", ..Point::EMPTY };
    let point = Point { name: &pair.0.name, at: &pair.0.at, next: Some(&next), ..Point::EMPTY };
    let response = encode(&point);
    assert_eq!(<Convert as Method>::Response::decode(&response, &arena, &limits), Ok(point));
}

#[test]
fn errors_of_a_message_by_hand_and_of_another_codec_keep_their_words() {
    let arena = Arena::new();
    let limits = DecodeLimits::DEFAULT;
    let error =
        <Point<'static> as Schema>::decode(&[26, 3, 10, 1, 0xff], &arena, &limits).unwrap_err();
    assert_eq!(error.to_string(), "Point.next.name: a string is not UTF-8, at byte 4");
    let error = Prost::<Pair>::decode(&[0x0a, 0x05], &arena, &limits).unwrap_err();
    assert!(
        matches!(error.rule(), DecodeRule::Foreign(words) if words.contains("buffer underflow")),
        "{error}"
    );
}
