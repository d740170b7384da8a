//! Echo on one thread of our own: `our-server ADDRESS`.

use std::rc::Rc;

use benches::ours::echo::register_echo;
use benches::ours::stubs::Echoing;
use grpc_monoio::{WorkerOptions, Workers};

fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .and_then(|address| address.parse().ok())
        .expect("an address to listen on");
    let workers = Workers::start(address, WorkerOptions::default().threads(1), |router| {
        register_echo(router, Rc::new(Echoing))
    })?;
    workers.wait();
    Ok(())
}
