//! The clients' side: every call of the scenario is a task that makes it through a generated stub.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use grpc_proto::{Code, Metadata};
use grpc_service::client::{Call, Receiving, Sending};
use grpc_service::{
    Arena, CallError, Channel, Host, Instant, Method as ServiceMethod, ResponseMetadata, Status,
};

use super::Stage;
use super::part::generated::WorldClient;
use super::part::{Part, is_intact, part};
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::{CancelPlan, Coding, Method, Respond};
use crate::world::app;

/// Time after which a call that found no connection tries again.
const RETRY_US: u32 = 20_000;

/// How a call ended for its client.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With a status, and what came beside it if that was asked for.
    Status(Status, Option<Beside>),
    /// The client dropped it.
    GaveUp,
}

/// What came beside the messages.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) head: Metadata,
    pub(super) trailers: Metadata,
}

impl From<ResponseMetadata> for Beside {
    fn from(beside: ResponseMetadata) -> Self {
        Beside { head: beside.headers, trailers: beside.trailers }
    }
}

impl Stage {
    /// A call, from its start to its end.
    pub(super) async fn make(self: Rc<Self>, n: usize) {
        let plan = &self.scenario.calls[n];
        if let Some(before) = plan.after.map(usize::from).filter(|&before| before < n) {
            self.until(|stage| stage.calls.borrow()[before].over).await;
        }
        self.sleep_us(plan.at_us).await;
        let started = self.now();
        let deadline = plan.deadline_us.map(|us| started + Duration::from_micros(us.into()));
        {
            let call = &mut self.calls.borrow_mut()[n];
            (call.started, call.deadline) = (started, deadline);
        }
        let outcome = match plan.cancel {
            Some(CancelPlan::AfterUs(us)) => {
                let at = started + Duration::from_micros(us.into());
                let given_up = Host::timer(&self.sim, at);
                // A task that is woken for its call and for its time may look at either first.
                let raced = match n % 2 {
                    0 => race(self.converse(n, deadline), given_up).await,
                    _ => until(given_up, self.converse(n, deadline)).await,
                };
                raced.unwrap_or(Outcome::GaveUp)
            }
            _ => self.converse(n, deadline).await,
        };
        self.judge(n, &outcome);
        self.calls.borrow_mut()[n].over = true;
        self.note_over();
    }

    /// A call or an attack is over: the tasks that wait for one look again.
    pub(super) fn note_over(&self) {
        self.over.set(self.over.get() + 1);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(std::task::Waker::wake);
    }

    /// Connects if need be, and makes the call.
    async fn converse(self: &Rc<Self>, n: usize, deadline: Option<Instant>) -> Outcome {
        let plan = &self.scenario.calls[n];
        let link = usize::from(plan.link);
        if link >= self.scenario.links.len() {
            return Outcome::GaveUp;
        }
        let is_late = deadline.filter(|_| !plan.timeout);
        let (connection, channel) = loop {
            if let Ok(connected) = self.channel(link).await {
                break connected;
            }
            if is_late.is_some_and(|deadline| deadline <= self.now()) {
                // The application's own check: nobody has heard of the call.
                self.reach(Mark::DeadlineWhileWaiting);
                return Outcome::GaveUp;
            }
            self.sleep_us(RETRY_US).await;
        };
        {
            let call = &mut self.calls.borrow_mut()[n];
            (call.connection, call.opened) = (connection, self.now());
            call.failed_before = self.links.borrow()[link].failed;
        }
        let outcome = self.exchange(n, channel, deadline).await;
        if let Outcome::Status(status, _) = &outcome
            && status.code() == Code::Unavailable
        {
            self.forget(link, connection);
        }
        outcome
    }

