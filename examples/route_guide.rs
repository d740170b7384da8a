//! A route guide with all four kinds of call.
//!
//! ```text
//! cargo run --release --example route_guide                       both ends, over loopback
//! cargo run --release --example route_guide -- serve 0.0.0.0:50051
//! cargo run --release --example route_guide -- call 127.0.0.1:50051
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use examples::guide::{Guide, tour};
use examples::routeguide::register_route_guide;
use grpc_monoio::{MonoioHost, TcpConnector, WorkerOptions, Workers, block_on};
use grpc_service::{Channel, ChannelOptions};

fn serve(address: SocketAddr) -> std::io::Result<Workers> {
    Workers::start(address, WorkerOptions::default(), |router| {
        register_route_guide(router, Rc::new(Guide::default()));
    })
}

async fn call(address: &str) -> Result<(), Box<dyn Error>> {
    let host = MonoioHost::new();
    let connector = TcpConnector::new(Rc::clone(&host));
    let channel = Channel::connect(address, &ChannelOptions::default(), host, &connector).await?;
    tour(channel, |line| println!("{line}")).await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => {
            let workers = serve(address.parse()?)?;
            println!("serving {}", workers.address());
            workers.wait();
        }
        ["call", address] => block_on(call(address))??,
        [] => {
            let workers = serve("127.0.0.1:0".parse()?)?;
            block_on(call(&workers.address().to_string()))??;
            workers.stop(Duration::from_secs(1));
        }
        _ => return Err("usage: route_guide [serve ADDRESS | call ADDRESS]".into()),
    }
    Ok(())
}
