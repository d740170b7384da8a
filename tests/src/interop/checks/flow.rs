//! Flow control for real: gigabytes through one connection, with the memory of both processes watched.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use grpc_arena::Arena;
use grpc_service::LocalFuture;

use super::{Outcome, Target, Wrong, checks, same, same_bytes};
use crate::interop::{crc32, pattern};
use crate::testing::{Empty, Request, Summary};

checks! {
    a_gigabyte_to_a_slow_reader_stays_in_bounds,
    a_gigabyte_into_a_slow_handler_stays_in_bounds,
    a_million_calls_beside_an_idle_stream_do_not_slow_down,
}

/// Larger than the base window of a stream, so that each message needs a reservation.
const MESSAGE: usize = 128 << 10;
const MESSAGES: u32 = 8192;
/// What a slow side waits for each message.
const PAUSE: Duration = Duration::from_millis(1);
/// After this many messages (64 MiB) memory has reached the size that it is to keep.
const WARM: u32 = 512;
/// What it may grow by after that.
const GROWTH_KIB: u64 = 8 << 10;
/// What another call may take meanwhile: far less than the gigabyte does, and more than a busy machine makes of it.
const PATIENCE: Duration = Duration::from_millis(500);

async fn a_gigabyte_to_a_slow_reader_stays_in_bounds(target: Target) -> Outcome {
    let mut watch = Watch::start(&target).await?;
    let mut arena = Arena::new();
    let request =
        Request { reply_count: MESSAGES, reply_size: Some(MESSAGE as u32), ..Request::EMPTY };
    let mut replies = target.stub().server_stream(&request).await?;
    let mut index = 0;
    while let Some(reply) = replies.next(&mut arena).await? {
        same("index", reply.index, index)?;
        same_bytes("payload", reply.payload, pattern(MESSAGE, index))?;
        index += 1;
        watch.message(index)?;
        target.sleep(PAUSE).await;
    }
    same("replies", index, MESSAGES)?;
    watch.finish().await
}

async fn a_gigabyte_into_a_slow_handler_stays_in_bounds(target: Target) -> Outcome {
    let mut watch = Watch::start(&target).await?;
    let arena = Arena::new();
    let mut requests = target.stub().client_stream().await?;
    let mut checksum = 0;
    for index in 0..MESSAGES {
        let payload = pattern(MESSAGE, index);
        checksum = crc32(checksum, payload);
        requests
            .send(&Request { payload, delay_ns: PAUSE.as_nanos() as u64, ..Request::EMPTY })
            .await?;
        watch.message(index)?;
    }
    let bytes = u64::from(MESSAGES) * MESSAGE as u64;
    let summary = requests.finish(&arena).await?;
    same(
        "summary",
        summary,
        Summary { messages: MESSAGES.into(), bytes, checksum, ..Summary::EMPTY },
    )?;
    watch.finish().await
}

async fn a_million_calls_beside_an_idle_stream_do_not_slow_down(target: Target) -> Outcome {
    const BLOCKS: usize = 20;
    const BLOCK: u32 = 50_000;
    const IN_FLIGHT: u32 = 50;
    let mut arena = Arena::new();
    let server = target.stub().counters(&Empty::default(), &arena).await?.pid;
    let mut idle = target.stub().bidi().await?;
    idle.send(&Request { reply_count: 1, ..Request::EMPTY }).await?;
    same("a reply", idle.next(&mut arena).await?.is_some(), true)?;
    let mut blocks = Vec::new();
    for _ in 0..BLOCKS {
        // Processor time, because other programs may want the processor too.
        let before = processor_ms(std::process::id())? + processor_ms(server)?;
        let tasks = (0..IN_FLIGHT).map(|_| -> LocalFuture<Outcome> {
            let target = target.clone();
            Box::pin(async move {
                let mut arena = Arena::new();
                for _ in 0..BLOCK / IN_FLIGHT {
                    arena.reset();
                    let payload = pattern(100, 0);
                    let reply =
                        target.stub().unary(&Request { payload, ..Request::EMPTY }, &arena).await?;
                    same_bytes("payload", reply.payload, payload)?;
                }
                Ok(())
            })
        });
        target.gather(tasks.collect()).await?;
        blocks.push(processor_ms(std::process::id())? + processor_ms(server)? - before);
    }
    idle.end();
    same("end", idle.next(&mut arena).await?, None)?;
    // The fastest of each half, and far apart: a block costs up to twice as much while others use the processor's other
    // thread. What grows with the calls that there were comes to far more.
    let (first, last) = blocks.split_at(BLOCKS / 2);
    let (first, last) = (first.iter().min(), last.iter().min());
    let (first, last) = (first.copied().unwrap_or(0), last.copied().unwrap_or(0));
    println!(
        "   {first} ms of both processes for the fastest block of the first half, {last} ms for that of the second"
    );
    match last as f64 <= first as f64 * 2.5 {
        true => Ok(()),
        false => Err(Wrong(format!("{first} ms in the first half, {last} ms later: {blocks:?}"))),
    }
}