    async fn exchange(&self, n: usize, channel: Channel, deadline: Option<Instant>) -> Outcome {
        let plan = &self.scenario.calls[n];
        let (world, arena) = (WorldClient::new(channel), Arena::new());
        let mut metadata = app::metadata(plan.metadata, n);
        metadata.append(app::CALL, &n.to_string()).expect("a valid entry");
        let first = plan.requests_sent().first().copied().unwrap_or_default();
        let request = part(n, true, 0, first, &arena);
        self.sim.note(&[60, n as u64], || format!("call {n} begins"));
        match plan.method {
            Method::One => {
                self.calls.borrow_mut()[n].sent = 1;
                let mut beside = ResponseMetadata::default();
                let call = world.one(&request, &arena).metadata(&metadata).response(&mut beside);
                let response = self.prepare(n, call, deadline).await;
                let ended = response.map(|response| self.take_only(n, response));
                self.judge_only(n, ended, beside)
            }
            Method::Gather => {
                let call = self.prepare(n, world.gather().metadata(&metadata), deadline);
                let mut stream = match Opening::new(self, call).await {
                    Ok(stream) => stream,
                    Err(error) => return Outcome::Status(error.into_status(), None),
                };
                for (index, len) in plan.requests_sent().into_iter().enumerate() {
                    if plan.cancel == Some(CancelPlan::AfterSent(index as u8)) {
                        return Outcome::GaveUp;
                    }
                    self.sleep_us(plan.pace_us).await;
                    let arena = Arena::new();
                    let request = part(n, true, index, len, &arena);
                    self.calls.borrow_mut()[n].sent += 1;
                    stream.set_compression(!self.is_left_plain(n, true, index));
                    if self.waits(stream.send(&request)).await.is_err() {
                        break;
                    }
                }
                let mut beside = ResponseMetadata::default();
                let response = stream.finish_with(&arena, &mut beside).await;
                let ended = response.map(|response| self.take_only(n, response));
                self.judge_only(n, ended, beside)
            }
            Method::Spread => {
                self.calls.borrow_mut()[n].sent = 1;
                let call = self.prepare(n, world.spread(&request).metadata(&metadata), deadline);
                match call.await {
                    Ok(receiving) => self.receive(n, receiving).await,
                    Err(error) => Outcome::Status(error.into_status(), None),
                }
            }
            Method::Talk => {
                let call = self.prepare(n, world.talk().metadata(&metadata), deadline);
                let stream = match Opening::new(self, call).await {
                    Ok(stream) => stream,
                    Err(error) => return Outcome::Status(error.into_status(), None),
                };
                let (sending, receiving) = stream.split();
                beside(self.send_all(n, sending), self.receive(n, receiving)).await
            }
        }
    }

    /// A call as its plan has it, about to be polled for the first time.
    fn prepare<'r, M: ServiceMethod, K>(
        &self,
        n: usize,
        call: Call<'r, M, K>,
        deadline: Option<Instant>,
    ) -> Call<'r, M, K> {
        let plan = &self.scenario.calls[n];
        let call = match (deadline, plan.deadline_us) {
            (Some(_), Some(us)) if plan.timeout => {
                let (span, now) = (Duration::from_micros(us.into()), self.now());
                let state = &mut self.calls.borrow_mut()[n];
                (state.started, state.deadline) = (now, Some(now + span));
                call.timeout(span)
            }
            (Some(at), _) => call.deadline(at),
            (None, _) => call,
        };
        let call = if plan.wait_for_ready { call.wait_for_ready() } else { call };
        match plan.coding {
            Coding::Channel => call,
            _ => call.compress(self.encoding_of(n, true)),
        }
    }

    /// The outcome of a call with one response.
    fn judge_only(
        &self,
        n: usize,
        ended: Result<u32, CallError>,
        beside: ResponseMetadata,
    ) -> Outcome {
        if let Ok(len) = ended {
            self.judge_coding(n, false, 0, len, beside.compressed);
        }
        let status = ended.err().map_or(Status::OK, CallError::into_status);
        Outcome::Status(status, Some(beside.into()))
    }

    /// Sends all requests of a stream; `false` if the client gave up midway.
    async fn send_all<M>(&self, n: usize, mut sending: Sending<M>) -> bool
    where
        M: ServiceMethod<Request = Part<'static>>,
    {
        let plan = &self.scenario.calls[n];
        for (index, len) in plan.requests_sent().into_iter().enumerate() {
            if plan.cancel == Some(CancelPlan::AfterSent(index as u8)) {
                return false;
            }
            self.sleep_us(plan.pace_us).await;
            let arena = Arena::new();
            let request = part(n, true, index, len, &arena);
            self.calls.borrow_mut()[n].sent += 1;
            sending.set_compression(!self.is_left_plain(n, true, index));
            if self.waits(sending.send(&request)).await.is_err() {
                // The receiving half has the outcome.
                return true;
            }
        }
        sending.end();
        true
    }

    /// Takes all responses of a stream, as slowly as planned.
    async fn receive<M>(&self, n: usize, mut receiving: Receiving<M>) -> Outcome
    where
        M: ServiceMethod<Response = Part<'static>>,
    {
        let plan = &self.scenario.calls[n];
        let mut arena = Arena::new().with_retained(1 << 12);
        if plan.cancel == Some(CancelPlan::AfterMessages(0)) {
            let head = receiving.headers().await;
            if let Err((oracle, text)) = self.judge_head(n, head, false) {
                self.sim.fail(oracle, text);
            }
            return Outcome::GaveUp;
        }
        // The next response in order; of a handler that pushes, those of each kind are in order.
        let mut next = [0, 1];
        let pushes = plan.method == Method::Talk && plan.respond == Respond::AtOnce;
        loop {
            match receiving.next(&mut arena).await {
                Ok(None) => return Outcome::Status(Status::OK, beside_of(receiving).await),
                Err(error) => {
                    return Outcome::Status(error.into_status(), beside_of(receiving).await);
                }
                Ok(Some(response)) => {
                    let len = response.body.len() as u32;
                    let way = if pushes { response.index as usize % 2 } else { 0 };
                    let index = next[way];
                    next[way] += if pushes { 2 } else { 1 };
                    self.check_response(n, index, &response);
                    self.judge_coding(n, false, index, len, receiving.is_compressed());
                    self.sleep_us(plan.client_think_us).await;
                    let received = {
                        let call = &mut self.calls.borrow_mut()[n];
                        call.received += 1;
                        call.received
                    };
                    if plan.cancel == Some(CancelPlan::AfterMessages(received as u8)) {
                        return Outcome::GaveUp;
                    }
                }
            }
        }
    }

    /// Takes the one response; returns the length of its body.
    fn take_only(&self, n: usize, response: Part<'_>) -> u32 {
        self.check_response(n, 0, &response);
        self.calls.borrow_mut()[n].received += 1;
        response.body.len() as u32
    }

    fn check_response(&self, n: usize, index: usize, response: &Part<'_>) {
        let plan = &self.scenario.calls[n];
        self.sim.note(&[61, n as u64], || format!("call {n} takes response {index}"));
        let one = !plan.method.streams().1;
        let len = match plan.responses.get(index) {
            None if one && index == 0 => Some(0),
            len => len.copied(),
        };
        if len.is_none_or(|len| !is_intact(response, n, false, index, len)) {
            let text = format!("response {index} of call {n} was not sent so: {response:?}");
            self.sim.fail(Oracle::Prefix, text);
        }
    }

    /// Marks that a send had to wait.
    pub(super) async fn waits<T>(&self, sending: impl Future<Output = T>) -> T {
        let (mut sending, mut patience) = (pin!(sending), None);
        poll_fn(|cx| {
            let polled = sending.as_mut().poll(cx);
            if polled.is_pending() {
                self.reach(Mark::SenderWaited);
                patience.get_or_insert_with(|| self.sim.patience());
            }
            polled
        })
        .await
    }
}

