//! One client and one server in memory, no sockets, 64 calls in flight: nanoseconds an exchange, both ends together.

use std::time::Duration;

use benches::Bench;
use benches::exchange::BODY_SIZES;

fn main() {
    let bench =
        Bench::new("core", "ns a call, client and server together", 11, Duration::from_millis(60));
    for varying in [false, true] {
        for body in BODY_SIZES {
            let name = if varying {
                format!("{body} B, timeout and trace id")
            } else {
                format!("{body} B")
            };
            if !bench.selects(&name) {
                continue;
            }
            let mut core = benches::ours::core::Pair::new(body, varying);
            let mut stubs = benches::ours::stubs::Pair::new(body, varying);
            let case = bench
                .case(name)
                .ours("core", |calls| core.run(calls))
                .ours("stubs", |calls| stubs.run(calls));
            let mut layered = (!varying).then(|| benches::ours::stubs::Pair::layered(body));
            let case = match &mut layered {
                Some(layered) => case.ours("stubs, five layers", |calls| layered.run(calls)),
                None => case,
            };
            #[cfg(feature = "peers")]
            let (mut h2, mut nghttp2) = (
                benches::peers::h2::Pair::new(body, varying),
                benches::peers::nghttp2::Pair::new(body, varying),
            );
            #[cfg(feature = "peers")]
            let case =
                case.peer("h2", |calls| h2.run(calls)).peer("nghttp2", |calls| nghttp2.run(calls));
            case.run();
        }
    }
}
