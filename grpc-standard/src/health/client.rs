//! Asking other servers for their health.

use std::fmt;
use std::time::Duration;

use grpc_service::client::Receiving;
use grpc_service::{Arena, CallError, Channel};

use super::ServingStatus;
use super::v1::{HealthCheckRequest, HealthClient, health_methods};

/// Checks and watches the services of a server.
///
/// ```no_run
/// # async fn wait(channel: grpc_service::Channel) -> Result<(), grpc_service::CallError> {
/// use grpc_standard::health::{Checker, ServingStatus};
///
/// let mut watching = Checker::new(channel).watch("helloworld.Greeter").await?;
/// while watching.next().await? != Some(ServingStatus::SERVING) {}
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Checker {
    client: HealthClient,
}

impl Checker {
    /// Asks the server at the other end of `channel`.
    pub fn new(channel: Channel) -> Self {
        Self { client: HealthClient::new(channel) }
    }

    /// The stub underneath, for calls with other options.
    pub fn client(&self) -> &HealthClient {
        &self.client
    }

    /// The status of a service, `""` for the server, if an answer comes within `timeout`.
    ///
    /// # Errors
    /// NOT_FOUND if the server does not know the service, UNIMPLEMENTED if it has no health checks, and all that a call can
    /// end with.
    pub async fn check(
        &self,
        service: &str,
        timeout: Duration,
    ) -> Result<ServingStatus, CallError> {
        let (request, arena) = (request(service), Arena::new());
        Ok(self.client.check(&request, &arena).timeout(timeout).await?.status)
    }

    /// Begins to watch a service, `""` for the server.
    ///
    /// # Errors
    /// Those of a call that cannot be opened; what the server answers comes from [`Watching::next`].
    pub async fn watch(&self, service: &str) -> Result<Watching, CallError> {
        let stream = self.client.watch(&request(service)).await?;
        Ok(Watching { stream, arena: Arena::new() })
    }
}

fn request(service: &str) -> HealthCheckRequest<'_> {
    HealthCheckRequest { service, ..HealthCheckRequest::EMPTY }
}

/// The statuses of a service; dropping it ends the watch.
pub struct Watching {
    stream: Receiving<health_methods::Watch>,
    arena: Arena,
}

impl Watching {
    /// The status now, and then each one that differs from the one before; `None` if the server ends the watch without an
    /// error, which none should.
    ///
    /// # Errors
    /// UNIMPLEMENTED if the server has no health checks, UNAVAILABLE when it drains or is lost: watch again.
    pub async fn next(&mut self) -> Result<Option<ServingStatus>, CallError> {
        let response = self.stream.next(&mut self.arena).await?;
        Ok(response.map(|response| response.status))
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").finish_non_exhaustive()
    }
}
