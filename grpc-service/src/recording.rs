//! Which connections are recorded, and where to.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use grpc_proto::http2::Side;
use grpc_proto::record::{END, Options, Recorder, Sink};
use grpc_proto::{Config, Connection, Role};

use crate::Host;

/// Records connections, so that what happened on them can be replayed step by step.
///
/// A recording holds all that was said, messages, metadata and credentials included: keep it as you keep them.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("recordings-{}", std::process::id()));
/// use grpc_service::{Recordings, ServerOptions};
///
/// let recordings = Recordings::into_dir(&dir)?.max_bytes(1 << 20);
/// let options = ServerOptions::default().record(recordings);
/// # std::fs::remove_dir(dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Recordings {
    options: Options,
    open: Arc<Open>,
}

type Open = dyn Fn(Side, &str) -> Option<Sink> + Send + Sync;

impl Recordings {
    /// Asks `open` for each new connection where its recording goes, or whether there is none.
    ///
    /// It is told which end is recorded, and who is at the other one: the peer of a server's connection as
    /// [`Peer`](crate::Peer) shows it, a channel's authority. What it returns is called with the bytes, on the
    /// connection's thread and within its turns: writing a file there holds the thread up as long as that takes, and the
    /// connection, or the channel, is out of reach. If `open` panics there is no recording, and if what it returned
    /// does, the recording ends there; the connection goes on.
    pub fn new(open: impl Fn(Side, &str) -> Option<Sink> + Send + Sync + 'static) -> Self {
        Self { options: Options::default(), open: Arc::new(open) }
    }

    /// Records every connection into a file of its own in `dir`, which is made if it is not there.
    ///
    /// Files are named `SIDE-PROCESS-NUMBER.grpcrec`. On Unix their owner alone can read them. They are written
    /// record by record, on the connection's thread, so that they outlive a process that is killed, and end with the
    /// connection. A file that cannot be made or written ends its recording and nothing else: its replay tells that it
    /// breaks off.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn into_dir(dir: impl AsRef<Path>) -> io::Result<Self> {
        let dir = dir.as_ref().to_owned();
        let mut maker = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
        maker.recursive(true).create(&dir)?;
        let made = AtomicU64::new(0);
        Ok(Self::new(move |side, _| {
            let mut file = Some(create(&dir, side, &made).ok()?);
            Some(Box::new(move |bytes| {
                if let Some(open) = &mut file
                    && open.write_all(bytes).is_err()
                {
                    // What would follow the gap could not be replayed.
                    file = None;
                }
            }))
        }))
    }

    /// Sets how many bytes a recording may have: [`Options::max_bytes`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.options.max_bytes = bytes;
        self
    }

    /// Sets whether output is written down whole: [`Options::output_bytes`].
    #[must_use]
    pub fn output_bytes(mut self, whole: bool) -> Self {
        self.options.output_bytes = whole;
        self
    }
}

/// A new file under the next name that is free.
fn create(dir: &Path, side: Side, made: &AtomicU64) -> io::Result<File> {
    let side = match side {
        Side::Client => "client",
        Side::Server => "server",
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    loop {
        let number = made.fetch_add(1, Ordering::Relaxed);
        let name = format!("{side}-{}-{number}.grpcrec", std::process::id());
        match options.open(dir.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => return file,
        }
    }
}

/// A new connection, recorded if it is to be.
pub(crate) fn connect<R: Role>(
    recordings: Option<&Recordings>,
    side: Side,
    peer: &dyn fmt::Display,
    config: &Config,
    host: &dyn Host,
) -> Recorder<R> {
    let (entropy, now) = (host.entropy(), host.now());
    let sink = recordings.and_then(|recordings| {
        // The program's code, as a handler is: a panic of it must not cost a connection, let alone all of the thread.
        let open = || (recordings.open)(side, &peer.to_string());
        let sink = catch_unwind(AssertUnwindSafe(open)).ok().flatten()?;
        Some((&recordings.options, guarded(sink)))
    });
    match sink {
        None => Recorder::from(Connection::new(config, entropy, now)),
        Some((options, sink)) => Recorder::recording(config, entropy, now, options, sink),
    }
}

/// Has a sink that panics end its recording and nothing else.
fn guarded(sink: Sink) -> Sink {
    let mut sink = Some(sink);
    Box::new(move |bytes| {
        // A panic that drops the connection came out of what was written last: that recording has no end.
        if bytes == END && thread::panicking() {
            return;
        }
        if let Some(open) = &mut sink
            && catch_unwind(AssertUnwindSafe(|| open(bytes))).is_err()
        {
            // What would follow the gap could not be replayed.
            sink = None;
        }
    })
}

impl fmt::Debug for Recordings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recordings").field("options", &self.options).finish_non_exhaustive()
    }
}
