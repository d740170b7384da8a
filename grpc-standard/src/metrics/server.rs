//! The layer that counts calls at a server.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use grpc_service::Status;
use grpc_service::layers::{CallView, Incoming, Layer, Next, observe};

use super::Metrics;
use super::cells::{Ended, MethodCells};

/// Counts the calls of a server on one thread; made by [`Metrics::server`].
///
/// As the outermost layer it sees all calls, unknown paths too ([`Router::around_all`](grpc_service::Router::around_all)), and the status
/// that leaves. Calls that are cancelled end with CANCELLED, or with DEADLINE_EXCEEDED at their deadline.
pub struct ServerMetrics {
    metrics: Metrics,
    /// By the address of the path, which is found faster than its text; 0 for paths that the server does not have.
    methods: RefCell<Vec<(usize, Arc<MethodCells>)>>,
}

impl ServerMetrics {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, methods: RefCell::default() }
    }

    fn cells(&self, call: CallView<'_>) -> Arc<MethodCells> {
        let path = call.method().map(|method| method.path());
        let address = path.map_or(0, |path| path.as_ptr().addr());
        let mut methods = self.methods.borrow_mut();
        match methods.binary_search_by_key(&address, |(address, _)| *address) {
            Ok(place) => Arc::clone(&methods[place].1),
            Err(place) => {
                let cells = self.metrics.cells(path);
                methods.insert(place, (address, Arc::clone(&cells)));
                cells
            }
        }
    }
}

impl Drop for ServerMetrics {
    fn drop(&mut self) {
        for (_, cells) in self.methods.get_mut() {
            self.metrics.retire(cells);
        }
    }
}

impl<'a> Layer<Incoming<'a>> for ServerMetrics {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let (begun, cells) = (call.now(), self.cells(call.view()));
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

impl fmt::Debug for ServerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerMetrics").field("methods", &self.methods.borrow().len()).finish()
    }
}
