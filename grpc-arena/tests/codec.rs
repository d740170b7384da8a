//! What the codec makes of fields, against models of the rules: numbers without a name, unknown fields in their order, lists
//! that come in pieces, varints of every length.

use grpc_arena::codec::{
    self, Bool, Closed, ClosedEnum, Context, Cursor, Frame, Int32, Int64, Leaf, Map, MapBuilder,
    Message, MessageInfo, Open, OpenEnum, Sint32, Sint64, Uint32, Uint64, UnknownFields, Writer,
};
use grpc_arena::{Arena, DecodeLimits, DecodeRule, SizeCache};
use proptest::prelude::*;

/// A closed enum that knows the numbers from -2 to 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Small(i32);

impl ClosedEnum for Small {
    const DEFAULT: Self = Self(0);

    fn from_number(number: i32) -> Option<Self> {
        (-2..=2).contains(&number).then_some(Self(number))
    }

    fn number(self) -> i32 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Any(i32);

impl OpenEnum for Any {
    const DEFAULT: Self = Self(0);

    fn from_number(number: i32) -> Self {
        Self(number)
    }

    fn number(self) -> i32 {
        self.0
    }
}

/// `repeated Small closed = 3; map<int32, Small> map = 4; optional Small one = 5; repeated Fields groups = 6 (as groups);
/// repeated int32 numbers = 7; repeated Small far = 300; repeated sint32 signed = 8`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fields<'a> {
    closed: &'a [Small],
    far: &'a [Small],
    map: Map<'a, i32, Small>,
    one: Option<Small>,
    groups: &'a [Fields<'a>],
    numbers: &'a [i32],
    signed: &'a [i32],
    unknown: UnknownFields<'a>,
}

impl<'a> Message<'a> for Fields<'a> {
    const EMPTY: Self = Self {
        closed: &[],
        far: &[],
        map: Map::EMPTY,
        one: None,
        groups: &[],
        numbers: &[],
        signed: &[],
        unknown: UnknownFields::EMPTY,
    };

    fn info() -> &'static MessageInfo {
        static INFO: MessageInfo = MessageInfo::new("Fields", &[]);
        &INFO
    }

    fn merge(&mut self, mut cursor: Cursor<'a>, cx: &mut Context<'a>, group: u32) -> Cursor<'a> {
        let (mut frame, mut map) = (Frame::new(), MapBuilder::new());
        let (f, unknown) = (&mut frame, &mut self.unknown);
        loop {
            let start = cursor;
            let tag = cursor.tag(cx);
            cursor = match tag {
                24 | 26 => codec::closed(cursor, cx, tag, &mut self.closed, unknown, f),
                2400 | 2402 => codec::closed(cursor, cx, tag, &mut self.far, unknown, f),
                34 => codec::map::<Int32, Closed<Small>>(
                    cursor, cx, tag, self.map, &mut map, unknown, f,
                ),
                40 => {
                    let number = Int32::read(&mut cursor, cx);
                    match Small::from_number(number) {
                        Some(value) => {
                            self.one = Some(value);
                            cursor
                        }
                        None => cx.unnamed(tag, number, cursor, unknown, f),
                    }
                }
                51 => codec::groups(cursor, cx, tag, &mut self.groups, f),
                56 => codec::repeated::<Int32>(cursor, cx, tag, &mut self.numbers, f),
                58 => codec::packed::<Int32>(cursor, cx, &mut self.numbers, f),
                64 => codec::repeated::<Sint32>(cursor, cx, tag, &mut self.signed, f),
                66 => codec::packed::<Sint32>(cursor, cx, &mut self.signed, f),
                _ if codec::ends(tag) => {
                    cursor = cx.end(start, cursor, tag, group, unknown, f);
                    break;
                }
                _ => cx.unknown(start, cursor, tag, unknown, f),
            };
        }
        map.finish(cx, &mut self.map);
        cursor
    }

    fn size(&self, _: &mut SizeCache) -> usize {
        0
    }

    fn write<'w>(&self, _: &mut SizeCache, writer: Writer<'w>) -> Writer<'w> {
        writer
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A varint with `more` bytes than it needs, ten at most.
fn padded(value: u64, more: usize, out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    varint(value, &mut bytes);
    for _ in 0..more.min(10 - bytes.len()) {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(0);
    }
    out.extend(bytes);
}

