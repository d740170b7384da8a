//! Work for a server, on one thread of our own: `our-client ADDRESS WORK BODY CONNECTIONS STREAMS MILLISECONDS`.

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use benches::ours::streams::{limits, work};
use benches::work::{Done, Job, Measured};
use grpc_monoio::{MonoioHost, TcpConnector, block_on};
use grpc_service::{Channel, ChannelOptions};

async fn run(address: &str, job: Job, time: Duration) -> Result<(), Box<dyn Error>> {
    let host = MonoioHost::new();
    let connector = TcpConnector::new(Rc::clone(&host));
    let options = ChannelOptions::new(limits())?;
    let done = Done::default();
    for _ in 0..job.connections {
        let channel = Channel::connect(address, &options, Rc::clone(&host), &connector).await?;
        for _ in 0..job.streams {
            let work = work(channel.clone(), job.work, job.body, u64::MAX, done.clone());
            host.spawn(Box::pin(async {
                if let Err(status) = work.await {
                    eprintln!("a stream ended: {status:?}");
                }
                std::process::exit(1);
            }));
        }
    }
    host.timer(host.now() + time / 4).await;
    let measured = Measured::start(done.messages());
    host.timer(host.now() + time).await;
    measured.stop(done.messages());
    // The streams have no end.
    std::process::exit(0);
}

fn main() -> Result<(), Box<dyn Error>> {
    let (address, job, time) = Job::from_arguments()?;
    block_on(run(&address, job, time))?
}
