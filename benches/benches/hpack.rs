//! HPACK: the public stories, nanoseconds a field, and the blocks of gRPC calls, nanoseconds a block.

use std::hint::black_box;
use std::time::Duration;

use benches::Bench;
use benches::stories::{self, Story};
use grpc_proto::hpack::{Decoder, Encoder, FieldList, ListLimits, Token};

const LIMITS: ListLimits = ListLimits { max_size: 1 << 20, max_fields: 1 << 10 };

/// The folders whose blocks are decoded, after the encoder that made them.
const FOLDERS: &[&str] = &["nghttp2", "go-hpack", "python-hpack", "haskell-http2-linear-huffman"];

fn main() {
    let bench = Bench::new("hpack", "ns a field", 15, Duration::from_millis(40));
    for folder in FOLDERS {
        let name = format!("decode {folder}");
        if bench.selects(&name)
            && let Some(stories) = stories::read(folder)
        {
            let case = bench.case(name).ours("ours", decode_in_turn(&stories));
            #[cfg(feature = "peers")]
            let case = case.peer("nghttp2", peers::decode_in_turn(&stories));
            case.run();
        }
    }
    let name = "encode raw-data";
    if bench.selects(name)
        && let Some(stories) = stories::read("raw-data")
    {
        let case = bench
            .case(name)
            .ours("ours", encode_in_turn(&stories))
            .ours("ours, lists at hand", encode_lists_in_turn(&stories));
        #[cfg(feature = "peers")]
        let case = case.peer("nghttp2", peers::encode_in_turn(&stories));
        case.run();
        let ours = encoded_len(&stories);
        print!("{:<28} | ours {ours:.2}", "bytes a field");
        #[cfg(feature = "peers")]
        print!(" | nghttp2 {:.2}", peers::encoded_len(&stories));
        println!();
    }
    println!();

    let bench =
        Bench::new("hpack", "ns a block of a warm connection", 15, Duration::from_millis(20));
    for (name, varying) in [("request, 8 fields", false), ("request, 8 + 2 random", true)] {
        let calls = calls(varying);
        let case = bench.case(format!("encode {name}")).ours("ours", encode_calls(&calls));
        #[cfg(feature = "peers")]
        let case = case.peer("nghttp2", peers::encode_calls(&calls));
        case.run();
        let blocks = blocks(&calls);
        let case = bench.case(format!("decode {name}")).ours("ours", decode_calls(&blocks));
        #[cfg(feature = "peers")]
        let case = case.peer("nghttp2", peers::decode_calls(&blocks));
        case.run();
    }
}

/// Decodes story after story, as many fields as asked, each story from a fresh table.
fn decode_in_turn(stories: &[Story]) -> impl FnMut(u64) {
    let mut list = FieldList::new();
    let mut decoder = Decoder::new(4096);
    let mut blocks = cases(stories);
    move |fields| {
        let mut done = 0;
        while done < fields {
            let (first, case) = blocks.next().expect("stories without end");
            if first {
                decoder = Decoder::new(4096);
            }
            list.clear();
            decoder.decode(black_box(&case.wire), &LIMITS, &mut list).expect("a valid block");
            done += black_box(&list).len() as u64;
        }
    }
}

/// Makes lists of names and values and encodes them, as many fields as asked.
fn encode_in_turn(stories: &[Story]) -> impl FnMut(u64) {
    let mut list = FieldList::new();
    let mut encoder = Encoder::new();
    let mut block = Vec::new();
    let mut lists = cases(stories);
    move |fields| {
        let mut done = 0;
        while done < fields {
            let (first, case) = lists.next().expect("stories without end");
            if first {
                encoder = Encoder::new();
            }
            list.clear();
            for (name, value) in black_box(&case.headers) {
                list.push(name, value);
            }
            block.clear();
            encoder.encode(&list, &mut block);
            done += list.len() as u64;
            black_box(&block);
        }
    }
}

/// Encodes lists that are made beforehand, as many fields as asked.
fn encode_lists_in_turn(stories: &[Story]) -> impl FnMut(u64) {
    let lists: Vec<(bool, FieldList)> = stories
        .iter()
        .flat_map(|story| {
            let list = |case: &stories::Case| case.headers.iter().map(|(n, v)| (n, v)).collect();
            story.cases.iter().enumerate().map(move |(i, case)| (i == 0, list(case)))
        })
        .collect();
    let mut encoder = Encoder::new();
    let mut block = Vec::new();
    let mut next = 0;
    move |fields| {
        let mut done = 0;
        while done < fields {
            let (first, list) = black_box(&lists[next]);
            next = (next + 1) % lists.len();
            if *first {
                encoder = Encoder::new();
            }
            block.clear();
            encoder.encode(list, &mut block);
            done += list.len() as u64;
            black_box(&block);
        }
    }
}

/// How many bytes our encoder makes of a field, on average.
fn encoded_len(stories: &[Story]) -> f64 {
    let (mut bytes, mut fields) = (0, 0);
    for story in stories {
        let mut encoder = Encoder::new();
        for case in &story.cases {
            let list: FieldList = case.headers.iter().map(|(name, value)| (name, value)).collect();
            let mut block = Vec::new();
            encoder.encode(&list, &mut block);
            bytes += block.len();
            fields += list.len();
        }
    }
    bytes as f64 / fields as f64
}

/// The cases of all stories over and over; `true` with the first of each story.
fn cases(stories: &[Story]) -> impl Iterator<Item = (bool, &stories::Case)> {
    let cases = stories.iter().flat_map(|story| {
        let numbered = story.cases.iter().enumerate();
        numbered.map(|(i, case)| (i == 0, case))
    });
    cases.collect::<Vec<_>>().into_iter().cycle()
}

