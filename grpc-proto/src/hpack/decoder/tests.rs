use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::hpack::huffman;

const NO_LIMITS: ListLimits = ListLimits { max_size: u32::MAX, max_fields: u32::MAX };

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let nibble = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect()
}

fn text(list: &FieldList) -> Vec<String> {
    let show = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    list.iter().map(|field| format!("{}: {}", show(field.name), show(field.value))).collect()
}

/// Decodes a block and holds the list and the table against what they should be.
fn step(decoder: &mut Decoder, block: &str, list: &[&str], table: &[&str], size: usize) {
    let mut out = FieldList::new();
    let outcome = decoder.decode(&hex(block), &NO_LIMITS, &mut out);
    assert_eq!(outcome, Ok(ListOutcome::Complete));
    assert_eq!(text(&out), list);
    let entries: FieldList = decoder.table_entries().collect();
    assert_eq!(text(&entries), table);
    assert_eq!(decoder.table_size(), size);
}

fn decode(block: &[u8]) -> Result<ListOutcome, DecodeError> {
    Decoder::new(4096).decode(block, &NO_LIMITS, &mut FieldList::new())
}

#[test]
fn appendix_c_2_single_fields() {
    let decoder = || Decoder::new(4096);
    step(
        &mut decoder(),
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &["custom-key: custom-header"],
        &["custom-key: custom-header"],
        55,
    );
    step(&mut decoder(), "040c 2f73 616d 706c 652f 7061 7468", &[":path: /sample/path"], &[], 0);
    step(
        &mut decoder(),
        "1008 7061 7373 776f 7264 0673 6563 7265 74",
        &["password: secret"],
        &[],
        0,
    );
    step(&mut decoder(), "82", &[":method: GET"], &[], 0);
}

#[test]
fn appendix_c_3_and_c_4_requests() {
    let blocks = [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ];
    for [first, second, third] in blocks {
        let mut decoder = Decoder::new(4096);
        let authority = ":authority: www.example.com";
        step(
            &mut decoder,
            first,
            &[":method: GET", ":scheme: http", ":path: /", authority],
            &[authority],
            57,
        );
        let no_cache = "cache-control: no-cache";
        step(
            &mut decoder,
            second,
            &[":method: GET", ":scheme: http", ":path: /", authority, no_cache],
            &[no_cache, authority],
            110,
        );
        let custom = "custom-key: custom-value";
        step(
            &mut decoder,
            third,
            &[":method: GET", ":scheme: https", ":path: /index.html", authority, custom],
            &[custom, no_cache, authority],
            164,
        );
    }
}

#[test]
fn appendix_c_5_and_c_6_responses_with_eviction() {
    let blocks = [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 \
             2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 \
             6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d \
             54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 \
             5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e \
             3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab \
             77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f \
             9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
    ];
    let private = "cache-control: private";
    let date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
    let later = "date: Mon, 21 Oct 2013 20:13:22 GMT";
    let location = "location: https://www.example.com";
    let cookie = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let gzip = "content-encoding: gzip";
    for [first, second, third] in blocks {
        let mut decoder = Decoder::new(4096);
        let mut out = FieldList::new();
        // The examples use a table of 256 octets.
        assert!(decoder.decode(&hex("3fe101"), &NO_LIMITS, &mut out).is_ok());
        step(
            &mut decoder,
            first,
            &[":status: 302", private, date, location],
            &[location, date, private, ":status: 302"],
            222,
        );
        step(
            &mut decoder,
            second,
            &[":status: 307", private, date, location],
            &[":status: 307", location, date, private],
            222,
        );
        step(
            &mut decoder,
            third,
            &[":status: 200", private, later, location, gzip, cookie],
            &[cookie, gzip, later],
            215,
        );
    }
}

