//! The same bytes before our decoder, buffa's and prost's: the public data sets, whole, mutated and cut.
//!
//! With the feature `peers`, and where the data is present.

#![cfg(all(feature = "peers", protobuf_benchmarks))]

use benches::peers::messages::{buffa as theirs, prost as others};
use benches::{dataset, ours::messages as ours};
use grpc_arena::{Arena, DecodeLimits, Encode, Schema, SizeCache};

fn encode(message: &impl Encode) -> Vec<u8> {
    let (mut cache, mut out) = (SizeCache::new(), Vec::new());
    let len = message.encoded_len(&mut cache);
    message.encode(&mut cache, &mut out);
    assert_eq!(out.len(), len);
    out
}

/// A generator of numbers that need not be good, only the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// Our verdict is buffa's; and what we make of the bytes is, re-encoded, the same message to buffa and to prost as the
/// bytes themselves.
fn agree<M: Schema, B: buffa::Message + PartialEq, P: prost::Message + Default + PartialEq>(
    bytes: &[u8],
) -> bool {
    let arena = Arena::new();
    let our = M::decode(bytes, &arena, &DecodeLimits::DEFAULT);
    let their = B::decode_from_slice(bytes);
    match (our, their) {
        (Ok(our), Ok(their)) => {
            let again = encode(&our);
            let read = B::decode_from_slice(&again).expect("our encoding decodes");
            // Not a number is not equal to itself; its bytes are.
            assert!(read == their || read.encode_to_vec() == their.encode_to_vec(), "{bytes:x?}");
            if let Ok(other) = P::decode(bytes) {
                let read = P::decode(&again[..]).expect("our encoding decodes");
                assert!(
                    read == other || read.encode_to_vec() == other.encode_to_vec(),
                    "{bytes:x?}"
                );
            }
            true
        }
        (Err(_), Err(_)) => false,
        // A known number with another wire type is a field that is not known, says the specification; both refuse.
        (Ok(_), Err(error)) if error.to_string().contains("wire type mismatch") => true,
        (our, their) => panic!(
            "ours: {:?}; buffa: {:?}; {bytes:x?}",
            our.map(|_| ()).map_err(|error| error.to_string()),
            their.map(|_| ()).map_err(|error| error.to_string()),
        ),
    }
}

fn check<M: Schema, B: buffa::Message + PartialEq, P: prost::Message + Default + PartialEq>(
    set: &str,
) {
    let Some(payloads) = dataset::payloads(set) else { return };
    let mut numbers = Numbers(1);
    let (mut accepted, mut refused) = (0, 0);
    for payload in payloads.iter().cycle().take(300.min(payloads.len() * 100)) {
        assert!(agree::<M, B, P>(payload), "{set}: a message of the data set is refused");
        for _ in 0..if payload.len() > 20_000 { 2 } else { 20 } {
            let mut bytes = payload.clone();
            for _ in 0..=numbers.below(3) {
                let at = numbers.below(bytes.len());
                bytes[at] = numbers.below(256) as u8;
            }
            if numbers.below(4) == 0 {
                bytes.truncate(numbers.below(bytes.len()));
            }
            if agree::<M, B, P>(&bytes) { accepted += 1 } else { refused += 1 }
        }
    }
    println!("{set}: {accepted} mutations accepted, {refused} refused");
    assert!(accepted > 0 && refused > 0);
}

macro_rules! sets {
    ($($test:ident: $set:literal, $($message:ident)::+;)*) => {$(
        #[test]
        fn $test() {
            check::<
                ours::$($message)::+<'static>, theirs::$($message)::+, others::$($message)::+,
            >($set);
        }
    )*};
}

sets! {
    google_message1_is_the_same_to_all: "dataset.google_message1_proto3", benchmarks::proto3::GoogleMessage1;
    google_message2_is_the_same_to_all: "dataset.google_message2", benchmarks::proto2::GoogleMessage2;
    api_response_is_the_same_to_all: "api_response", bench::ApiResponse;
    log_record_is_the_same_to_all: "log_record", bench::LogRecord;
    analytics_event_is_the_same_to_all: "analytics_event", bench::AnalyticsEvent;
    media_frame_is_the_same_to_all: "media_frame", bench::MediaFrame;
}