fn delimited(tag: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(tag, out);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

/// A field as it comes.
#[derive(Clone, Debug)]
enum Item {
    Closed(Vec<i32>),
    PackedClosed(Vec<i32>),
    Far(i32),
    PackedFar(Vec<i32>),
    One(i32),
    Entry(i32, i32),
    /// A field that the message does not know.
    Unknown(Vec<u8>),
}

/// A field of number 20 and more of any kind, with groups in groups.
fn unknown_field() -> impl Strategy<Value = Vec<u8>> {
    let number = 20u64..600;
    let leaf =
        (number.clone(), 0..4usize, any::<u64>(), proptest::collection::vec(any::<u8>(), 0..9));
    let leaf = leaf.prop_map(|(number, kind, value, bytes)| {
        let mut out = Vec::new();
        match kind {
            0 => {
                varint(number << 3, &mut out);
                varint(value, &mut out);
            }
            1 => {
                varint(number << 3 | 1, &mut out);
                out.extend(value.to_le_bytes());
            }
            2 => delimited(number << 3 | 2, &bytes, &mut out),
            _ => {
                varint(number << 3 | 5, &mut out);
                out.extend((value as u32).to_le_bytes());
            }
        }
        out
    });
    leaf.prop_recursive(4, 16, 4, move |inner| {
        (number.clone(), proptest::collection::vec(inner, 0..4)).prop_map(|(number, fields)| {
            let mut out = Vec::new();
            varint(number << 3 | 3, &mut out);
            fields.iter().for_each(|field| out.extend(field));
            varint(number << 3 | 4, &mut out);
            out
        })
    })
    // 300 is known.
    .prop_filter("a field that is known", |bytes| {
        !bytes.starts_with(&[0xe0, 0x12]) && !bytes.starts_with(&[0xe2, 0x12])
    })
}

fn number() -> impl Strategy<Value = i32> {
    prop_oneof![-3..4, any::<i32>(), Just(i32::MIN), Just(-3), Just(i32::MAX)]
}

fn item() -> impl Strategy<Value = Item> {
    let numbers = || proptest::collection::vec(number(), 0..6);
    prop_oneof![
        proptest::collection::vec(number(), 1..4).prop_map(Item::Closed),
        numbers().prop_map(Item::PackedClosed),
        number().prop_map(Item::Far),
        numbers().prop_map(Item::PackedFar),
        number().prop_map(Item::One),
        (0..5, number()).prop_map(|(key, number)| Item::Entry(key, number)),
        unknown_field().prop_map(Item::Unknown),
    ]
}

/// A number as encoders write it: with the sign in 64 bits, so that a negative one takes ten bytes.
fn number_field(tag: u64, number: i32, out: &mut Vec<u8>) {
    varint(tag, out);
    varint(i64::from(number) as u64, out);
}

/// What a message should become, field by field in the order of arrival.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    closed: Vec<Small>,
    far: Vec<Small>,
    one: Option<Small>,
    map: std::collections::BTreeMap<i32, Small>,
    unknown: Vec<u8>,
}

impl Expected {
    /// Adds an item, and how it is written to `out`.
    fn add(&mut self, item: &Item, out: &mut Vec<u8>) {
        let mut split = |list: &mut Vec<Small>, tag, numbers: &[i32]| {
            for &number in numbers {
                match Small::from_number(number) {
                    Some(value) => list.push(value),
                    None => number_field(tag, number, &mut self.unknown),
                }
            }
        };
        let packed = |numbers: &[i32]| {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|&number| varint(i64::from(number) as u64, &mut bytes));
            bytes
        };
        match item {
            Item::Closed(numbers) => {
                numbers.iter().for_each(|&number| number_field(24, number, out));
                split(&mut self.closed, 24, numbers);
            }
            Item::PackedClosed(numbers) => {
                delimited(26, &packed(numbers), out);
                split(&mut self.closed, 24, numbers);
            }
            Item::Far(number) => {
                number_field(2400, *number, out);
                split(&mut self.far, 2400, &[*number]);
            }
            Item::PackedFar(numbers) => {
                delimited(2402, &packed(numbers), out);
                split(&mut self.far, 2400, numbers);
            }
            Item::One(number) => {
                number_field(40, *number, out);
                let mut list = Vec::new();
                split(&mut list, 40, &[*number]);
                self.one = list.pop().or(self.one);
            }
            Item::Entry(key, number) => {
                let (mut entry, mut field) = (Vec::new(), Vec::new());
                number_field(8, *key, &mut entry);
                number_field(16, *number, &mut entry);
                delimited(34, &entry, &mut field);
                out.extend(&field);
                match Small::from_number(*number) {
                    Some(value) => _ = self.map.insert(*key, value),
                    None => self.unknown.extend(field),
                }
            }
            Item::Unknown(bytes) => {
                out.extend(bytes);
                self.unknown.extend(bytes);
            }
        }
    }
}

