//! Echo on one thread of our own, for gRPC-Web over HTTP/1.1 too: `our-web-server ADDRESS`.

use std::rc::Rc;

use benches::ours::echo::register_echo;
use benches::ours::streams::limits;
use benches::ours::stubs::Echoing;
use grpc_monoio::{WorkerOptions, Workers};
use grpc_service::ServerOptions;
use grpc_web::Web;

fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .and_then(|address| address.parse().ok())
        .expect("an address to listen on");
    let server = ServerOptions::new(limits()).expect("consistent limits");
    let options = WorkerOptions::default().threads(1).server(server).web(Web::new());
    let workers = Workers::start(address, options, |router| {
        register_echo(router, Rc::new(Echoing));
    })?;
    workers.wait();
    Ok(())
}
