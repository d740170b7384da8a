//! The cases of gRPC's interop test descriptions, at the client.

mod cancel;
mod compression;
mod metadata;
mod soak;
mod status;
mod streaming;
mod unary;

use std::fmt::Display;
use std::time::Duration;

use grpc_service::{Channel, LocalFuture};

use crate::runtime::Server;
use crate::testing::{Payload, TestServiceClient};
use crate::zeros;

pub use soak::Soak;

/// What a case calls.
#[derive(Clone, Debug)]
pub struct Target {
    /// How to make more channels.
    pub server: Server,
    /// The channel of the case.
    pub channel: Channel,
    /// How long the soak tests run.
    pub soak: Soak,
}

impl Target {
    /// The stub of the service.
    fn service(&self) -> TestServiceClient {
        TestServiceClient::new(self.channel.clone())
    }
}

/// What a case found.
pub type Outcome = Result<(), String>;

/// A case of the descriptions.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name there.
    pub name: &'static str,
    /// How long it may take.
    pub limit: Duration,
    run: fn(Target) -> LocalFuture<Outcome>,
}

impl Case {
    const fn new(name: &'static str, run: fn(Target) -> LocalFuture<Outcome>) -> Self {
        Self { name, limit: Duration::from_secs(30), run }
    }

    const fn within(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs the case, within its limit.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn run(&self, target: Target) -> Outcome {
        let host = target.channel.host().clone();
        let mut limit = host.timer(host.now() + self.limit);
        let mut run = (self.run)(target);
        std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(outcome) = run.as_mut().poll(cx) {
                return std::task::Poll::Ready(outcome);
            }
            limit.as_mut().poll(cx).map(|()| Err(format!("it took more than {:?}", self.limit)))
        })
        .await
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All cases, in the order of the descriptions.
pub const ALL: &[Case] = &[
    Case::new("empty_unary", |it| Box::pin(unary::empty(it))),
    Case::new("large_unary", |it| Box::pin(unary::large(it))),
    Case::new("client_compressed_unary", |it| Box::pin(compression::client_unary(it))),
    Case::new("server_compressed_unary", |it| Box::pin(compression::server_unary(it))),
    Case::new("client_streaming", |it| Box::pin(streaming::client(it))),
    Case::new("client_compressed_streaming", |it| Box::pin(compression::client_streaming(it))),
    Case::new("server_streaming", |it| Box::pin(streaming::server(it))),
    Case::new("server_compressed_streaming", |it| Box::pin(compression::server_streaming(it))),
    Case::new("ping_pong", |it| Box::pin(streaming::ping_pong(it))),
    Case::new("empty_stream", |it| Box::pin(streaming::empty(it))),
    Case::new("custom_metadata", |it| Box::pin(metadata::custom(it))),
    Case::new("status_code_and_message", |it| Box::pin(status::code_and_message(it))),
    Case::new("special_status_message", |it| Box::pin(status::special_message(it))),
    Case::new("unimplemented_method", |it| Box::pin(status::unimplemented_method(it))),
    Case::new("unimplemented_service", |it| Box::pin(status::unimplemented_service(it))),
    Case::new("cancel_after_begin", |it| Box::pin(cancel::after_begin(it))),
    Case::new("cancel_after_first_response", |it| Box::pin(cancel::after_first_response(it))),
    Case::new("timeout_on_sleeping_server", |it| Box::pin(cancel::timeout(it))),
    Case::new("concurrent_large_unary", |it| Box::pin(unary::concurrent(it))),
    Case::new("rpc_soak", |it| Box::pin(soak::calls(it))).within(3600),
    Case::new("channel_soak", |it| Box::pin(soak::channels(it))).within(3600),
];

/// The cases of the descriptions that need what this stack, or one machine, does not have.
pub const ABSENT: &[(&str, &str)] = &[
    ("cacheable_unary", "GET for calls, which gRPC has given up"),
    ("compute_engine_creds", "an instance of Google's compute engine"),
    ("jwt_token_creds", "an account of Google's cloud"),
    ("oauth2_auth_token", "an account of Google's cloud"),
    ("per_rpc_creds", "an account of Google's cloud"),
    ("google_default_credentials", "an account of Google's cloud"),
    ("compute_engine_channel_credentials", "an instance of Google's compute engine"),
    ("pick_first_unary", "balancing over several addresses"),
    ("orca_per_rpc", "reports of load to a balancer (ORCA)"),
    ("orca_oob", "reports of load to a balancer (ORCA)"),
];

/// The cases that servers of others cannot pass, by the name of the peer: why.
pub const BEYOND: &[(&str, &[(&str, &str)])] = &[
    (
        "grpcio",
        &[
            ("client_compressed_unary", "grpcio does not show whether a message came compressed"),
            (
                "client_compressed_streaming",
                "grpcio does not show whether a message came compressed",
            ),
        ],
    ),
    (
        "grpc-js",
        &[
            ("client_compressed_unary", "grpc-js does not show whether a message came compressed"),
            (
                "client_compressed_streaming",
                "grpc-js does not show whether a message came compressed",
            ),
            ("server_compressed_unary", "grpc-js's server does not compress"),
            ("server_compressed_streaming", "grpc-js's server does not compress"),
        ],
    ),
];

/// Says what happened where something else should have.
fn context<T, E: Display>(what: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// Fails with `what` unless `holds`.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

/// A payload of so many zeros.
fn payload(size: i32) -> Payload<'static> {
    Payload { body: zeros(size).unwrap_or_default(), ..Payload::EMPTY }
}

/// Fails unless a response has a payload of this size.
fn has_size(payload: Option<&Payload<'_>>, size: i32) -> Outcome {
    let len = payload.map(|payload| payload.body.len());
    ensure(len == Some(size as usize), || format!("a payload of {len:?} bytes, not {size}"))
}