#[test]
fn each_violation_is_named() {
    let cases: &[(&str, DecodeError)] = &[
        ("80", DecodeError::IndexOfZero),
        ("be", DecodeError::IndexBeyondTable),
        ("7e 00", DecodeError::IndexBeyondTable),
        ("0f 2f 00", DecodeError::IndexBeyondTable),
        ("ff", DecodeError::Truncated),
        ("ff 80", DecodeError::Truncated),
        ("ff 80 80 80 80 80", DecodeError::IntegerOverflow),
        ("ff ff ff ff ff 7f", DecodeError::IntegerOverflow),
        ("40", DecodeError::Truncated),
        ("44", DecodeError::Truncated),
        ("44 05 2f 61", DecodeError::Truncated),
        ("44 7f ff ff ff ff 0f", DecodeError::IntegerOverflow),
        ("44 7f 80 ff ff ff 0f", DecodeError::Truncated),
        ("44 84 ff ff ff ff", DecodeError::HuffmanEndOfString),
        ("44 81 ff", DecodeError::HuffmanPaddingTooLong),
        ("44 82 1f ff", DecodeError::HuffmanPaddingTooLong),
        ("44 81 18", DecodeError::HuffmanPaddingNotOnes),
        ("82 20", DecodeError::SizeUpdateAfterField),
        ("20 20 20", DecodeError::SizeUpdateRepeated),
        ("3f e2 1f", DecodeError::SizeUpdateBeyondLimit),
    ];
    for (block, error) in cases {
        assert_eq!(decode(&hex(block)), Err(*error), "{block}");
        assert!(format!("{error}").contains("RFC 7541"));
    }
    for block in ["", "20", "20 20", "3f e1 1f", "3f e1 1f 82", "44 82 1c ff"] {
        assert_eq!(decode(&hex(block)), Ok(ListOutcome::Complete), "{block}");
    }
}

#[test]
fn an_error_leaves_the_fields_before_it() {
    let mut out = FieldList::new();
    let error =
        Decoder::new(4096).decode(&hex("82 41 01 61 0001 62 82 1f ff"), &NO_LIMITS, &mut out);
    assert_eq!(error, Err(DecodeError::HuffmanPaddingTooLong));
    let mut wanted = FieldList::new();
    wanted.push(b":method", b"GET");
    wanted.push(b":authority", b"a");
    assert_eq!(out, wanted);
}

#[test]
fn a_reduction_by_settings_demands_an_update_in_the_next_block() {
    let reduced = || {
        let mut decoder = Decoder::new(4096);
        let mut out = FieldList::new();
        decoder.decode(&hex("4001 6101 62"), &NO_LIMITS, &mut out).unwrap();
        decoder.set_max_table_size(100);
        decoder.set_max_table_size(200);
        decoder
    };
    let next = |block: &str| reduced().decode(&hex(block), &NO_LIMITS, &mut FieldList::new());
    assert_eq!(next("82"), Err(DecodeError::SizeUpdateMissing));
    assert_eq!(next("be"), Err(DecodeError::SizeUpdateMissing));
    // The smallest size in between has to be told, not the last alone.
    assert_eq!(next("3f a9 01 82"), Err(DecodeError::SizeUpdateMissing));
    assert_eq!(next("3f 45 82"), Ok(ListOutcome::Complete));
    assert_eq!(next("3f 45 3f a9 01 82"), Ok(ListOutcome::Complete));
    assert_eq!(next("3f 45 3f aa 01 82"), Err(DecodeError::SizeUpdateBeyondLimit));
    assert_eq!(next("20 be"), Err(DecodeError::IndexBeyondTable));
    assert_eq!(next("3f 45 be"), Ok(ListOutcome::Complete));
    // A block without fields puts the demand off.
    let mut decoder = reduced();
    assert_eq!(decoder.decode(&[], &NO_LIMITS, &mut FieldList::new()), Ok(ListOutcome::Complete));
    let error = decoder.decode(&[0x82], &NO_LIMITS, &mut FieldList::new());
    assert_eq!(error, Err(DecodeError::SizeUpdateMissing));
}

