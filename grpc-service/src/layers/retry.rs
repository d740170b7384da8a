//! Calls that are made again.

use grpc_proto::{Code, Processed};

use super::{Layer, Next, Outgoing};
use crate::Backoff;
use crate::client::CallError;

/// Makes a call again that has failed with UNAVAILABLE, where that is safe: the server has not processed it, or the schema
/// says that it may be repeated (`idempotency_level`).
///
/// It comes on top of the transparent retries of a channel, which know only what never reached the server's application.
/// Between two attempts it waits, until the deadline at most. A call of a stream is made again only until it was opened.
#[derive(Clone, Debug)]
pub struct Retry {
    attempts: u32,
    backoff: Backoff,
    codes: &'static [Code],
}

impl Retry {
    /// At most so many attempts, one at least, paced by `backoff`.
    pub fn new(attempts: u32, backoff: Backoff) -> Self {
        Self { attempts, backoff, codes: &[Code::Unavailable] }
    }

    /// Sets which codes are worth another attempt.
    #[must_use]
    pub fn codes(mut self, codes: &'static [Code]) -> Self {
        self.codes = codes;
        self
    }

    fn may_repeat(&self, call: Outgoing<'_>, error: &CallError) -> bool {
        let is_safe = call.method().idempotency().may_repeat()
            || matches!(call.processed(), None | Some(Processed::No | Processed::Refused));
        is_safe && call.may_repeat() && self.codes.contains(&error.code())
    }
}

impl<'a> Layer<Outgoing<'a>> for Retry {
    async fn call(
        &self,
        call: Outgoing<'a>,
        next: &impl Next<Outgoing<'a>>,
    ) -> Result<(), CallError> {
        // What the layers above have added; those below add theirs again.
        let added = call.added();
        let mut attempt = 1;
        loop {
            let Err(error) = next.call(call).await else { return Ok(()) };
            if attempt >= self.attempts || !self.may_repeat(call, &error) {
                return Err(error);
            }
            let at = call.now() + self.backoff.delay(attempt, call.entropy());
            if call.deadline().is_some_and(|deadline| deadline <= at) {
                return Err(error);
            }
            call.sleep_until(at).await;
            call.set_added(&added);
            attempt += 1;
        }
    }
}
