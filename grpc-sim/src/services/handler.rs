//! The service's side: handlers that do what their call's plan says.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use grpc_proto::{Code, Metadata};
use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::{Arena, Cx, Sink, Status};

use super::Stage;
use super::attack::Attacked;
use super::part::generated::{World, WorldClient};
use super::part::{Part, is_intact, part};
use crate::marks::Mark;
use crate::oracle::Oracle;
use crate::scenario::{CallPlan, Ending, Respond};
use crate::world::app;

/// The calls that handlers make are numbered from here.
const CALLS_BACK: usize = 1 << 20;
/// How long a handler waits for another one, and for its own call.
const PATIENCE: Duration = Duration::from_millis(30);
/// How long a handler lives that never ends by itself.
const NEVER: Duration = Duration::from_secs(40);

/// The service: what its handlers do stands in the scenario.
pub(super) struct Player {
    stage: Rc<Stage>,
}

impl Player {
    pub(super) fn new(stage: &Rc<Stage>) -> Self {
        Player { stage: Rc::clone(stage) }
    }

    /// A handler begins: its call must be one of the scenario's, as it was made, and for the first time.
    fn enter(&self, cx: &Cx<'_>) -> Result<Running, Status> {
        let stage = &self.stage;
        let broken = |oracle, text: String| {
            stage.sim.fail(oracle, text);
            Err(Status::new(Code::Internal, "the oracle has spoken"))
        };
        let number = cx.metadata().value(app::CALL).and_then(|text| std::str::from_utf8(text).ok());
        let Some(n) = number.and_then(|text| text.parse::<usize>().ok()) else {
            return broken(
                Oracle::Prefix,
                format!("a request without a call: {:?}", cx.metadata()),
            );
        };
        if n >= CALLS_BACK {
            return Ok(Running { stage: Rc::clone(stage), n });
        }
        let plan = &stage.scenario.calls[n];
        let sent = app::metadata(plan.metadata, n);
        if !app::same_metadata(&sent, cx.metadata()) {
            return broken(Oracle::Prefix, format!("call {n} came as {:?}", cx.metadata()));
        }
        let (started, deadline) = {
            let call = &stage.calls.borrow()[n];
            (call.started, call.deadline)
        };
        if !app::same_deadline(started, deadline, cx.deadline(), stage.now()) {
            let reported = cx.deadline();
            return broken(Oracle::Prefix, format!("call {n} has {reported:?}, not {deadline:?}"));
        }
        if std::mem::replace(&mut stage.calls.borrow_mut()[n].seen, true) {
            return broken(Oracle::OneEnd, format!("the request of call {n} came twice"));
        }
        stage.calls.borrow_mut()[n].running = true;
        stage.sim.note(&[50, n as u64], || format!("handler of call {n} begins"));
        append(&app::metadata(plan.trailers, n), |name, value, binary| {
            let appended = match binary {
                true => cx.append_trailer_bin(name, value),
                false => cx.append_trailer(name, std::str::from_utf8(value).unwrap_or_default()),
            };
            appended.expect("names and values of the model are valid");
        });
        if plan.headers {
            append(&app::head_metadata(plan, n), |name, value, binary| {
                let appended = match binary {
                    true => cx.append_header_bin(name, value),
                    false => cx.append_header(name, std::str::from_utf8(value).unwrap_or_default()),
                };
                appended.expect("names and values of the model are valid");
            });
            cx.send_headers()?;
        }
        Ok(Running { stage: Rc::clone(stage), n })
    }
}

/// Hands over what an application would append: binary values as they are before they are encoded.
fn append(metadata: &Metadata, mut add: impl FnMut(&str, &[u8], bool)) {
    for field in metadata.iter() {
        let name = std::str::from_utf8(field.name).unwrap_or_default();
        match name.ends_with("-bin") {
            true => {
                // Names of binary values come once in the model.
                let value = metadata.bin_values(name).next().unwrap_or_default();
                add(name, &value, true);
            }
            false => add(name, field.value, false),
        }
    }
}