#[test]
fn settings_that_do_not_go_below_what_is_used_demand_nothing() {
    let mut decoder = Decoder::new(65536);
    decoder.set_max_table_size(65536);
    decoder.set_max_table_size(4096);
    let outcome = decoder.decode(&[0x82], &NO_LIMITS, &mut FieldList::new());
    assert_eq!(outcome, Ok(ListOutcome::Complete));
}

#[test]
fn a_smaller_table_holds_from_the_acknowledgement_on() {
    let mut decoder = Decoder::new(0);
    let mut out = FieldList::new();
    assert!(decoder.decode(&hex("4001 6101 62 be"), &NO_LIMITS, &mut out).is_ok());
    decoder.set_max_table_size(0);
    assert_eq!(decoder.table_len(), 0);
    assert!(decoder.decode(&hex("20 4001 6101 62"), &NO_LIMITS, &mut out).is_ok());
    assert_eq!(decoder.table_len(), 0);
}

#[test]
fn a_field_may_name_the_entry_that_it_evicts() {
    let mut decoder = Decoder::new(4096);
    let mut out = FieldList::new();
    // A table for one entry of 40 octets: name "abcd" with a new value each time.
    let block = hex("3f 09 40 04 61626364 04 31313131 7e 04 32323232 7e 04 33333333");
    decoder.decode(&block, &NO_LIMITS, &mut out).unwrap();
    assert_eq!(text(&out), ["abcd: 1111", "abcd: 2222", "abcd: 3333"]);
    assert_eq!(decoder.table_entries().count(), 1);
}

#[test]
fn a_field_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(4096);
    let mut out = FieldList::new();
    let block = [&hex("3f 09 40 01 61 01 62 40 01 61 0a")[..], &[b'v'; 10]].concat();
    decoder.decode(&block, &NO_LIMITS, &mut out).unwrap();
    assert_eq!(out.len(), 2);
    assert_eq!(decoder.table_len(), 0);
}

#[test]
fn never_indexed_fields_and_credentials_are_sensitive() {
    let mut decoder = Decoder::new(4096);
    let mut out = FieldList::new();
    // x: y never indexed; x: y without indexing; cookie: z indexed by a careless peer, twice.
    let block = hex("10 01 78 01 79 00 01 78 01 79 60 01 7a be");
    decoder.decode(&block, &NO_LIMITS, &mut out).unwrap();
    let sensitive: Vec<bool> = out.iter().map(|field| field.flags.is_sensitive()).collect();
    assert_eq!(sensitive, [true, false, true, true]);
}

#[test]
fn references_keep_what_was_found_out_about_a_field() {
    let mut decoder = Decoder::new(4096);
    let mut out = FieldList::new();
    // "X-bin: a\n" enters; then it is referred to; then its name is, with a valid value.
    let block = hex("40 05 582d62696e 02 610a be 7e 01 61 be bf");
    decoder.decode(&block, &NO_LIMITS, &mut out).unwrap();
    let flags: Vec<(bool, bool, bool)> = out
        .iter()
        .map(|field| field.flags)
        .map(|flags| (flags.is_name_valid(), flags.is_value_valid(), flags.is_binary()))
        .collect();
    let bad = (false, false, true);
    let name_only = (false, true, true);
    assert_eq!(flags, [bad, bad, name_only, name_only, bad]);
}

/// What a block of one entry and many references to it does under limits.
fn bomb(limits: ListLimits) -> (FieldList, ListOutcome, Decoder) {
    let mut block = hex("40 01 61 7f a1 1e");
    block.extend_from_slice(&[b'v'; 4000]);
    block.resize(block.len() + 5000, 0xbe);
    block.extend_from_slice(&hex("40 01 62 01 63"));
    let mut decoder = Decoder::new(4096);
    let mut out = FieldList::new();
    let outcome = decoder.decode(&block, &limits, &mut out).unwrap();
    (out, outcome, decoder)
}

