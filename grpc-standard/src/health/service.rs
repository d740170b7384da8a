//! The service that answers health checks.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use grpc_arena::codec::Map;
use grpc_service::{Cx, Routes, Sink, Status};

use super::reporter::Watcher;
use super::v1::{
    Health, HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    register_health,
};
use super::{HealthReporter, ServingStatus};

/// The most services that `List` names (gRFC A90); with more it answers RESOURCE_EXHAUSTED.
pub const LIST_LIMIT: usize = 100;

/// Lets `routes`, a router or routes with layers, answer health checks with what `reporter` knows.
pub fn register(routes: &mut impl Routes, reporter: &HealthReporter) {
    register_health(routes, Rc::new(HealthService::new(reporter.clone())));
}

/// Serves `grpc.health.v1.Health`; to be put into a router by [`register`], or wrapped before.
#[derive(Clone, Debug)]
pub struct HealthService {
    reporter: HealthReporter,
}

impl HealthService {
    /// A service that reports what `reporter` knows.
    pub fn new(reporter: HealthReporter) -> Self {
        Self { reporter }
    }

    /// What the peer of a connection shall see of a service.
    fn shown(&self, service: &str, cx: &Cx<'_>) -> ServingStatus {
        as_seen(self.reporter.status(service), cx)
    }
}

/// A server that stops serves nothing, whatever its services say.
fn as_seen(status: ServingStatus, cx: &Cx<'_>) -> ServingStatus {
    match status {
        ServingStatus::SERVING if cx.is_stopping() => ServingStatus::NOT_SERVING,
        status => status,
    }
}

impl Health for HealthService {
    async fn check<'a>(
        &self,
        cx: &Cx<'a>,
        request: HealthCheckRequest<'a>,
    ) -> Result<HealthCheckResponse<'a>, Status> {
        match self.shown(request.service, cx) {
            ServingStatus::SERVICE_UNKNOWN => Err(Status::not_found(
                "no such service is known to the health checks; ask for its full name, as package.Service, or for an empty one",
            )),
            status => Ok(HealthCheckResponse { status, ..HealthCheckResponse::EMPTY }),
        }
    }

    async fn list<'a>(
        &self,
        cx: &Cx<'a>,
        _: HealthListRequest<'a>,
    ) -> Result<HealthListResponse<'a>, Status> {
        let mut statuses = Vec::with_capacity(LIST_LIMIT);
        let listed = self.reporter.list(LIST_LIMIT, |name, status| {
            let status = as_seen(status, cx);
            let response = HealthCheckResponse { status, ..HealthCheckResponse::EMPTY };
            statuses.push((cx.arena().alloc_str(name), response));
        });
        if let Err(number) = listed {
            return Err(Status::resource_exhausted(format!(
                "{number} services are more than the {LIST_LIMIT} that a list may have; check them one by one"
            )));
        }
        let statuses = Map::collect_in(statuses, cx.arena());
        Ok(HealthListResponse { statuses, ..HealthListResponse::EMPTY })
    }

    async fn watch<'a>(
        &self,
        cx: &Cx<'a>,
        request: HealthCheckRequest<'a>,
        out: &mut Sink<'_, HealthCheckResponse<'static>>,
    ) -> Result<(), Status> {
        let name = request.service;
        let watcher = Leaving { watcher: self.reporter.watch(), name };
        let mut draining = pin!(cx.draining());
        let (mut known, mut sent) = (None, None);
        loop {
            let (change, drains) = poll_fn(|task| {
                let drains = draining.as_mut().poll(task).is_ready();
                match watcher.watcher.poll_change(name, known, task) {
                    Poll::Ready(status) => Poll::Ready((Some(status), drains)),
                    Poll::Pending if drains => Poll::Ready((None, true)),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await;
            known = change.or(known);
            let status = as_seen(known.unwrap_or(ServingStatus::SERVICE_UNKNOWN), cx);
            if sent != Some(status) {
                sent = Some(status);
                out.send(&HealthCheckResponse { status, ..HealthCheckResponse::EMPTY }).await?;
            }
            if drains {
                return Err(Status::unavailable(
                    "the connection drains; watch again on another connection",
                ));
            }
        }
    }
}

/// A watcher that leaves no waker behind.
struct Leaving<'r, 'n> {
    watcher: Watcher<'r>,
    name: &'n str,
}

impl Drop for Leaving<'_, '_> {
    fn drop(&mut self) {
        self.watcher.leave(self.name);
    }
}
