//! Services that are replaced while they run, on one worker or on several: versions, staging, deployment.
//!
//! A *site* is a name with a service. A new version of the service is *staged* on every worker, which may fail, take
//! its time or be aborted while the version before serves; then it is *deployed* everywhere, which cannot fail. Calls
//! that run end on the version that they began with.
//!
//! Nothing here has a thread, a socket or a clock. [`Sites`] is a worker's part: it executes [`Command`]s, answers with
//! [`Report`]s, and gives each call the version in force. [`Manager`] is the part over all workers: it sends commands
//! through [`Workers`], takes reports, and asks for a timer by `poll_timeout`.
//!
//! ```
//! use std::cell::Cell;
//! use std::convert::Infallible;
//! use grpc_service::deploy::{Command, Event, Manager, Report, Sites, Workers};
//! use grpc_service::model::{AsyncMakeServiceWrapper, MakeService};
//! use grpc_service::Instant;
//!
//! struct Hits(Cell<u32>);
//!
//! #[derive(Clone)]
//! struct HitsFactory;
//! impl MakeService for HitsFactory {
//!     type Service = Hits;
//!     type Error = Infallible;
//!     fn make_via_ref(&self, old: Option<&Hits>) -> Result<Hits, Infallible> {
//!         Ok(Hits(Cell::new(old.map_or(0, |old| old.0.get()))))
//!     }
//!     fn take_over(&self, new: &Hits, old: &Hits) {
//!         new.0.set(old.0.get());
//!     }
//! }
//!
//! type Factory = AsyncMakeServiceWrapper<HitsFactory>;
//!
//! /// One worker, on the manager's own thread.
//! struct Here(Vec<Command<Factory>>);
//! impl Workers for Here {
//!     type Factory = Factory;
//!     fn count(&self) -> usize {
//!         1
//!     }
//!     fn send(&mut self, _worker: usize, command: Command<Factory>) {
//!         self.0.push(command);
//!     }
//! }
//!
//! # fn block_on<T>(mut future: std::pin::Pin<Box<dyn Future<Output = T>>>) -> T {
//! #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! #     loop {
//! #         if let std::task::Poll::Ready(out) = future.as_mut().poll(&mut cx) {
//! #             return out;
//! #         }
//! #     }
//! # }
//! let sites = Sites::<Factory>::new(8);
//! let mut manager = Manager::new(Here(Vec::new()), 8);
//! let mut turn = |manager: &mut Manager<Here>| {
//!     let mut last = None;
//!     while let Some(command) = manager.workers().0.pop() {
//!         let report: Report = block_on(sites.execute(command));
//!         last = manager.handle_report(0, report).or(last);
//!     }
//!     last
//! };
//!
//! let factory = AsyncMakeServiceWrapper(HitsFactory);
//! let first = manager.stage_and_deploy("shop", factory.clone(), Instant::NEVER)?;
//! assert!(matches!(turn(&mut manager), Some(Event::Deployed { version, .. }) if version == first));
//!
//! let second = manager.stage("shop", factory, Instant::NEVER)?;
//! assert!(matches!(turn(&mut manager), Some(Event::Staged { version, .. }) if version == second));
//! let running = sites.begin("shop").expect("deployed"); // a call on the first version
//! running.0.set(7); // after the second was made
//! manager.deploy("shop", second)?;
//! turn(&mut manager);
//! assert_eq!(running.version(), first);
//! let next = sites.begin("shop").expect("deployed");
//! assert_eq!((next.version(), next.0.get()), (second, 7));
//! # Ok::<(), grpc_service::deploy::DeployError>(())
//! ```

mod manager;
mod sites;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use manager::{Event, ManagedSite, Manager, Workers};
pub use sites::{Running, SiteStatus, Sites};

/// The number of a staging; later ones are greater, over all sites of a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// What a worker is to do. A worker executes its commands in the order in which they were sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Command<F> {
    /// Make a service from the one in force, and keep it. What was staged before is dropped.
    Stage {
        /// The name of the site.
        site: Arc<str>,
        /// The version that the service will have.
        version: Version,
        /// Makes it.
        factory: F,
    },
    /// Put the staged service in force.
    Deploy {
        /// The name of the site.
        site: Arc<str>,
        /// The version that must be the staged one.
        version: Version,
    },
    /// Drop what is staged, or stop staging it.
    Abort {
        /// The name of the site.
        site: Arc<str>,
        /// The version that is staged.
        version: Version,
    },
    /// Forget the site; calls that run end.
    Remove {
        /// The name of the site.
        site: Arc<str>,
    },
}

/// What a worker answers to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The name of the site.
    pub site: Arc<str>,
    /// The version of the command; `None` for [`Command::Remove`].
    pub version: Option<Version>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The service is made and kept.
    Staged,
    /// The service is not made, and the one in force stays.
    NotStaged(StageError),
    /// The service is in force. `take_over` says what its factory's second hook panicked with, if it did.
    Deployed {
        /// The message of a panic.
        take_over: Result<(), String>,
    },
    /// The version was not staged on this worker, so nothing was deployed: the worker has lost it.
    NothingStaged,
    /// The staged version, if there was one, is dropped.
    Aborted,
    /// The site, if there was one, is forgotten.
    Removed,
}

/// Why a worker has not staged a version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StageError {
    /// The factory returned this error.
    Failed(String),
    /// The factory panicked with this message.
    Panicked(String),
    /// Another command ended the staging.
    Aborted,
    /// The worker has as many sites as it may have.
    TooManySites {
        /// The argument of [`Sites::new`].
        limit: usize,
    },
    /// The worker did not report before the deadline.
    DeadlineExceeded,
    /// The worker ended.
    WorkerLost,
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the factory failed: {error}"),
            Self::Panicked(message) => write!(f, "the factory panicked: {message}"),
            Self::Aborted => f.write_str("another command ended the staging"),
            Self::TooManySites { limit } => {
                write!(f, "the worker has {limit} sites, its limit; remove one first")
            }
            Self::DeadlineExceeded => f.write_str("the worker did not report before the deadline"),
            Self::WorkerLost => f.write_str("the worker ended"),
        }
    }
}

impl Error for StageError {}

/// A request to a [`Manager`] that changes nothing, because it does not fit the site's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeployError {
    /// There is no site of that name.
    UnknownSite,
    /// This version is staged or being staged: deploy or abort it first.
    AlreadyStaging(Version),
    /// The version is not staged on all workers.
    NotStaged(Version),
    /// The manager has as many sites as it may have: remove one first.
    TooManySites {
        /// The argument of [`Manager::new`].
        limit: usize,
    },
}

impl fmt::Display for DeployError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSite => f.write_str("there is no site of that name"),
            Self::AlreadyStaging(version) => {
                write!(
                    f,
                    "{version} of the site is staged or being staged; deploy or abort it first"
                )
            }
            Self::NotStaged(version) => {
                write!(f, "{version} is not staged on all workers; wait for `Event::Staged`")
            }
            Self::TooManySites { limit } => {
                write!(f, "there are {limit} sites, the limit; remove one first")
            }
        }
    }
}

impl Error for DeployError {}
