//! The server of gRPC's interop tests, with health checks, reflection and the puppet of the standard services.
//!
//! ```text
//! server --port=10000 [--runtime=monoio|tokio] [--use_tls=true --tls_cert_file=FILE --tls_key_file=FILE]
//! ```
//!
//! It prints `listening on ADDRESS`, and stops gracefully at SIGTERM.

use std::time::Duration;

use grpc_standard::health::{self, HealthReporter};
use grpc_standard::reflection::{self, Registry};
use interop::flags::Flags;
use interop::runtime::Served;
use interop::{puppet, puppeteer, service, testing};

/// Time for the calls in flight after a signal.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> Result<(), String> {
    let known = ["port", "runtime", "use_tls", "tls_cert_file", "tls_key_file"];
    let flags = Flags::of_process(&known)?;
    let reporter = HealthReporter::new();
    reporter.set_serving("grpc.testing.TestService");
    let sets = [
        testing::FILE_DESCRIPTOR_SET,
        puppeteer::FILE_DESCRIPTOR_SET,
        health::v1::FILE_DESCRIPTOR_SET,
    ];
    let registry = Registry::new(sets).map_err(|error| error.to_string())?;
    let served = Served::start(&flags, move |router| {
        service::register(router);
        puppet::register(router, &reporter);
        health::register(router, &reporter);
        reflection::register(router, &registry);
    })?;
    served.until_signal(GRACE)
}