fn found(fields: &Fields<'_>) -> Expected {
    Expected {
        closed: fields.closed.to_vec(),
        far: fields.far.to_vec(),
        one: fields.one,
        map: fields.map.iter().map(|(&key, &value)| (key, value)).collect(),
        unknown: fields.unknown.spans().concat(),
    }
}

fn decode<'a>(bytes: &'a [u8], arena: &'a Arena) -> Result<Fields<'a>, DecodeRule> {
    let decoded = codec::decode(bytes, arena, &DecodeLimits::DEFAULT);
    decoded.map_err(|error| error.rule().clone())
}

proptest! {
    /// Also within groups, which end elsewhere than their message does.
    #[test]
    fn numbers_without_a_name_and_unknown_fields_are_kept_in_their_order(
        items in proptest::collection::vec(item(), 0..12), in_group: bool, capacity in 0usize..2000,
    ) {
        let (mut expected, mut bytes) = (Expected::default(), Vec::new());
        items.iter().for_each(|item| expected.add(item, &mut bytes));
        if in_group {
            bytes = [&[51], &bytes[..], &[52]].concat();
        }
        let arena = Arena::with_capacity(capacity);
        let fields = decode(&bytes, &arena).unwrap();
        if in_group {
            prop_assert_eq!(fields.groups.len(), 1);
            prop_assert_eq!(found(&fields.groups[0]), expected);
        } else {
            prop_assert_eq!(found(&fields), expected);
        }
    }

    #[test]
    fn an_unknown_group_is_kept_whole_and_refused_where_it_is_cut(field in unknown_field()) {
        let arena = Arena::new();
        let fields = decode(&field, &arena).unwrap();
        prop_assert_eq!(fields.unknown.spans().concat(), &field[..]);
        for cut in 1..field.len() {
            prop_assert!(decode(&field[..cut], &arena).is_err(), "cut at {}", cut);
        }
        // With the end of another group than the innermost.
        if field[0] & 7 == 3 {
            let wrong = [&field[..field.len() - 1], &[field[field.len() - 1] ^ 8]].concat();
            prop_assert!(decode(&wrong, &arena).is_err());
        }
    }

    /// Of a varint of more than 32 bits the lower half counts, in every type that has 32.
    #[test]
    fn each_type_of_varint_reads_what_its_bits_say(
        value: u64, shift in 0u32..64, more in 0usize..10,
    ) {
        for value in [value, value >> shift, value | 1 << 32, value | 1 << 63] {
            let mut bytes = Vec::new();
            padded(value, more, &mut bytes);
            let arena = Arena::new();
            let mut cx = Context::new(&bytes, &arena, &DecodeLimits::DEFAULT);
            let cursor = || Cursor::new(&bytes);
            let low = value as u32;
            prop_assert_eq!(Int32::read(&mut cursor(), &mut cx), low as i32);
            prop_assert_eq!(Uint32::read(&mut cursor(), &mut cx), low);
            let sint32 = if low & 1 == 0 { (low / 2) as i32 } else { -1 - (low / 2) as i32 };
            prop_assert_eq!(Sint32::read(&mut cursor(), &mut cx), sint32);
            let half = (value / 2) as i64;
            let sint64 = if value & 1 == 0 { half } else { -1 - half };
            prop_assert_eq!(Sint64::read(&mut cursor(), &mut cx), sint64);
            prop_assert_eq!(Int64::read(&mut cursor(), &mut cx), value as i64);
            prop_assert_eq!(Uint64::read(&mut cursor(), &mut cx), value);
            prop_assert_eq!(Bool::read(&mut cursor(), &mut cx), value != 0);
            prop_assert_eq!(Open::<Any>::read(&mut cursor(), &mut cx), Any(low as i32));
            let small = Small::from_number(low as i32).unwrap_or(Small::DEFAULT);
            prop_assert_eq!(Closed::<Small>::read(&mut cursor(), &mut cx), small);
            prop_assert!(!cx.failed());
            // In lists, packed and not, as well.
            let packed = [&[66, 2 * bytes.len() as u8][..], &bytes, &bytes].concat();
            let single = [&[64][..], &bytes, &[64], &bytes].concat();
            for bytes in [&packed, &single] {
                prop_assert_eq!(decode(bytes, &arena).unwrap().signed, [sint32, sint32]);
            }
        }
    }

    /// Two lists in turns, in runs of any length, packed and not, and where memory is scarce.
    #[test]
    fn lists_that_come_in_pieces_hold_all_elements_in_order(
        runs in proptest::collection::vec((any::<bool>(), any::<bool>(), 0usize..5), 0..60),
        capacity in 0usize..600,
    ) {
        let (mut bytes, mut lists, mut next) = (Vec::new(), [Vec::new(), Vec::new()], 0);
        for (which, is_packed, len) in runs {
            let run = next..next + len as i32;
            next += len as i32;
            let tag = if which { 56 } else { 24 };
            // The closed enum takes part with numbers that it knows.
            let values = run.map(|n| if which { n } else { n % 3 }).collect::<Vec<_>>();
            if is_packed {
                let mut packed = Vec::new();
                values.iter().for_each(|&n| varint(n as u64, &mut packed));
                delimited(tag + 2, &packed, &mut bytes);
            } else {
                values.iter().for_each(|&n| number_field(tag, n, &mut bytes));
            }
            lists[usize::from(which)].extend(values);
        }
        let arena = Arena::with_capacity(capacity);
        let fields = decode(&bytes, &arena).unwrap();
        let closed = fields.closed.iter().map(|small| small.0).collect::<Vec<_>>();
        prop_assert_eq!([closed, fields.numbers.to_vec()], lists);
    }

    #[test]
    fn a_map_takes_entries_whose_keys_ascend_and_no_others(
        keys in proptest::collection::vec(0u32..12, 0..8),
    ) {
        let ascend = keys.windows(2).all(|pair| pair[0] < pair[1]);
        let entries = keys.iter().map(|&key| (key, ())).collect::<Vec<_>>();
        prop_assert_eq!(Map::from_sorted(&entries).is_some(), ascend);
        let mut sorted = entries.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let map = Map::from_sorted(&sorted).expect("each key once, in order");
        prop_assert_eq!(map.entries(), &sorted[..]);
        // With one key a second time, wherever.
        for at in 0..sorted.len() {
            let mut twice = sorted.clone();
            twice.insert(at, sorted[at]);
            prop_assert!(Map::from_sorted(&twice).is_none());
        }
    }
}

