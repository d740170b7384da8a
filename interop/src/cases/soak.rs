//! Large calls, again and again, on one channel or each on a new one.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use grpc_service::testing::join_all;
use grpc_service::{Arena, Channel};

use super::{Outcome, Target, context, ensure, has_size, payload};
use crate::flags::Flags;
use crate::testing::{SimpleRequest, TestServiceClient};

/// How long the soak tests run, by the flags of the descriptions.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    iterations: u32,
    max_failures: u32,
    max_latency: Duration,
    min_time_between: Duration,
    overall: Duration,
    request_size: i32,
    response_size: i32,
    tasks: u32,
}

impl Soak {
    /// The names of the flags.
    pub const FLAGS: [&'static str; 8] = [
        "soak_iterations",
        "soak_max_failures",
        "soak_per_iteration_max_acceptable_latency_ms",
        "soak_min_time_ms_between_rpcs",
        "soak_overall_timeout_seconds",
        "soak_request_size",
        "soak_response_size",
        "soak_num_threads",
    ];

    /// What the flags say.
    ///
    /// # Errors
    /// A value is wrong.
    pub fn of(flags: &Flags) -> Result<Self, String> {
        let [iterations, failures, latency, between, overall, request, response, threads] =
            Self::FLAGS;
        let iterations = flags.value(iterations, 10)?;
        let latency = flags.value(latency, 1000)?;
        let seconds = u64::from(iterations) * latency / 1000;
        Ok(Self {
            iterations,
            max_failures: flags.value(failures, 0)?,
            max_latency: Duration::from_millis(latency),
            min_time_between: Duration::from_millis(flags.value(between, 0)?),
            overall: Duration::from_secs(flags.value(overall, seconds)?),
            request_size: flags.value(request, 271_828)?,
            response_size: flags.value(response, 314_159)?,
            tasks: flags.value(threads, 1)?.clamp(1, 1000),
        })
    }
}

pub(super) async fn calls(target: Target) -> Outcome {
    let channel = target.channel.clone();
    soak(&target, || Ok(channel.clone())).await
}

pub(super) async fn channels(target: Target) -> Outcome {
    soak(&target, || target.server.channel()).await
}

/// Runs the iterations, in as many tasks as the flags say.
async fn soak(target: &Target, channel: impl Fn() -> Result<Channel, String>) -> Outcome {
    let (soak, host) = (target.soak, target.channel.host().clone());
    let end = host.now() + soak.overall;
    let (done, failures) = (Cell::new(0), RefCell::new(Vec::new()));
    let tasks = (0..soak.tasks).map(|_| async {
        for _ in 0..soak.iterations / soak.tasks {
            let begun = host.now();
            if begun >= end {
                return;
            }
            let outcome = match channel() {
                Ok(channel) => iteration(&soak, channel).await,
                Err(error) => Err(error),
            };
            let took = host.now() - begun;
            let outcome = outcome.and_then(|()| {
                ensure(took <= soak.max_latency, || format!("an iteration took {took:?}"))
            });
            done.set(done.get() + 1);
            if let Err(failure) = outcome {
                failures.borrow_mut().push(failure);
            }
            host.timer(begun + soak.min_time_between).await;
        }
    });
    join_all(tasks).await;
    let failures = failures.into_inner();
    let all = soak.iterations / soak.tasks * soak.tasks;
    ensure(done.get() == all, || {
        format!("{} of {all} iterations in {:?}", done.get(), soak.overall)
    })?;
    ensure(failures.len() <= soak.max_failures as usize, || {
        format!("{} of {all} iterations failed: {}", failures.len(), failures[0])
    })
}

async fn iteration(soak: &Soak, channel: Channel) -> Outcome {
    let arena = Arena::new();
    let sent = payload(soak.request_size);
    let request = SimpleRequest {
        response_size: soak.response_size,
        payload: Some(&sent),
        ..SimpleRequest::EMPTY
    };
    let service = TestServiceClient::new(channel);
    let reply = context("the call", service.unary_call(&request, &arena).await)?;
    has_size(reply.payload, soak.response_size)
}