/// One handler, from its begin to its end: dropped with it, wherever it waits.
struct Running {
    stage: Rc<Stage>,
    n: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.n >= CALLS_BACK {
            return;
        }
        let call = &mut self.stage.calls.borrow_mut()[self.n];
        call.running = false;
        if call.ended_with.is_none() {
            self.stage.reach(Mark::HandlerDropped);
        }
    }
}

impl Running {
    fn plan(&self) -> &CallPlan {
        &self.stage.scenario.calls[self.n]
    }

    fn is_call_back(&self) -> bool {
        self.n >= CALLS_BACK
    }

    /// A handler goes on: its call must not be over.
    fn goes_on(&self, cx: &Cx<'_>) {
        if let Some(reason) = cx.cancellation() {
            let text = format!("the handler of call {} goes on after {reason}", self.n);
            self.stage.sim.fail(Oracle::OneEnd, text);
        }
    }

    /// Takes the next request: it must be the one that was sent, now and after some time.
    async fn take(&self, cx: &Cx<'_>, request: &Part<'_>) {
        self.goes_on(cx);
        if self.is_call_back() {
            return;
        }
        let (n, plan) = (self.n, self.plan());
        let (index, sent) = {
            let call = &mut self.stage.calls.borrow_mut()[n];
            call.served += 1;
            (call.served - 1, call.sent)
        };
        let lens = plan.requests_sent();
        let len = lens.get(index).copied().unwrap_or_default();
        if index >= sent || index >= lens.len() || !is_intact(request, n, true, index, len) {
            let text = format!("request {index} of call {n} was not sent so: {request:?}");
            return self.stage.sim.fail(Oracle::Prefix, text);
        }
        self.stage.judge_coding(n, true, index, len, cx.is_compressed());
        self.stage.sim.note(&[51, n as u64], || format!("handler of call {n} takes {index}"));
        if plan.server_think_us > 0 {
            cx.sleep(Duration::from_micros(plan.server_think_us.into())).await;
            self.goes_on(cx);
        }
        if plan.meets && index == 0 {
            self.meet(cx).await;
        }
        if plan.calls_back && index == 0 {
            self.call_back(cx).await;
        }
        // Others have had the arenas meanwhile.
        if !is_intact(request, n, true, index, len) {
            let text = format!("request {index} of call {n} changed under its handler");
            self.stage.sim.fail(Oracle::Prefix, text);
        }
    }

    /// Wakes the handlers that wait for one, and waits for the next.
    async fn meet(&self, cx: &Cx<'_>) {
        let stage = &self.stage;
        let came = stage.arrivals.get() + 1;
        stage.arrivals.set(came);
        let waiting = std::mem::take(&mut *stage.meeting.borrow_mut());
        if !waiting.is_empty() {
            stage.reach(Mark::Met);
        }
        waiting.into_iter().for_each(std::task::Waker::wake);
        let mut patience = pin!(cx.sleep(PATIENCE));
        poll_fn(|context| {
            if stage.arrivals.get() > came {
                return Poll::Ready(());
            }
            stage.meeting.borrow_mut().push(context.waker().clone());
            patience.as_mut().poll(context)
        })
        .await;
        self.goes_on(cx);
    }

    /// Makes a call of its own, over a channel that other calls share.
    async fn call_back(&self, cx: &Cx<'_>) {
        let Ok((connection, channel)) = self.stage.channel(0).await else { return };
        let (world, arena) = (WorldClient::new(channel), Arena::new());
        let number = CALLS_BACK + self.n;
        let mut metadata = Metadata::new();
        metadata.append(app::CALL, &number.to_string()).expect("a valid entry");
        let request = part(number, true, 0, 9, &arena);
        let answer = world.one(&request, &arena).metadata(&metadata).timeout(PATIENCE).await;
        match answer {
            Ok(answer) if is_intact(&answer, number, false, 0, 9) => {
                self.stage.reach(Mark::CalledBack);
            }
            Ok(answer) => {
                let text = format!("the handler of call {} was answered {answer:?}", self.n);
                self.stage.sim.fail(Oracle::Prefix, text);
            }
            Err(status) if status.code() == Code::Unavailable => {
                self.stage.forget(0, connection);
            }
            Err(_) => {}
        }
        self.goes_on(cx);
    }

