//! A line for each call.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use grpc_proto::Status;

use super::observe::Ending;
use super::{CallView, Incoming, Layer, Next};

/// Writes a line for each call when it ends: path, code, time, messages and bytes in both directions, and the peer.
///
/// ```text
/// /helloworld.Greeter/SayHello OK 1.204ms, received 1 (7 B), sent 1 (14 B), 127.0.0.1:40112
/// ```
///
/// What the client chose is escaped and cut to 256 characters. The line is built in memory that is used again.
pub struct RequestLog<F> {
    write: F,
    line: RefCell<String>,
}

impl<F: Fn(&str)> RequestLog<F> {
    /// A log whose lines go to `write`; a panic of it is caught and has no effect.
    pub fn new(write: F) -> Self {
        Self { write, line: RefCell::default() }
    }
}

/// Characters of a path that are shown.
const PATH_SHOWN: usize = 256;

impl<'a, F: Fn(&str)> Layer<Incoming<'a>> for RequestLog<F> {
    async fn call(&self, call: Incoming<'a>, next: &impl Next<Incoming<'a>>) -> Result<(), Status> {
        let begun = call.now();
        let ended = |call: CallView<'a>, status: &Status| {
            let (took, counts) = (call.now() - begun, call.counts());
            let path = call.path().chars().flat_map(char::escape_debug).take(PATH_SHOWN);
            let mut line = self.line.take();
            line.clear();
            line.extend(path);
            let _ = write!(
                line,
                " {} {took:?}, received {} ({} B), sent {} ({} B), {}",
                status.code(),
                counts.received,
                counts.received_bytes,
                counts.sent,
                counts.sent_bytes,
                call.peer()
            );
            (self.write)(&line);
            self.line.replace(line);
        };
        let ending = Ending::new(&ended, call.view());
        let outcome = next.call(call).await;
        ending.end(&outcome);
        outcome
    }
}

impl<F> fmt::Debug for RequestLog<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLog").finish_non_exhaustive()
    }
}
