//! The server: it does what a request says, and counts how its handlers end.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use grpc_arena::codec::Map;
use grpc_proto::{Code, Instant, MetadataError, Status, decode_bin};
use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::{Cx, Host, Sink};

use super::{INITIAL, MAX_REPLY, TRAILING, crc32, pattern};
use crate::testing::{Count, CountersReply, Empty, Interop, Reply, Request, Summary};

/// The service; all its threads count together.
pub struct Puppet {
    host: Rc<dyn Host>,
}

impl Puppet {
    /// A puppet that takes its time from `host`.
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self { host }
    }
}

/// How the handlers of one method have ended.
struct Ends {
    name: &'static str,
    started: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    expired: AtomicU64,
}

impl Ends {
    const fn of(name: &'static str) -> Self {
        Self {
            name,
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        }
    }
}

static EMPTY_CALL: Ends = Ends::of("EmptyCall");
static UNARY: Ends = Ends::of("Unary");
static SERVER_STREAM: Ends = Ends::of("ServerStream");
static CLIENT_STREAM: Ends = Ends::of("ClientStream");
static BIDI: Ends = Ends::of("Bidi");

/// A handler that runs; if it is dropped before it ends, it was cancelled, or its deadline has passed.
///
/// It keeps the host, for a context does not live as long as the state of a stream.
struct Running {
    ends: &'static Ends,
    host: Rc<dyn Host>,
    deadline: Option<Instant>,
    over: bool,
}

/// The client's own timer and ours start a network apart, and a busy machine puts them further apart: a handler that is
/// dropped this close to its deadline expired. Calls that are cancelled have no deadline, or one an hour away.
const NEAR: Duration = Duration::from_millis(100);

impl Running {
    fn start(puppet: &Puppet, ends: &'static Ends, cx: &Cx<'_>) -> Self {
        ends.started.fetch_add(1, Relaxed);
        Self { ends, host: Rc::clone(&puppet.host), deadline: cx.deadline(), over: false }
    }

    /// Counts an outcome that the handler came to by itself.
    fn end<T>(&mut self, cx: &Cx<'_>, outcome: Result<T, Status>) -> Result<T, Status> {
        if cx.cancellation().is_some() {
            return outcome;
        }
        self.over = true;
        let count = if outcome.is_ok() { &self.ends.finished } else { &self.ends.failed };
        count.fetch_add(1, Relaxed);
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let expired = self.deadline.is_some_and(|deadline| self.host.now() + NEAR > deadline);
        let count = if expired { &self.ends.expired } else { &self.ends.cancelled };
        count.fetch_add(1, Relaxed);
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("method", &self.ends.name).finish_non_exhaustive()
    }
}

impl Interop for Puppet {
    async fn empty_call<'a>(&self, cx: &Cx<'a>, _: Empty<'a>) -> Result<Empty<'a>, Status> {
        let mut running = Running::start(self, &EMPTY_CALL, cx);
        running.end(cx, reflect(cx).map(|()| Empty::default()))
    }

    async fn unary<'a>(&self, cx: &Cx<'a>, request: Request<'a>) -> Result<Reply<'a>, Status> {
        let mut running = Running::start(self, &UNARY, cx);
        let reflected = reflect(cx);
        wait(cx, &request).await;
        running.end(cx, reflected.and_then(|()| fail(&request)).map(|()| reply(&request, 0)))
    }

    async fn server_stream<'a>(
        &self,
        cx: &Cx<'a>,
        request: Request<'a>,
        out: &mut Sink<'_, Reply<'static>>,
    ) -> Result<(), Status> {
        let mut running = Running::start(self, &SERVER_STREAM, cx);
        let reflected = reflect(cx);
        let replied = answer(cx, &request, 0, out).await;
        running.end(cx, reflected.and(replied).and_then(|_| fail(&request)))
    }

    type ClientStream<'s> = Summing;

    async fn client_stream(&self, cx: &Cx<'_>) -> Result<Summing, Status> {
        reflect(cx)?;
        Ok(Summing {
            running: Running::start(self, &CLIENT_STREAM, cx),
            summary: Summary::default(),
        })
    }

    type Bidi<'s> = Conversing;

    async fn bidi(&self, cx: &Cx<'_>) -> Result<Conversing, Status> {
        reflect(cx)?;
        let running = Running::start(self, &BIDI, cx);
        Ok(Conversing { running: running.into(), index: 0.into() })
    }

    async fn counters<'a>(&self, cx: &Cx<'a>, _: Empty<'a>) -> Result<CountersReply<'a>, Status> {
        let methods = [&EMPTY_CALL, &UNARY, &SERVER_STREAM, &CLIENT_STREAM, &BIDI].map(|ends| {
            let count = Count {
                started: ends.started.load(Relaxed),
                finished: ends.finished.load(Relaxed),
                failed: ends.failed.load(Relaxed),
                cancelled: ends.cancelled.load(Relaxed),
                expired: ends.expired.load(Relaxed),
                ..Count::EMPTY
            };
            (ends.name, count)
        });
        let methods = Map::collect_in(methods, cx.arena());
        Ok(CountersReply { methods, pid: std::process::id(), ..CountersReply::EMPTY })
    }
}

