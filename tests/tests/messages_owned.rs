//! Messages that are kept: copies in other arenas, and owners that carry theirs.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use grpc_arena::codec::{Map, UnknownFields};
use grpc_arena::{Arena, DecodeLimits, DecodeRule, Encode, Family as _, Owned};
use proptest::prelude::*;
use tests::messages::messages::three::{Color, Login, Mixed, login, mixed::Either};
use tests::messages::messages::two;

/// Borrows nothing, so that messages can be built from it in any arena.
#[derive(Clone, Debug)]
enum Shape {
    Leaf(i32),
    Text(String),
    Node(i32, Vec<Shape>),
    Within(Box<Shape>),
    Unknown(Vec<u8>),
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Shape::Leaf),
        ".{0,40}".prop_map(Shape::Text),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Shape::Unknown),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            (any::<i32>(), proptest::collection::vec(inner.clone(), 0..5))
                .prop_map(|(n, inner)| Shape::Node(n, inner)),
            inner.prop_map(|inner| Shape::Within(Box::new(inner))),
        ]
    })
}

fn build<'a>(shape: &Shape, arena: &'a Arena) -> Mixed<'a> {
    match shape {
        Shape::Leaf(n) => Mixed { either: Some(Either::Late(*n)), ..Mixed::EMPTY },
        Shape::Text(text) => {
            Mixed { either: Some(Either::Early(arena.alloc_str(text))), ..Mixed::EMPTY }
        }
        Shape::Node(n, inner) => {
            let inner = inner.iter().map(|it| build(it, arena)).collect::<Vec<_>>();
            Mixed { second: *n, fourth: arena.alloc_slice(&inner), ..Mixed::EMPTY }
        }
        Shape::Within(inner) => {
            let inner = arena.alloc(build(inner, arena));
            Mixed { either: Some(Either::Middle(inner)), ..Mixed::EMPTY }
        }
        Shape::Unknown(bytes) => {
            let head = [0xa2, 0x06, u8::try_from(bytes.len()).unwrap()];
            let field: &[u8] = arena.alloc_slice(&[&head[..], bytes].concat());
            let spans: &[&[u8]] = arena.alloc_slice(&[field]);
            Mixed { unknown: UnknownFields::from_spans(spans), ..Mixed::EMPTY }
        }
    }
}

proptest! {
    /// Beside the old arena, and after everything in that has been written over and freed: AddressSanitizer sees a copy
    /// that still refers to it.
    #[test]
    fn a_copy_equals_its_message_and_outlives_its_arena(shape in shape()) {
        let copies = Arena::new();
        let mut old = Arena::new();
        let (copy, owned) = {
            let message = build(&shape, &old);
            let copy = Mixed::copy_in(&message, &copies).unwrap();
            prop_assert_eq!(copy, message);
            let owned: Owned<Mixed<'static>> = Owned::copy_of(&message).unwrap();
            prop_assert_eq!(*owned.view(), message);
            (copy, owned)
        };
        old.reset();
        while old.remaining() > 0 && old.used_bytes() < old.heap_bytes() / 2 {
            old.alloc_slice(&[0xa5_u8; 64]);
        }
        drop(old);
        let again = Arena::new();
        let message = build(&shape, &again);
        prop_assert_eq!(copy, message);
        prop_assert_eq!(*owned.view(), message);
        prop_assert_eq!(owned.encode_to_vec(), message.encode_to_vec());
    }
}

#[test]
fn owned_messages_live_in_a_map_and_cross_threads() {
    let mut map = HashMap::new();
    for n in 0..100 {
        let text = format!("message {n}");
        let message = Mixed { either: Some(Either::Early(&text)), second: n, ..Mixed::EMPTY };
        let owned: Owned<Mixed<'static>> = Owned::copy_of(&message).unwrap();
        map.insert(n, owned);
    }
    let map = std::thread::spawn(move || {
        map.retain(|n, _| n % 2 == 0);
        map
    })
    .join()
    .unwrap();
    std::thread::scope(|scope| {
        for part in 0..2 {
            let map = &map;
            scope.spawn(move || {
                for (n, owned) in map.iter().filter(|(n, _)| *n % 4 == 2 * part) {
                    let text = format!("message {n}");
                    assert_eq!(owned.view().either, Some(Either::Early(&text)));
                    assert_eq!(owned.with(|message| message.second), *n);
                }
            });
        }
    });
    assert_eq!(map.len(), 50);
}

#[test]
fn an_owned_message_is_held_over_an_await() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let owned: Owned<Mixed<'static>> = Owned::decode(&[16, 7], &DecodeLimits::DEFAULT).unwrap();
    let mut future = Box::pin(is_send(async move {
        let view = owned.view();
        std::future::ready(()).await;
        view.second
    }));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(future.as_mut().poll(&mut cx), std::task::Poll::Ready(7));
}

#[test]
fn what_does_not_decode_is_not_owned() {
    let error = Owned::<Mixed<'static>>::decode(&[16], &DecodeLimits::DEFAULT).unwrap_err();
    assert_eq!(*error.rule(), DecodeRule::Truncated);
    let arena = Arena::with_budget(1);
    let message = Mixed { second: 300, ..Mixed::EMPTY };
    let error = Mixed::copy_in(&message, &arena).unwrap_err();
    assert_eq!(*error.rule(), DecodeRule::ArenaBudget);
}

#[test]
fn equal_messages_have_equal_hashes() {
    let text = |text| Mixed { either: Some(Either::Early(text)), ..Mixed::EMPTY };
    let [a, b] = ["a".to_owned(), "a".to_owned()];
    let state = RandomState::new();
    assert_eq!(state.hash_one(text(&a)), state.hash_one(text(&b)));
    let kept: [Owned<Mixed<'static>>; 3] =
        [text("a"), text("b"), text("a")].map(|message| Owned::copy_of(&message).unwrap());
    assert_eq!(state.hash_one(&kept[0]), state.hash_one(&kept[2]));
    assert_eq!(kept.into_iter().collect::<HashSet<_>>().len(), 2);
    assert_eq!(Map::<&str, i32>::EMPTY, Map::EMPTY);
}

#[test]
fn enums_convert_from_and_to_numbers_and_names() {
    let values = Color::values();
    assert!(!values.is_empty());
    for &value in values {
        assert_eq!(Color::from(i32::from(value)), value);
        assert_eq!(value.to_string().parse::<Color>(), Ok(value));
        assert_eq!(Some(value.to_string().as_str()), value.name());
    }
    assert_eq!(Color(-7).to_string(), "-7");
    let error = "PINKISH".parse::<Color>().unwrap_err();
    assert_eq!(error.to_string(), "the enum `messages.three.Color` has no such value");
    for &value in two::Closed::values() {
        assert_eq!(two::Closed::try_from(i32::from(value)), Ok(value));
        assert_eq!(value.to_string().parse::<two::Closed>(), Ok(value));
    }
    assert_eq!(two::Closed::try_from(-7).unwrap_err().schema(), "messages.two.Closed");
}

#[test]
fn what_is_to_be_redacted_is_not_shown() {
    let code = Some(login::SecondFactor::Code("4711"));
    let message = Login { name: "Ada", password: "hunter2", second_factor: code, ..Login::EMPTY };
    let shown = format!("{message:?}");
    assert_eq!(shown, "Login { name: \"Ada\", second_factor: Some(Code), unknown: {}, .. }");
    let device = Login { second_factor: Some(login::SecondFactor::Device(3)), ..message };
    assert!(format!("{device:?}").contains("Some(Device(3))"));
}
