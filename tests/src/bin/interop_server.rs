//! The puppet of `proto/interop.proto` on our stack: `interop_server ADDRESS [THREADS]`.
//!
//! Prints `listening on ADDRESS` when it does, with the port it was given if it asked for 0.

use std::rc::Rc;

use grpc_monoio::{MonoioHost, WorkerOptions, Workers};
use tests::interop::puppet::Puppet;
use tests::testing::register_interop;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address =
        arguments.next().and_then(|address| address.parse().ok()).expect("an address to listen on");
    let threads =
        arguments.next().map_or(1, |threads| threads.parse().expect("a number of threads"));
    let options = WorkerOptions::default().threads(threads);
    let workers = Workers::start(address, options, |router| {
        register_interop(router, Rc::new(Puppet::new(MonoioHost::new())))
    })?;
    println!("listening on {}", workers.address());
    workers.wait();
    Ok(())
}