    /// Sends one response of a stream.
    async fn send(
        &self,
        cx: &Cx<'_>,
        out: &mut Sink<'_, Part<'static>>,
        index: usize,
    ) -> Result<(), Status> {
        let len = self.plan().responses[index];
        let arena = Arena::new();
        let response = part(self.n, false, index, len, &arena);
        let mut sending = pin!(out.send(&response));
        let sent = poll_fn(|context| {
            self.choose_compression(cx, index);
            let polled = sending.as_mut().poll(context);
            if polled.is_pending() {
                self.stage.reach(Mark::SinkWaited);
            }
            polled
        })
        .await;
        self.goes_on(cx);
        if sent.is_ok() {
            self.stage.calls.borrow_mut()[self.n].answered += 1;
        }
        sent
    }

    /// The answer to a call with one response, made in the call's arena.
    fn answer<'a>(&self, cx: &Cx<'a>) -> Part<'a> {
        if self.is_call_back() {
            return part(self.n, false, 0, 9, cx.arena());
        }
        self.stage.calls.borrow_mut()[self.n].answered += 1;
        self.choose_compression(cx, 0);
        let len = self.plan().responses.first().copied().unwrap_or_default();
        part(self.n, false, 0, len, cx.arena())
    }

    /// Says of a response whether it may be compressed; a handler that minds says so of each, the others say nothing.
    fn choose_compression(&self, cx: &Cx<'_>, index: usize) {
        if self.plan().plain_responses {
            cx.set_compression(!self.stage.is_left_plain(self.n, false, index));
        }
    }

    /// How the handler ends; the status is what its client must see.
    async fn end(&self, cx: &Cx<'_>) -> Result<(), Status> {
        if self.is_call_back() {
            return Ok(());
        }
        match self.plan().ending {
            Ending::Abandon => {
                self.stage.reach(Mark::HandlerPanicked);
                // As a panic, but without the hook's noise.
                std::panic::resume_unwind(Box::new("as planned"));
            }
            Ending::Never => {
                cx.sleep(NEVER).await;
                if cx.deadline().is_some() {
                    pending::<()>().await;
                }
            }
            Ending::AfterEnd | Ending::Early => {}
        }
        self.ended_with(cx)
    }

    fn ended_with(&self, cx: &Cx<'_>) -> Result<(), Status> {
        self.goes_on(cx);
        let status = app::status(self.plan(), self.n);
        let n = self.n;
        self.stage.sim.note(&[52, n as u64], || format!("handler of call {n} ends: {status:?}"));
        self.stage.calls.borrow_mut()[n].ended_with = Some(status.clone());
        if status.is_ok() { Ok(()) } else { Err(status) }
    }

    /// An error of the framework's is what the handler ends with.
    fn failed(&self, status: Status) -> Status {
        self.stage.calls.borrow_mut()[self.n].ended_with = Some(status.clone());
        status
    }
}

impl World for Player {
    async fn one<'a>(&self, cx: &Cx<'a>, request: Part<'a>) -> Result<Part<'a>, Status> {
        let run = self.enter(cx)?;
        run.take(cx, &request).await;
        run.end(cx).await?;
        Ok(run.answer(cx))
    }

    type Gather<'s> = Gathering;

    async fn gather(&self, cx: &Cx<'_>) -> Result<Gathering, Status> {
        Ok(Gathering { run: self.enter(cx)? })
    }

