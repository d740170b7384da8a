//! The puppet of `proto/interop.proto` on our stack:
//! `interop_server ADDRESS [THREADS] [--compress=ENCODING...] [--max-age-ms=N]`.
//!
//! It takes requests in every encoding that was compiled in, and with `--compress` sends its replies in the first of
//! those that is accepted. With `--max-age-ms` its connections are told to go at that age. The environment chooses
//! the adapter and TLS, see [`Setup`].
//!
//! Prints `listening on ADDRESS` when it does, with the port it was given if it asked for 0.

use std::rc::Rc;
use std::time::Duration;

use grpc_monoio::MonoioHost;
use grpc_proto::Limits;
use grpc_service::{Compression, Encoding, ServerOptions};
use grpc_tokio::TokioHost;
use tests::interop::puppet::Puppet;
use tests::interop::setup::Setup;
use tests::testing::register_interop;

/// Serves on one adapter: they have the same names, and no trait in common.
macro_rules! serve {
    ($adapter:ident, $host:ident, $setup:expr, $address:expr, $threads:expr, $server:expr) => {{
        let options = $adapter::WorkerOptions::default().threads($threads).server($server);
        #[cfg(feature = "tls")]
        let options = match $setup.server_tls()? {
            Some(tls) => options.tls(tls),
            None => options,
        };
        let workers = $adapter::Workers::start($address, options, |router| {
            register_interop(router, Rc::new(Puppet::new($host::new())))
        })?;
        println!("listening on {}", workers.address());
        workers.wait();
    }};
}

fn main() -> std::io::Result<()> {
    let (flags, arguments): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let mut arguments = arguments.into_iter();
    let address =
        arguments.next().and_then(|address| address.parse().ok()).expect("an address to listen on");
    let threads =
        arguments.next().map_or(1, |threads| threads.parse().expect("a number of threads"));
    let mut limits = Limits::default();
    let mut compression = Compression::none().accept_all();
    for flag in &flags {
        if let Some(name) = flag.strip_prefix("--compress=") {
            let encoding = Encoding::from_name(name).expect("an encoding that was compiled in");
            compression = compression.send(encoding);
        } else if let Some(age) = flag.strip_prefix("--max-age-ms=") {
            let age = age.parse().expect("a number of milliseconds");
            limits.max_age = Some(Duration::from_millis(age));
        } else {
            panic!("unknown: {flag}");
        }
    }
    let server = ServerOptions::new(limits).expect("consistent limits").compression(compression);
    let setup = Setup::from_env()?;
    if setup.tokio {
        serve!(grpc_tokio, TokioHost, setup, address, threads, server);
    } else {
        serve!(grpc_monoio, MonoioHost, setup, address, threads, server);
    }
    Ok(())
}