/// The fields of a call.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The heads of a few hundred calls of one method.
fn calls(varying: bool) -> Vec<Fields> {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    (0..256)
        .map(|_| {
            let mut fields: Vec<(&str, String)> = vec![
                (":method", "POST".into()),
                (":scheme", "http".into()),
                (":path", "/helloworld.Greeter/SayHello".into()),
                (":authority", "greeter.example:50051".into()),
                ("te", "trailers".into()),
                ("content-type", "application/grpc".into()),
                ("user-agent", "grpc-rust/0.1".into()),
                ("grpc-accept-encoding", "identity,gzip".into()),
            ];
            if varying {
                fields.push(("grpc-timeout", format!("{}u", next() % 100_000_000)));
                fields.push(("x-trace-id", format!("{:016x}", next())));
            }
            fields.into_iter().map(|(n, v)| (n.as_bytes().to_vec(), v.into_bytes())).collect()
        })
        .collect()
}

/// The calls as blocks, after the table has warmed up: the first call's block goes ahead.
fn blocks(calls: &[Fields]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut encoder = Encoder::new();
    let mut encode = |call: &Fields| {
        let list: FieldList = call.iter().map(|(name, value)| (name, value)).collect();
        let mut block = Vec::new();
        encoder.encode(&list, &mut block);
        block
    };
    let warm_up = encode(&calls[0]);
    (warm_up, calls.iter().map(encode).collect())
}

fn decode_calls((warm_up, blocks): &(Vec<u8>, Vec<Vec<u8>>)) -> impl FnMut(u64) {
    let mut decoder = Decoder::new(4096);
    let mut list = FieldList::new();
    decoder.decode(warm_up, &LIMITS, &mut list).expect("a valid block");
    let mut next = blocks.iter().cycle();
    move |times| {
        for _ in 0..times {
            let block = black_box(next.next().expect("blocks without end"));
            list.clear();
            decoder.decode(block, &LIMITS, &mut list).expect("a valid block");
            assert!(black_box(&list).find(Token::Path).is_some());
        }
    }
}

/// Encodes as a client does: the constant head is kept as a list, the rest is appended to a copy.
fn encode_calls(calls: &[Fields]) -> impl FnMut(u64) {
    let constant: FieldList = calls[0][..8].iter().map(|(name, value)| (name, value)).collect();
    let mut encoder = Encoder::new();
    let mut list = FieldList::new();
    let mut block = Vec::new();
    let mut next = calls.iter().cycle();
    move |times| {
        for _ in 0..times {
            let call = black_box(next.next().expect("calls without end"));
            list.clone_from(&constant);
            for (name, value) in &call[8..] {
                list.push(name, value);
            }
            block.clear();
            encoder.encode(&list, &mut block);
            black_box(&block);
        }
    }
}

#[cfg(feature = "peers")]
mod peers {
    use std::hint::black_box;

    use benches::peers::nghttp2_hpack::{Deflater, Fields, Inflater};
    use benches::stories::Story;

    use super::cases;

    pub(super) fn decode_in_turn(stories: &[Story]) -> impl FnMut(u64) {
        let mut inflater = Inflater::new();
        let mut blocks = cases(stories);
        move |fields| {
            let mut done = 0;
            while done < fields {
                let (first, case) = blocks.next().expect("stories without end");
                if first {
                    inflater = Inflater::new();
                }
                inflater.decode(black_box(&case.wire), |name, value| {
                    black_box((name, value));
                    done += 1;
                });
            }
        }
    }

    pub(super) fn encode_in_turn(stories: &[Story]) -> impl FnMut(u64) {
        let lists: Vec<_> = cases(stories)
            .take(stories.iter().map(|story| story.cases.len()).sum())
            .map(|(first, case)| (first, case.headers.len(), Fields::new(&case.headers)))
            .collect();
        let mut out = vec![0; 1 << 20];
        let mut deflater = Deflater::new();
        let mut next = 0;
        move |fields| {
            let mut done = 0;
            while done < fields {
                let (first, len, list) = black_box(&lists[next]);
                next = (next + 1) % lists.len();
                if *first {
                    deflater = Deflater::new();
                }
                black_box(deflater.encode(list, &mut out));
                done += *len as u64;
            }
        }
    }

    pub(super) fn encoded_len(stories: &[Story]) -> f64 {
        let mut out = vec![0; 1 << 20];
        let (mut bytes, mut fields) = (0, 0);
        for story in stories {
            let mut deflater = Deflater::new();
            for case in &story.cases {
                bytes += deflater.encode(&Fields::new(&case.headers), &mut out);
                fields += case.headers.len();
            }
        }
        bytes as f64 / fields as f64
    }

    pub(super) fn decode_calls((warm_up, blocks): &(Vec<u8>, Vec<Vec<u8>>)) -> impl FnMut(u64) {
        let mut inflater = Inflater::new();
        inflater.decode(warm_up, |_, _| {});
        let mut next = blocks.iter().cycle();
        move |times| {
            for _ in 0..times {
                let block = black_box(next.next().expect("blocks without end"));
                inflater.decode(block, |name, value| {
                    black_box((name, value));
                });
            }
        }
    }

    pub(super) fn encode_calls(calls: &[super::Fields]) -> impl FnMut(u64) {
        let lists: Vec<_> = calls.iter().map(|call| Fields::new(call)).collect();
        let mut out = vec![0; 1 << 16];
        let mut deflater = Deflater::new();
        let mut next = 0;
        move |times| {
            for _ in 0..times {
                black_box(deflater.encode(black_box(&lists[next]), &mut out));
                next = (next + 1) % lists.len();
            }
        }
    }
}