#[test]
fn a_list_that_grows_by_one_element_at_a_time_takes_memory_in_proportion() {
    for len in [100usize, 1000, 10_000] {
        // Elements of two lists in turns, so that neither is a run, and none grows in place.
        let (mut pieces, mut closed) = (Vec::new(), Vec::new());
        for n in 0..len as i32 {
            number_field(56, n, &mut pieces);
            number_field(64, n, &mut pieces);
            number_field(24, n % 3, &mut closed);
            number_field(2400, n % 3, &mut closed);
        }
        for (bytes, what) in [(pieces, "leaves"), (closed, "closed enums")] {
            let arena = Arena::with_capacity(1 << 20);
            let fields = decode(&bytes, &arena).unwrap();
            let lens =
                [fields.numbers.len(), fields.signed.len(), fields.closed.len(), fields.far.len()];
            assert_eq!(lens.iter().sum::<usize>(), 2 * len);
            // Doubling leaves behind as much as there is, and has room for as much again.
            let content = 2 * len * size_of::<i32>();
            assert!(
                arena.used_bytes() <= 4 * content + 200,
                "{len} {what}: {}",
                arena.used_bytes()
            );
        }
        // Groups, one by one, in chunks that have no room for all.
        let groups = [51, 52].repeat(len);
        let arena = Arena::with_capacity(100);
        assert_eq!(decode(&groups, &arena).unwrap().groups.len(), len);
        let content = len * size_of::<Fields<'_>>();
        assert!(arena.used_bytes() <= 6 * content + 5000, "{len} groups: {}", arena.used_bytes());
    }
}
