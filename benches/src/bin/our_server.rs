//! Echo and streams on one thread of our own: `our-server ADDRESS`.

use std::rc::Rc;

use benches::ours::echo::register_echo;
use benches::ours::streams::{Streaming, limits};
use benches::ours::streams_proto::register_streams;
use benches::ours::stubs::Echoing;
use grpc_monoio::{WorkerOptions, Workers};
use grpc_service::ServerOptions;

fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .and_then(|address| address.parse().ok())
        .expect("an address to listen on");
    let server = ServerOptions::new(limits()).expect("consistent limits");
    let options = WorkerOptions::default().threads(1).server(server);
    let workers = Workers::start(address, options, |router| {
        register_echo(router, Rc::new(Echoing));
        register_streams(router, Rc::new(Streaming));
    })?;
    workers.wait();
    Ok(())
}