/// What came beside the messages of a stream that has ended; `None` if it has not.
async fn beside_of<M: ServiceMethod>(mut receiving: Receiving<M>) -> Option<Beside> {
    let trailers = receiving.trailers()?.clone();
    Some(Beside { head: receiving.headers().await.clone(), trailers })
}

/// The opening of a stream: pending only while the call stands in line.
struct Opening<'s, F> {
    stage: &'s Stage,
    call: Option<F>,
    /// Set by wakes, once the call stands in line.
    woken: Option<Arc<Woken>>,
}

/// Notes that the task was woken.
struct Woken {
    is: AtomicBool,
    task: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

impl<'s, F> Opening<'s, F> {
    fn new(stage: &'s Stage, call: F) -> Self {
        Opening { stage, call: Some(call), woken: None }
    }
}

impl<S, F: Future<Output = Result<S, CallError>> + Unpin> Future for Opening<'_, F> {
    type Output = Result<S, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let woken = Arc::new(Woken { is: AtomicBool::new(false), task: cx.waker().clone() });
        let waker = Waker::from(Arc::clone(&woken));
        let Some(call) = &mut self.call else { return Poll::Pending };
        let polled = Pin::new(call).poll(&mut Context::from_waker(&waker));
        let waited = self.woken.replace(woken).is_some();
        if let Poll::Ready(opened) = &polled {
            self.call = None;
            let is_late = |error: &CallError| error.code() == Code::DeadlineExceeded;
            if waited && opened.as_ref().is_err_and(is_late) {
                self.stage.reach(Mark::LineTimeout);
            }
        }
        polled
    }
}

impl<F> Drop for Opening<'_, F> {
    fn drop(&mut self) {
        if let (Some(_), Some(woken)) = (&self.call, &self.woken) {
            self.stage.reach(Mark::LineDropped);
            if woken.is.load(Ordering::Relaxed) {
                self.stage.reach(Mark::TurnDropped);
            }
        }
    }
}

/// The output of `main`, unless `end` comes first.
pub(super) async fn race<T>(
    main: impl Future<Output = T>,
    end: impl Future<Output = ()>,
) -> Option<T> {
    let (mut main, mut end) = (pin!(main), pin!(end));
    poll_fn(|cx| match main.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// As [`race`], where the end is looked at first.
async fn until<T>(end: impl Future<Output = ()>, main: impl Future<Output = T>) -> Option<T> {
    let (mut main, mut end) = (pin!(main), pin!(end));
    poll_fn(|cx| match end.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => main.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Both halves of a call: over when the receiving half is, or when the sending one gives up.
async fn beside(
    sending: impl Future<Output = bool>,
    receiving: impl Future<Output = Outcome>,
) -> Outcome {
    let (mut sending, mut receiving) = (pin!(sending), pin!(receiving));
    let mut sends = true;
    poll_fn(|cx| {
        if sends && let Poll::Ready(went_on) = sending.as_mut().poll(cx) {
            sends = false;
            if !went_on {
                return Poll::Ready(Outcome::GaveUp);
            }
        }
        receiving.as_mut().poll(cx)
    })
    .await
}
