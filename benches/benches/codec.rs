//! The public data sets: nanoseconds to decode, to encode, and to find the size of a message, the messages of a set in
//! turn.
//!
//! Our decoder has three rows. `warm` reuses one arena, as a server does; `fresh` makes a new one for each message;
//! `copied` first copies the message into the warm arena, as for a handler that may wait. `copy alone` is that copy and
//! no decoding: the part of `copied` that no decoder changes.

#[cfg(protobuf_benchmarks)]
fn main() {
    sets::run();
}

#[cfg(not(protobuf_benchmarks))]
fn main() {
    println!("skipped: the data was absent when this was built");
}

/// Does `work` with the items in turn, as often as asked; the closure keeps its place between rounds.
#[cfg(protobuf_benchmarks)]
fn in_turn<'a, T>(items: &'a [T], mut work: impl FnMut(&'a T) + 'a) -> Box<dyn FnMut(u64) + 'a> {
    let mut next = items.iter().cycle();
    Box::new(move |times| {
        for _ in 0..times {
            work(std::hint::black_box(next.next().expect("a set is not empty")));
        }
    })
}

/// Makes room for a message: behind those before it, as in a connection's output, up to 16 KiB.
///
/// Where a message is written relative to where it lies decides whether loads seem to depend on stores that agree in the
/// lower twelve bits of their address. With one place for all, that is luck, and up to a third of the time.
#[cfg(protobuf_benchmarks)]
fn behind(out: &mut Vec<u8>) -> &mut Vec<u8> {
    if out.len() >= 16 << 10 {
        out.clear();
    }
    out
}

#[cfg(protobuf_benchmarks)]
mod sets {
    use std::hint::black_box;
    use std::time::Duration;

    use benches::{Bench, dataset};
    use grpc_arena::{Arena, DecodeLimits, Encode, Schema, SizeCache};

    use super::{behind, in_turn};

    pub(super) fn run() {
        let bench = Bench::new(
            "codec",
            "ns a message, to decode, encode or measure it",
            11,
            Duration::from_millis(60),
        );
        macro_rules! sets {
            ($($name:literal: $($message:ident)::+, $($view:ident)::+;)*) => {$({
                use benches::ours::messages as ours;
                #[cfg(feature = "peers")]
                use benches::peers::messages::{buffa, prost};
                if let Some(payloads) = dataset::payloads($name) {
                    let decode = OurDecode::<ours::$($message)::+<'static>>::new(&payloads);
                    let case = bench.case(concat!($name, " decode")).ours("warm", decode.warm());
                    let case = case.ours("fresh", decode.fresh()).ours("copied", decode.copied());
                    let case = case.ours("copy alone", decode.copy_alone());
                    #[cfg(feature = "peers")]
                    let case = case
                        .peer("prost", super::peers::prost_decode::<prost::$($message)::+>(&payloads))
                        .peer("buffa", super::peers::buffa_decode::<buffa::$($message)::+>(&payloads))
                        .peer("buffa view", super::peers::view_decode::<buffa::$($view)::+<'_>>(&payloads));
                    case.run();

                    let arena = Arena::new();
                    let messages = decode_all::<ours::$($message)::+<'static>>(&payloads, &arena);
                    #[cfg(feature = "peers")]
                    let (for_prost, for_buffa) = (
                        super::peers::prost_all::<prost::$($message)::+>(&payloads),
                        super::peers::buffa_all::<buffa::$($message)::+>(&payloads),
                    );
                    let case = bench.case(concat!($name, " encode")).ours("ours", encode(&messages));
                    #[cfg(feature = "peers")]
                    let case = case
                        .peer("prost", super::peers::prost_encode(&for_prost))
                        .peer("buffa", super::peers::buffa_encode(&for_buffa));
                    case.run();

                    let case = bench.case(concat!($name, " size")).ours("ours", size(&messages));
                    #[cfg(feature = "peers")]
                    let case = case
                        .peer("prost", super::peers::prost_size(&for_prost))
                        .peer("buffa", super::peers::buffa_size(&for_buffa));
                    case.run();
                }
            })*};
        }
        sets! {
            "dataset.google_message1_proto3":
                benchmarks::proto3::GoogleMessage1, benchmarks::proto3::GoogleMessage1View;
            "dataset.google_message2": benchmarks::proto2::GoogleMessage2, benchmarks::proto2::GoogleMessage2View;
            "api_response": bench::ApiResponse, bench::ApiResponseView;
            "log_record": bench::LogRecord, bench::LogRecordView;
            "analytics_event": bench::AnalyticsEvent, bench::AnalyticsEventView;
            "media_frame": bench::MediaFrame, bench::MediaFrameView;
        }
    }

    type Work<'a> = Box<dyn FnMut(u64) + 'a>;

    struct OurDecode<'a, M> {
        payloads: &'a [Vec<u8>],
        message: std::marker::PhantomData<M>,
    }