/// One client stream.
#[derive(Debug)]
pub struct Summing {
    running: Running,
    summary: Summary<'static>,
}

impl ClientStreamingCall<Request<'static>, Summary<'static>> for Summing {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, request: Request<'a>) -> Result<(), Status> {
        self.summary.messages += 1;
        self.summary.bytes += request.payload.len() as u64;
        self.summary.checksum = crc32(self.summary.checksum, request.payload);
        wait(cx, &request).await;
        fail(&request).or_else(|status| self.running.end(cx, Err(status)))
    }

    async fn finish<'a>(mut self, cx: &Cx<'a>) -> Result<Summary<'a>, Status> {
        self.running.end(cx, Ok(self.summary))
    }
}

/// One conversation.
#[derive(Debug)]
pub struct Conversing {
    running: RefCell<Running>,
    /// How many replies there were.
    index: Cell<u32>,
}

impl BidiCall<Request<'static>, Reply<'static>> for Conversing {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        request: Request<'a>,
        out: &mut Sink<'_, Reply<'static>>,
    ) -> Result<(), Status> {
        let replied = answer(cx, &request, self.index.get(), out).await;
        let replied = replied.and_then(|index| fail(&request).map(|()| index));
        match replied {
            Ok(index) => {
                self.index.set(index);
                Ok(())
            }
            Err(status) => self.running.borrow_mut().end(cx, Err(status)),
        }
    }

    async fn finish(&self, cx: &Cx<'_>, _: &mut Sink<'_, Reply<'static>>) -> Result<(), Status> {
        self.running.borrow_mut().end(cx, Ok(()))
    }
}

/// Sends back the metadata that asks for it.
fn reflect(cx: &Cx<'_>) -> Result<(), Status> {
    let mut initial = false;
    for field in cx.metadata().iter() {
        let Ok(name) = std::str::from_utf8(field.name) else { continue };
        let reflected = if name.starts_with(INITIAL) {
            initial = true;
            append(
                name,
                field.value,
                |text| cx.append_header(name, text),
                |bytes| cx.append_header_bin(name, bytes),
            )
        } else if name.starts_with(TRAILING) {
            append(
                name,
                field.value,
                |text| cx.append_trailer(name, text),
                |bytes| cx.append_trailer_bin(name, bytes),
            )
        } else {
            Ok(())
        };
        reflected.map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    }
    if initial { cx.send_headers() } else { Ok(()) }
}

fn append(
    name: &str,
    value: &[u8],
    text: impl Fn(&str) -> Result<(), MetadataError>,
    binary: impl Fn(&[u8]) -> Result<(), MetadataError>,
) -> Result<(), MetadataError> {
    if !name.ends_with("-bin") {
        return text(std::str::from_utf8(value).map_err(|_| MetadataError::InvalidValue)?);
    }
    for value in value.split(|&byte| byte == b',') {
        binary(&decode_bin(value).ok_or(MetadataError::InvalidValue)?)?;
    }
    Ok(())
}

async fn wait(cx: &Cx<'_>, request: &Request<'_>) {
    if request.delay_ns > 0 {
        cx.sleep(Duration::from_nanos(request.delay_ns)).await;
    }
}

/// The failure that the request asks for.
fn fail(request: &Request<'_>) -> Result<(), Status> {
    let Some(failure) = request.failure else { return Ok(()) };
    let code = u32::try_from(failure.code).ok().and_then(Code::from_number);
    match code {
        None | Some(Code::Ok) => Ok(()),
        Some(code) => {
            let status = Status::new(code, failure.message.to_owned());
            Err(if failure.details.is_empty() {
                status
            } else {
                status.with_details(failure.details.to_vec())
            })
        }
    }
}

fn reply<'a>(request: &Request<'a>, index: u32) -> Reply<'a> {
    let payload = match request.reply_size {
        Some(size) => pattern((size as usize).min(MAX_REPLY), index),
        None => request.payload,
    };
    Reply { payload, index, ..Reply::EMPTY }
}

/// Sends the replies that the request asks for, counted from `index`; returns where the count has got to.
async fn answer(
    cx: &Cx<'_>,
    request: &Request<'_>,
    index: u32,
    out: &mut Sink<'_, Reply<'static>>,
) -> Result<u32, Status> {
    if request.reply_count == 0 {
        wait(cx, request).await;
    }
    for index in index..index + request.reply_count {
        wait(cx, request).await;
        out.send(&reply(request, index)).await?;
    }
    Ok(index + request.reply_count)
}
