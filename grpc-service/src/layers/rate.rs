//! A limit of the rate of calls.

use std::cell::Cell;
use std::time::Duration;

use grpc_proto::{Code, Instant, Status};

use super::{Incoming, Layer, Next, Outgoing};
use crate::client::CallError;

/// Refuses calls with RESOURCE_EXHAUSTED beyond a rate, on each thread.
///
/// It is a bucket of `burst` tokens that fills at the rate; a call takes one. It holds one number.
#[derive(Debug)]
pub struct RateLimit {
    /// Time in which one token comes back.
    interval: Duration,
    burst: u32,
    /// When the bucket will be full.
    full_at: Cell<Instant>,
}

impl RateLimit {
    /// At most `burst` calls at once, and `calls` in each `span` on average; one of each at least.
    pub fn new(calls: u32, span: Duration, burst: u32) -> Self {
        Self { interval: span / calls.max(1), burst: burst.max(1), full_at: Cell::default() }
    }

    /// Takes a token, or says how long it takes until there is one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.get().max(now) + self.interval;
        let room = self.interval * self.burst;
        let ahead = full_at - now;
        if ahead > room {
            return Err(ahead - room);
        }
        self.full_at.set(full_at);
        Ok(())
    }
}

pub(super) fn refused(wait: Duration) -> Status {
    let text = format!("too many calls; make the next one in {} ms", wait.as_millis() + 1);
    Status::new(Code::ResourceExhausted, text)
}

impl<'a> Layer<Incoming<'a>> for RateLimit {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        self.take(call.now()).map_err(refused)?;
        next.call(call).await
    }
}

impl<'a> Layer<Outgoing<'a>> for RateLimit {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        self.take(call.now()).map_err(|wait| CallError::local(refused(wait)))?;
        next.call(call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_the_rate() {
        let limit = RateLimit::new(10, Duration::from_secs(1), 3);
        let at = Instant::from_millis;
        let taken = |now| (0..10).filter(|_| limit.take(at(now)).is_ok()).count();
        assert_eq!((taken(1000), taken(1000)), (3, 0));
        assert_eq!(limit.take(at(1050)), Err(Duration::from_millis(50)));
        assert_eq!((taken(1099), taken(1100), taken(1300)), (0, 1, 2));
        assert_eq!(taken(90_000), 3, "no more than the burst after a pause");
    }
}