    async fn spread<'a>(
        &self,
        cx: &Cx<'a>,
        request: Part<'a>,
        out: &mut Sink<'_, Part<'static>>,
    ) -> Result<(), Status> {
        let run = self.enter(cx)?;
        run.take(cx, &request).await;
        for index in 0..run.plan().responses.len() {
            run.send(cx, out, index).await.map_err(|status| run.failed(status))?;
        }
        run.end(cx).await
    }

    type Talk<'s> = Talking;

    async fn talk(&self, cx: &Cx<'_>) -> Result<Talking, Status> {
        Ok(Talking { run: self.enter(cx)?, next: Cell::new(0) })
    }

    type Attack<'s> = Attacked;

    async fn attack(&self, _cx: &Cx<'_>) -> Result<Attacked, Status> {
        Ok(Attacked { stalls: false })
    }

    type Stall<'s> = Attacked;

    async fn stall(&self, _cx: &Cx<'_>) -> Result<Attacked, Status> {
        Ok(Attacked { stalls: true })
    }

    type Ignore<'s> = Attacked;

    async fn ignore(&self, _cx: &Cx<'_>) -> Result<Attacked, Status> {
        pending().await
    }
}

/// One call of `gather`.
pub(super) struct Gathering {
    run: Running,
}

impl ClientStreamingCall<Part<'static>, Part<'static>> for Gathering {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, message: Part<'a>) -> Result<(), Status> {
        self.run.take(cx, &message).await;
        match self.run.plan().ending {
            // Before the client has sent all: an error is all that can be said.
            Ending::Early if self.run.plan().status != 0 => self.run.ended_with(cx),
            _ => Ok(()),
        }
    }

    async fn finish<'a>(self, cx: &Cx<'a>) -> Result<Part<'a>, Status> {
        self.run.end(cx).await?;
        Ok(self.run.answer(cx))
    }
}

/// One call of `talk`.
pub(super) struct Talking {
    run: Running,
    /// The next response of those that answer messages.
    next: Cell<usize>,
}

impl Talking {
    /// Responses that are pushed beside those that answer messages: the odd ones of a handler that does not wait.
    fn is_pushed(&self, index: usize) -> bool {
        self.run.plan().respond == Respond::AtOnce && index % 2 == 1
    }

    /// Sends the next response that is not pushed, if one is left.
    async fn reply(&self, cx: &Cx<'_>, out: &mut Sink<'_, Part<'static>>) -> Result<bool, Status> {
        while self.is_pushed(self.next.get()) {
            self.next.set(self.next.get() + 1);
        }
        let index = self.next.get();
        if index >= self.run.plan().responses.len() {
            return Ok(false);
        }
        self.next.set(index + 1);
        self.run.send(cx, out, index).await.map_err(|status| self.run.failed(status))?;
        Ok(true)
    }
}

impl BidiCall<Part<'static>, Part<'static>> for Talking {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: Part<'a>,
        out: &mut Sink<'_, Part<'static>>,
    ) -> Result<(), Status> {
        self.run.take(cx, &message).await;
        if self.run.plan().respond != Respond::AfterEnd {
            self.reply(cx, out).await?;
        }
        match self.run.plan().ending {
            Ending::Early if self.run.plan().status != 0 => self.run.ended_with(cx),
            _ => Ok(()),
        }
    }

    async fn finish(&self, cx: &Cx<'_>, out: &mut Sink<'_, Part<'static>>) -> Result<(), Status> {
        while self.reply(cx, out).await? {}
        // What is pushed beside goes on until all of it is sent.
        let all = self.run.plan().responses.len();
        while self.run.stage.calls.borrow()[self.run.n].answered < all {
            cx.sleep(Duration::from_millis(1)).await;
        }
        self.run.end(cx).await
    }

    async fn run(&self, cx: &Cx<'_>, out: &mut Sink<'_, Part<'static>>) -> Result<(), Status> {
        for index in (0..self.run.plan().responses.len()).filter(|&n| self.is_pushed(n)) {
            self.run.send(cx, out, index).await.map_err(|status| self.run.failed(status))?;
        }
        Ok(())
    }
}