/// Watches the memory of both processes, and calls on the same connection meanwhile.
struct Watch {
    server: u32,
    baseline: Option<(u64, u64)>,
    most: (u64, u64),
    calling: Rc<Calling>,
    target: Target,
}

#[derive(Default)]
struct Calling {
    stop: Cell<bool>,
    done: Cell<bool>,
    calls: Cell<u32>,
    slowest: Cell<Duration>,
    wrong: Cell<Option<Wrong>>,
}

impl Watch {
    async fn start(target: &Target) -> Result<Self, Wrong> {
        let arena = Arena::new();
        let server = target.stub().counters(&Empty::default(), &arena).await?.pid;
        let calling = Rc::new(Calling::default());
        let (inner, outer) = (target.clone(), Rc::clone(&calling));
        target.host.spawn(Box::pin(async move {
            while !outer.stop.get() {
                if let Err(wrong) = time_one(&inner, &outer).await {
                    outer.wrong.set(Some(wrong));
                    break;
                }
                inner.sleep(Duration::from_millis(5)).await;
            }
            outer.done.set(true);
        }));
        Ok(Self { server, baseline: None, most: (0, 0), calling, target: target.clone() })
    }

    /// Notes that so many messages have passed.
    fn message(&mut self, messages: u32) -> Outcome {
        if !messages.is_multiple_of(64) {
            return Ok(());
        }
        let now = (resident_kib(std::process::id())?, resident_kib(self.server)?);
        if messages < WARM {
            return Ok(());
        }
        let baseline = *self.baseline.get_or_insert(now);
        self.most = (self.most.0.max(now.0), self.most.1.max(now.1));
        let grown =
            (self.most.0.saturating_sub(baseline.0), self.most.1.saturating_sub(baseline.1));
        if grown.0.max(grown.1) >= GROWTH_KIB {
            let text = "KiB that client and server have grown by after the first 64 MiB";
            return Err(Wrong(format!("{grown:?} {text}, by message {messages}")));
        }
        Ok(())
    }

    async fn finish(self) -> Outcome {
        let calling = &self.calling;
        calling.stop.set(true);
        while !calling.done.get() {
            self.target.sleep(Duration::from_millis(1)).await;
        }
        if let Some(wrong) = calling.wrong.take() {
            return Err(wrong);
        }
        let (client, server) = self.baseline.unwrap_or_default();
        println!(
            "   resident at 64 MiB: client {client} KiB, server {server} KiB; most after that: {} KiB, {} KiB; \
             slowest of {} other calls: {:?}",
            self.most.0,
            self.most.1,
            calling.calls.get(),
            calling.slowest.get()
        );
        match calling.slowest.get() < PATIENCE && calling.calls.get() > 0 {
            true => Ok(()),
            false => Err(Wrong(format!("another call took {:?}", calling.slowest.get()))),
        }
    }
}

async fn time_one(target: &Target, calling: &Calling) -> Outcome {
    let arena = Arena::new();
    let started = target.host.now();
    let payload = pattern(100, 0);
    let reply = target.stub().unary(&Request { payload, ..Request::EMPTY }, &arena).await?;
    same_bytes("payload", reply.payload, payload)?;
    calling.slowest.set(calling.slowest.get().max(target.host.now() - started));
    calling.calls.set(calling.calls.get() + 1);
    Ok(())
}

/// Resident memory of a process.
fn resident_kib(pid: u32) -> Result<u64, Wrong> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.map_err(|error| Wrong(format!("/proc/{pid}/status: {error}")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .ok_or_else(|| Wrong("no VmRSS".into()))
}

/// User and system time that a process has had, in the kernel's steps of 10 ms.
fn processor_ms(pid: u32) -> Result<u64, Wrong> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.map_err(|error| Wrong(format!("/proc/{pid}/stat: {error}")))?;
    // The second field is the program's name in parentheses, and may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<u64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok((user + system) * 10),
        _ => Err(Wrong(format!("unreadable: {stat}"))),
    }
}
