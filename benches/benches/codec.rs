//! Decoding the public data sets: nanoseconds a message, the messages of a set in turn.

use std::time::Duration;

use benches::{Bench, dataset};

fn main() {
    let bench = Bench::new("codec", "ns to decode a message", 11, Duration::from_millis(60));
    for set in SETS {
        if !bench.selects(set) {
            continue;
        }
        let Some(payloads) = dataset::payloads(set) else { continue };
        let case = bench.case(*set);
        #[cfg(all(feature = "peers", protobuf_benchmarks))]
        let case = case
            .peer("prost", peers::prost(set, &payloads))
            .peer("buffa view", peers::buffa_view(set, &payloads));
        let _ = &payloads;
        case.run();
    }
}

const SETS: &[&str] = &[
    "dataset.google_message1_proto3",
    "dataset.google_message2",
    "api_response",
    "log_record",
    "analytics_event",
    "media_frame",
];

/// Does `work` with the messages in turn, as often as asked; the closure keeps its place between rounds.
#[cfg(all(feature = "peers", protobuf_benchmarks))]
fn in_turn<'a>(
    payloads: &'a [Vec<u8>],
    mut work: impl FnMut(&'a [u8]) + 'a,
) -> Box<dyn FnMut(u64) + 'a> {
    let mut next = payloads.iter().cycle();
    Box::new(move |times| {
        for _ in 0..times {
            work(std::hint::black_box(next.next().expect("a set is not empty")));
        }
    })
}

#[cfg(all(feature = "peers", protobuf_benchmarks))]
mod peers {
    use std::hint::black_box;

    use ::buffa::MessageView;
    use ::prost::Message;
    use benches::peers::messages::{buffa, prost};

    use super::in_turn;

    type Work<'a> = Box<dyn FnMut(u64) + 'a>;

    pub(super) fn prost<'a>(set: &str, payloads: &'a [Vec<u8>]) -> Work<'a> {
        use prost::{bench, benchmarks};
        fn decode<'a, M: Message + Default + 'a>(payloads: &'a [Vec<u8>]) -> Work<'a> {
            in_turn(payloads, |bytes| drop(black_box(M::decode(bytes).expect("a valid message"))))
        }
        match set {
            "dataset.google_message1_proto3" => {
                decode::<benchmarks::proto3::GoogleMessage1>(payloads)
            }
            "dataset.google_message2" => decode::<benchmarks::proto2::GoogleMessage2>(payloads),
            "api_response" => decode::<bench::ApiResponse>(payloads),
            "log_record" => decode::<bench::LogRecord>(payloads),
            "analytics_event" => decode::<bench::AnalyticsEvent>(payloads),
            "media_frame" => decode::<bench::MediaFrame>(payloads),
            _ => unreachable!("every set has its message"),
        }
    }

    pub(super) fn buffa_view<'a>(set: &str, payloads: &'a [Vec<u8>]) -> Work<'a> {
        use buffa::{bench, benchmarks};
        fn decode<'a, M: MessageView<'a> + 'a>(payloads: &'a [Vec<u8>]) -> Work<'a> {
            in_turn(payloads, |bytes| {
                drop(black_box(M::decode_view(bytes).expect("a valid message")))
            })
        }
        match set {
            "dataset.google_message1_proto3" => {
                decode::<benchmarks::proto3::GoogleMessage1View<'_>>(payloads)
            }
            "dataset.google_message2" => {
                decode::<benchmarks::proto2::GoogleMessage2View<'_>>(payloads)
            }
            "api_response" => decode::<bench::ApiResponseView<'_>>(payloads),
            "log_record" => decode::<bench::LogRecordView<'_>>(payloads),
            "analytics_event" => decode::<bench::AnalyticsEventView<'_>>(payloads),
            "media_frame" => decode::<bench::MediaFrameView<'_>>(payloads),
            _ => unreachable!("every set has its message"),
        }
    }
}
