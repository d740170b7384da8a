//! The layers that count calls.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use grpc_service::Status;
use grpc_service::client::CallError;
use grpc_service::layers::{CallView, Incoming, Layer, Next, Outgoing, observe, observe_calls};

use super::Metrics;
use super::cells::{Ended, MethodCells};
use super::registry::Side;

/// What one layer counts.
struct Counters {
    metrics: Metrics,
    side: Side,
    target: Arc<str>,
    /// By the address of the path, which is found faster than its text; 0 for paths that the server does not have.
    methods: RefCell<Vec<(usize, Arc<MethodCells>)>>,
}

impl Counters {
    fn new(metrics: Metrics, side: Side, target: &str) -> Self {
        Self { metrics, side, target: target.into(), methods: RefCell::default() }
    }

    fn cells(&self, path: Option<&'static str>) -> Arc<MethodCells> {
        let address = path.map_or(0, |path| path.as_ptr().addr());
        let mut methods = self.methods.borrow_mut();
        match methods.binary_search_by_key(&address, |(address, _)| *address) {
            Ok(place) => Arc::clone(&methods[place].1),
            Err(place) => {
                let cells = self.metrics.cells(self.side, path, &self.target);
                methods.insert(place, (address, Arc::clone(&cells)));
                cells
            }
        }
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        for (_, cells) in self.methods.get_mut() {
            self.metrics.retire(cells);
        }
    }
}

/// Counts the calls of a server on one thread; made by [`Metrics::server`].
///
/// As the outermost layer it sees all calls, unknown paths too ([`Router::around_all`](grpc_service::Router::around_all)), and the status
/// that leaves. Calls that are cancelled end with CANCELLED, or with DEADLINE_EXCEEDED at their deadline.
pub struct ServerMetrics(Counters);

impl ServerMetrics {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self(Counters::new(metrics, Side::Server, ""))
    }
}

impl<'a> Layer<Incoming<'a>> for ServerMetrics {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let path = call.method().map(|method| method.path());
        let (begun, cells) = (call.now(), self.0.cells(path));
        cells.start();
        let counted = observe(|call: CallView<'_>, status: &Status| {
            let counts = call.counts();
            cells.end(Ended {
                code: status.code(),
                duration: call.now() - begun,
                sent: counts.sent_bytes,
                received: counts.received_bytes,
            });
        });
        counted.call(call, next).await
    }
}

/// Counts the calls or the attempts of a client; made by [`Metrics::client_calls`] and [`Metrics::client_attempts`].
///
/// A call that is dropped ends with CANCELLED.
pub struct ClientMetrics(Counters);

impl ClientMetrics {
    pub(super) fn new(metrics: Metrics, side: Side, target: &str) -> Self {
        Self(Counters::new(metrics, side, target))
    }
}

impl<'a> Layer<Outgoing<'a>> for ClientMetrics {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        let (begun, cells) = (call.now(), self.0.cells(Some(call.path())));
        cells.start();
        let counted = observe_calls(|call: Outgoing<'_>, status: &Status| {
            let counts = call.counts();
            cells.end(Ended {
                code: status.code(),
                duration: call.now() - begun,
                sent: counts.sent_bytes,
                received: counts.received_bytes,
            });
        });
        counted.call(call, next).await
    }
}

impl fmt::Debug for ServerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerMetrics").finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMetrics").field("target", &self.0.target).finish_non_exhaustive()
    }
}