    impl<'a, M: Schema> OurDecode<'a, M> {
        fn new(payloads: &'a [Vec<u8>]) -> Self {
            Self { payloads, message: std::marker::PhantomData }
        }

        fn warm(&self) -> Work<'a> {
            let mut arena = Arena::new();
            in_turn(self.payloads, move |bytes| {
                black_box(
                    &M::decode(bytes, &arena, &DecodeLimits::DEFAULT).expect("a valid message"),
                );
                arena.reset();
            })
        }

        fn fresh(&self) -> Work<'a> {
            in_turn(self.payloads, move |bytes| {
                let arena = Arena::new();
                black_box(
                    &M::decode(bytes, &arena, &DecodeLimits::DEFAULT).expect("a valid message"),
                );
            })
        }

        fn copied(&self) -> Work<'a> {
            let mut arena = Arena::new();
            in_turn(self.payloads, move |bytes| {
                let bytes = arena.alloc_slice(bytes);
                black_box(
                    &M::decode(bytes, &arena, &DecodeLimits::DEFAULT).expect("a valid message"),
                );
                arena.reset();
            })
        }

        fn copy_alone(&self) -> Work<'a> {
            let mut arena = Arena::new();
            in_turn(self.payloads, move |bytes| {
                black_box(arena.alloc_slice(bytes));
                arena.reset();
            })
        }
    }

    fn decode_all<'a, M: Schema>(payloads: &'a [Vec<u8>], arena: &'a Arena) -> Vec<M::View<'a>> {
        let decode = |bytes: &'a Vec<u8>| {
            M::decode(bytes, arena, &DecodeLimits::DEFAULT).expect("a valid message")
        };
        payloads.iter().map(decode).collect()
    }

    fn encode<'a, M: Encode>(messages: &'a [M]) -> Work<'a> {
        let (mut cache, mut out) = (SizeCache::new(), Vec::new());
        in_turn(messages, move |message| {
            let out = behind(&mut out);
            let len = message.encoded_len(&mut cache);
            out.reserve(len);
            message.encode(&mut cache, out);
            black_box(&out);
        })
    }

    fn size<'a, M: Encode>(messages: &'a [M]) -> Work<'a> {
        let mut cache = SizeCache::new();
        in_turn(messages, move |message| {
            black_box(message.encoded_len(&mut cache));
        })
    }
}

#[cfg(all(feature = "peers", protobuf_benchmarks))]
mod peers {
    use std::hint::black_box;

    use super::{behind, in_turn};

    type Work<'a> = Box<dyn FnMut(u64) + 'a>;

    pub(super) fn prost_decode<'a, M: prost::Message + Default + 'a>(
        payloads: &'a [Vec<u8>],
    ) -> Work<'a> {
        in_turn(payloads, |bytes| drop(black_box(M::decode(&bytes[..]).expect("a valid message"))))
    }

    pub(super) fn buffa_decode<'a, M: buffa::Message + 'a>(payloads: &'a [Vec<u8>]) -> Work<'a> {
        in_turn(payloads, |bytes| {
            drop(black_box(M::decode_from_slice(bytes).expect("a valid message")))
        })
    }

    pub(super) fn view_decode<'a, M: buffa::MessageView<'a> + 'a>(
        payloads: &'a [Vec<u8>],
    ) -> Work<'a> {
        in_turn(payloads, |bytes| drop(black_box(M::decode_view(bytes).expect("a valid message"))))
    }

    pub(super) fn prost_all<M: prost::Message + Default>(payloads: &[Vec<u8>]) -> Vec<M> {
        payloads.iter().map(|bytes| M::decode(&bytes[..]).expect("a valid message")).collect()
    }

    pub(super) fn buffa_all<M: buffa::Message>(payloads: &[Vec<u8>]) -> Vec<M> {
        payloads.iter().map(|bytes| M::decode_from_slice(bytes).expect("a valid message")).collect()
    }

    pub(super) fn prost_encode<M: prost::Message>(messages: &[M]) -> Work<'_> {
        let mut out = Vec::new();
        in_turn(messages, move |message| {
            let out = behind(&mut out);
            message.encode(out).expect("a vector grows");
            black_box(&out);
        })
    }

    pub(super) fn buffa_encode<M: buffa::Message>(messages: &[M]) -> Work<'_> {
        let (mut cache, mut out) = (buffa::SizeCache::new(), Vec::new());
        in_turn(messages, move |message| {
            let out = behind(&mut out);
            message.encode_with_cache(&mut cache, out);
            black_box(&out);
        })
    }

    pub(super) fn prost_size<M: prost::Message>(messages: &[M]) -> Work<'_> {
        in_turn(messages, |message| {
            black_box(message.encoded_len());
        })
    }

    pub(super) fn buffa_size<M: buffa::Message>(messages: &[M]) -> Work<'_> {
        let mut cache = buffa::SizeCache::new();
        in_turn(messages, move |message| {
            cache.clear();
            black_box(message.compute_size(&mut cache));
        })
    }
}
