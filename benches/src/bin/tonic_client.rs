//! Work for a server, over tonic on one current-thread runtime:
//! `tonic-client ADDRESS WORK BODY CONNECTIONS STREAMS MILLISECONDS`.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use benches::peers::tonic::{endpoint, work};
use benches::work::{Job, Measured};

async fn run(address: &str, job: Job, time: Duration) -> Result<(), Box<dyn Error>> {
    let done = Arc::new(AtomicU64::new(0));
    for _ in 0..job.connections {
        let channel = endpoint(address)?.connect().await?;
        for _ in 0..job.streams {
            let done = Arc::clone(&done);
            // One thread counts, so an addition need not be atomic.
            let count = move || done.store(done.load(Relaxed) + 1, Relaxed);
            let work = work(channel.clone(), job.work, job.body, u64::MAX, count);
            tokio::spawn(async {
                if let Err(status) = work.await {
                    eprintln!("a stream ended: {status:?}");
                }
                std::process::exit(1);
            });
        }
    }
    tokio::time::sleep(time / 4).await;
    let measured = Measured::start(done.load(Relaxed));
    tokio::time::sleep(time).await;
    measured.stop(done.load(Relaxed));
    // The streams have no end.
    std::process::exit(0);
}

fn main() -> Result<(), Box<dyn Error>> {
    let (address, job, time) = Job::from_arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&address, job, time))
}
