//! Generated code for names that could collide: that it builds says most.

use grpc_arena::{Arena, DecodeLimits, Encode, Schema, SizeCache};
use grpc_service::Method;
use tests::names::names::{
    Codec, Gen, OddClient, OddClient_, OddMethods, codec, codec_, r#gen, gen_, odd__methods,
    odd_methods_, str_,
};

fn encode(message: &impl Encode) -> Vec<u8> {
    let (mut cache, mut out) = (SizeCache::new(), Vec::new());
    message.encoded_len(&mut cache);
    message.encode(&mut cache, &mut out);
    out
}

#[test]
fn a_message_and_a_package_may_be_called_as_the_codec() {
    let inner = codec_::Inner { unit: codec::Unit::ONE, ..codec_::Inner::EMPTY };
    let one = Codec { kind: Some(codec_::Kind::Number(7)), ..Codec::EMPTY };
    let message = Codec {
        kind: Some(codec_::Kind::Codec(&one)),
        inner: Some(&inner),
        more: &[codec::Unit::ONE],
        bool: Some(&str_::bool_::Inner::EMPTY),
        ..Codec::EMPTY
    };
    let bytes = encode(&message);
    let arena = Arena::new();
    assert_eq!(Codec::decode(&bytes, &arena, &DecodeLimits::DEFAULT), Ok(message));
}

#[test]
fn keywords_and_primitive_types_may_be_names() {
    let inner = gen_::Gen { r#gen: Some(1), ..gen_::Gen::EMPTY };
    let other = r#gen::Gen { r#yield: Some(r#gen::r#gen::Yield::Type(2)), ..r#gen::Gen::EMPTY };
    let message = Gen { r#gen: Some(&inner), other: Some(&other), ..Gen::EMPTY };
    assert_eq!(encode(&message), [10, 2, 8, 1, 18, 2, 16, 2]);
    assert!(str_::Bool::EMPTY.bool());
    assert_eq!(str_::F32::EMPTY.least(), f32::NEG_INFINITY);
}

#[test]
fn methods_of_messages_are_none_of_their_accessors() {
    let message = str_::Called { clone: Some(true), encode: Some(5), ..str_::Called::default() };
    let bytes = encode(&message.clone());
    assert_eq!(bytes, [16, 1, 32, 5]);
    let (mut cache, arena) = (SizeCache::new(), Arena::new());
    assert_eq!(message.encoded_len(&mut cache), 4);
    assert_eq!(str_::Called::decode(&bytes, &arena, &DecodeLimits::DEFAULT), Ok(message));
    assert_eq!((message.default_(), message.clone_(), message.decode_()), ("", true, &b"-"[..]));
    assert_eq!(
        (message.encode_(), message.encoded_len_(), message.beyond()),
        (5, 0, f32::INFINITY)
    );
}

#[test]
fn what_a_service_adds_gives_way_to_the_messages_of_its_package() {
    fn path<M: Method>() -> &'static str {
        M::PATH
    }
    let _ = (OddClient::EMPTY, OddMethods::EMPTY, OddClient_::new, OddClient_::new__);
    assert_eq!(path::<odd_methods_::GetFoo>(), "/names.Odd/GetFoo");
    assert_eq!(path::<odd_methods_::GetFoo_>(), "/names.Odd/get_foo");
    assert_eq!(path::<odd__methods::Clone>(), "/names.odd_/Clone");
}