#[test]
fn the_list_stops_at_its_size_and_the_table_stays_in_step() {
    let size = 4000 + 1 + 32;
    for fitting in 1..5 {
        for (max_size, len) in [(size * fitting, fitting), (size * fitting - 1, fitting - 1)] {
            let (out, outcome, decoder) =
                bomb(ListLimits { max_size: max_size as u32, max_fields: 128 });
            assert_eq!(outcome, ListOutcome::TooLarge);
            assert_eq!(out.len(), len);
            assert!(out.size() <= max_size);
            // The field after all the references is in the table, in front of the large one.
            assert_eq!(decoder.table_size(), size + 34);
            assert!(out.heap_bytes() <= 2 * (max_size + 4096), "{}", out.heap_bytes());
        }
    }
}

#[test]
fn the_list_stops_at_its_number_of_fields() {
    let block = vec![0x82; 5000];
    for max_fields in [0, 1, 128] {
        let mut out = FieldList::new();
        let limits = ListLimits { max_size: u32::MAX, max_fields };
        let outcome = Decoder::new(4096).decode(&block, &limits, &mut out);
        assert_eq!(outcome, Ok(ListOutcome::TooManyFields));
        assert_eq!(out.len(), max_fields as usize);
        let outcome = Decoder::new(4096).decode(
            &block[..max_fields as usize],
            &limits,
            &mut FieldList::new(),
        );
        assert_eq!(outcome, Ok(ListOutcome::Complete));
    }
}

#[test]
fn no_field_follows_one_that_was_left_out() {
    // A large field between two small ones.
    let block = [&hex("82 04 64")[..], &[b'p'; 100], &hex("82")].concat();
    let mut out = FieldList::new();
    let limits = ListLimits { max_size: 100, max_fields: 10 };
    let outcome = Decoder::new(4096).decode(&block, &limits, &mut out);
    assert_eq!(outcome, Ok(ListOutcome::TooLarge));
    assert_eq!(text(&out), [":method: GET"]);
}

#[test]
fn huffman_strings_are_measured_before_they_are_refused() {
    // Twelve bytes of code that may be 19 bytes of text but are 15.
    let block = hex("41 8c f1e3c2e5f23a6ba0ab90f4ff");
    let size = 10 + 15 + 32;
    for (max_size, outcome) in [(size, ListOutcome::Complete), (size - 1, ListOutcome::TooLarge)] {
        let mut out = FieldList::new();
        let limits = ListLimits { max_size, max_fields: 10 };
        let mut decoder = Decoder::new(4096);
        assert_eq!(decoder.decode(&block, &limits, &mut out), Ok(outcome));
        assert_eq!(out.is_empty(), outcome == ListOutcome::TooLarge);
        assert_eq!(decoder.table_size(), size as usize);
    }
}

#[test]
fn a_string_beyond_the_limit_is_not_copied_however_long() {
    for first in [0x00, 0x40] {
        for huffman in [0x00, 0x80] {
            // A megabyte of "0", raw or as codes of five zero bits, 8 of them in 5 bytes.
            let fill = if huffman == 0 { b'0' } else { 0 };
            let mut block = vec![first, 0x01, b'a'];
            integer::encode(1_000_000, 7, huffman, &mut block);
            block.resize(block.len() + 1_000_000, fill);
            block.push(0x82);
            let mut out = FieldList::new();
            let mut decoder = Decoder::new(4096);
            let outcome = decoder.decode(&block, &ListLimits::default(), &mut out);
            assert_eq!(outcome, Ok(ListOutcome::TooLarge));
            assert!(out.is_empty() && out.heap_bytes() < 1024, "{} bytes", out.heap_bytes());
            assert_eq!(decoder.heap_bytes(), 0);
        }
    }
}

#[test]
fn a_length_of_4_gib_is_refused_before_anything_is_read() {
    for string in ["7f 80 ff ff ff 0f", "ff 80 ff ff ff 0f"] {
        for field in [format!("00 {string}"), format!("40 01 61 {string}"), format!("04 {string}")]
        {
            let mut out = FieldList::new();
            let error = Decoder::new(4096).decode(&hex(&field), &NO_LIMITS, &mut out);
            assert_eq!(error, Err(DecodeError::Truncated), "{field}");
            assert!(out.heap_bytes() < 1024);
        }
    }
}

#[test]
fn the_table_takes_half_as_much_again_as_its_size_whatever_fills_it() {
    // A thousand fields of each length; short ones make many entries, long ones many bytes.
    for len in [0, 1, 30, 100, 1000, 4000] {
        let mut decoder = Decoder::new(4096);
        let mut block = Vec::new();
        for nth in 0..1000u32 {
            block.clear();
            block.extend_from_slice(&[0x40, 0x00]);
            integer::encode(len, 7, 0, &mut block);
            block.resize(block.len() + len as usize, nth as u8);
            decoder.decode(&block, &NO_LIMITS, &mut FieldList::new()).unwrap();
            assert!(decoder.table_size() <= 4096);
            assert!(decoder.heap_bytes() <= 4096 + 2048, "{} bytes", decoder.heap_bytes());
        }
    }
}

#[test]
fn limits_count_what_the_list_held_before() {
    let mut out = FieldList::new();
    out.push(b"a", b"b");
    let limits = ListLimits { max_size: u32::MAX, max_fields: 2 };
    assert_eq!(Decoder::new(0).decode(&[0x82], &limits, &mut out), Ok(ListOutcome::Complete));
    assert_eq!(Decoder::new(0).decode(&[0x82], &limits, &mut out), Ok(ListOutcome::TooManyFields));
}

#[test]
fn the_generation_changes_with_the_table_alone() {
    let mut decoder = Decoder::new(4096);
    let mut out = FieldList::new();
    let mut changes = |decoder: &mut Decoder, block: &str| {
        let before = decoder.generation();
        decoder.decode(&hex(block), &NO_LIMITS, &mut out).unwrap();
        decoder.generation() != before
    };
    assert!(!changes(&mut decoder, "82 04 01 61 10 01 62 01 63"));
    assert!(changes(&mut decoder, "40 01 62 01 63"));
    assert!(!changes(&mut decoder, "be 82"));
    assert!(!changes(&mut decoder, "3f e1 1f be"));
    assert!(changes(&mut decoder, "3f e0 1f be"));
    let before = decoder.generation();
    decoder.set_max_table_size(4096);
    assert_eq!(decoder.generation(), before);
    decoder.set_max_table_size(64);
    assert_ne!(decoder.generation(), before);
}

/// Names with tokens are recognised as they stand in the block; they are found no less, and judged no less.
#[test]
fn a_known_name_decodes_alike_however_it_is_spelt_and_wherever_the_block_ends() {
    for index in 1..=static_table::LEN {
        let entry = static_table::entry(index).unwrap();
        let name = &entry.text[..usize::from(entry.name_len)];
        let mut coded = Vec::new();
        assert!(huffman::encode(name, 4 * name.len(), &mut coded));
        let plain = [&[0, name.len() as u8], name, &[0]].concat();
        let compressed = [&[0, 0x80 | coded.len() as u8], &coded[..], &[0]].concat();
        for block in [&plain, &compressed] {
            for follows in [0, 3, 40] {
                let block = [&block[..], &vec![0x82; follows]].concat();
                let mut out = FieldList::new();
                Decoder::new(4096).decode(&block, &NO_LIMITS, &mut out).unwrap();
                let field = out.get(0).unwrap();
                let mut pushed = FieldList::new();
                pushed.push(name, b"");
                assert_eq!(Some(field), pushed.get(0), "{name:?} and {follows} more");
                assert_eq!(out.len(), 1 + follows);
            }
        }
        // The last bit is padding, or of the last symbol.
        let mut wrong = compressed.clone();
        wrong[1 + coded.len()] ^= 1;
        let mut out = FieldList::new();
        match Decoder::new(4096).decode(&wrong, &NO_LIMITS, &mut out) {
            Ok(_) => assert_ne!(out.get(0).unwrap().name, name),
            Err(error) => assert_eq!(error, DecodeError::HuffmanPaddingNotOnes, "{name:?}"),
        }
    }
}

/// Blocks that are mostly valid, so that they get far.
fn likely_block() -> impl Strategy<Value = Vec<u8>> {
    let string = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|text| {
            let mut string = vec![text.len() as u8];
            string.extend_from_slice(&text);
            string
        }),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|text| {
            let mut coded = Vec::new();
            assert!(huffman::encode(&text, 4 * text.len(), &mut coded));
            let mut string = Vec::new();
            integer::encode(coded.len() as u32, 7, 0x80, &mut string);
            string.extend_from_slice(&coded);
            string
        }),
    ];
    let literal = |pattern: &'static [u8], string: BoxedStrategy<Vec<u8>>| {
        (prop::sample::select(pattern), string.clone(), string)
            .prop_map(|(first, name, value)| [vec![first], name, value].concat())
    };
    let string = string.boxed();
    let field = prop_oneof![
        3 => (0x80..0xc8u8).prop_map(|first| vec![first]),
        3 => literal(&[0x40, 0x00, 0x10], string.clone()),
        3 => (prop::sample::select(vec![0x41u8, 0x60, 0x7e, 0x01, 0x1e]), string)
            .prop_map(|(first, value)| [vec![first], value].concat()),
        1 => (0x20..0x3fu8).prop_map(|first| vec![first]),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(field, 0..20).prop_map(|fields| fields.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_exceed_a_limit(
        blocks in prop::collection::vec(
            prop_oneof![prop::collection::vec(any::<u8>(), 0..200), likely_block()],
            1..6,
        ),
        max_size in 0..2000u32,
        max_fields in 0..20u32,
        table in 0..5000u32,
    ) {
        let limits = ListLimits { max_size, max_fields };
        let (mut limited, mut free) = (Decoder::new(table), Decoder::new(table));
        limited.set_max_table_size(table);
        free.set_max_table_size(table);
        for block in blocks {
            let (mut some, mut all) = (FieldList::new(), FieldList::new());
            let found = limited.decode(&block, &limits, &mut some);
            let wanted = free.decode(&block, &NO_LIMITS, &mut all);
            // Limits change what is kept and nothing else.
            prop_assert_eq!(found.is_ok(), wanted.is_ok());
            prop_assert!(limited.table_entries().eq(free.table_entries()));
            prop_assert!(limited.table_size() <= table.max(4096) as usize);
            prop_assert!(some.size() <= max_size as usize && some.len() <= max_fields as usize);
            prop_assert!(some.iter().eq(all.iter().take(some.len())));
            prop_assert_eq!(found == Ok(ListOutcome::Complete), found.is_ok() && some == all);
            // Whatever was kept is flagged as if the application had pushed it.
            for field in &some {
                let mut pushed = FieldList::new();
                match field.flags.is_sensitive() {
                    true => pushed.push_sensitive(field.name, field.value),
                    false => pushed.push(field.name, field.value),
                }
                prop_assert_eq!(pushed.get(0), Some(field));
            }
            if let Err(error) = found {
                prop_assert_eq!(Err(error), wanted);
                break;
            }
        }
    }
}

#[test]
fn a_decoder_tells_how_many_entries_it_holds_and_gives_back_what_they_do_not_need() {
    let mut decoder = Decoder::new(4096);
    assert_eq!((decoder.table_len(), decoder.heap_bytes()), (0, 0));
    let mut list = FieldList::new();
    for n in 0..20u8 {
        // A literal with incremental indexing and a name of its own.
        let block = [0x40, 1, b'a' + n, 3, b'1', b'2', b'3'];
        decoder.decode(&block, &ListLimits::default(), &mut list).unwrap();
        assert_eq!(decoder.table_len(), usize::from(n) + 1);
        assert_eq!(decoder.table_entries().count(), decoder.table_len());
    }
    let held = decoder.heap_bytes();
    assert!(held >= 20 * 4);
    decoder.shrink_idle();
    assert!((20 * 4..held).contains(&decoder.heap_bytes()), "{held} {}", decoder.heap_bytes());
    assert_eq!(decoder.table_len(), 20);
}
