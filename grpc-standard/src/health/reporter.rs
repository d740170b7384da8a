//! What the services of a process say of themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::ServingStatus;

/// The state of all services, shared by the threads of a server. A clone is the same reporter.
///
/// Each method takes a lock for a look-up or a change, and wakes after it. The memory is a few words and the name for each
/// service, and a few words for each `Watch` that waits; peers choose neither the names nor their number.
#[derive(Clone)]
pub struct HealthReporter {
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    services: BTreeMap<Box<str>, Service>,
    /// Those that watch names of no service.
    strangers: Wakers,
    draining: bool,
    ids: u64,
}

struct Service {
    serving: bool,
    watchers: Wakers,
}

/// By the id of the watcher, so that a simulation wakes in the same order each time.
type Wakers = BTreeMap<u64, Waker>;

impl HealthReporter {
    /// A reporter by which the server as a whole, `""`, is serving.
    pub fn new() -> Self {
        let reporter = Self { shared: Arc::default() };
        reporter.set_serving("");
        reporter
    }

    /// Says that a service is ready for calls; one that was not known becomes known.
    pub fn set_serving(&self, service: &str) {
        self.set(service, true);
    }

    /// Says that a service is not ready for calls; one that was not known becomes known.
    pub fn set_not_serving(&self, service: &str) {
        self.set(service, false);
    }

    /// Forgets a service: it is unknown from now on.
    pub fn remove(&self, service: &str) {
        let mut state = self.lock();
        let removed = state.services.remove(service);
        drop(state);
        wake(removed.map(|service| service.watchers).unwrap_or_default());
    }

    /// Reports NOT_SERVING for all services, whatever is set meanwhile, until [`resume`](Self::resume).
    pub fn drain(&self) {
        self.set_draining(true);
    }

    /// Ends a [`drain`](Self::drain): services have the state that was set last.
    pub fn resume(&self) {
        self.set_draining(false);
    }

    /// The status of a service, [`ServingStatus::SERVICE_UNKNOWN`] if it is not known.
    pub fn status(&self, service: &str) -> ServingStatus {
        self.lock().status(service)
    }

    /// How many streams wait for a change.
    pub fn watchers(&self) -> usize {
        let state = self.lock();
        state.services.values().map(|it| it.watchers.len()).sum::<usize>() + state.strangers.len()
    }

    /// Calls `each` with the name and status of every service, in the order of the names, if there are `limit` at most; otherwise
    /// returns their number.
    pub(super) fn list(
        &self,
        limit: usize,
        mut each: impl FnMut(&str, ServingStatus),
    ) -> Result<(), usize> {
        let state = self.lock();
        if state.services.len() > limit {
            return Err(state.services.len());
        }
        for (name, service) in &state.services {
            each(name, state.shown(service));
        }
        Ok(())
    }

    /// Begins to watch a service.
    pub(super) fn watch(&self) -> Watcher<'_> {
        let mut state = self.lock();
        state.ids += 1;
        Watcher { reporter: self, id: state.ids }
    }

    fn set(&self, name: &str, serving: bool) {
        let mut state = self.lock();
        let woken = match state.services.get_mut(name) {
            Some(service) if service.serving == serving => Wakers::new(),
            Some(service) => {
                service.serving = serving;
                take(&mut service.watchers)
            }
            None => {
                let service = Service { serving, watchers: Wakers::new() };
                state.services.insert(name.into(), service);
                take(&mut state.strangers)
            }
        };
        drop(state);
        wake(woken);
    }

    fn set_draining(&self, draining: bool) {
        let mut state = self.lock();
        let mut woken = Vec::new();
        if std::mem::replace(&mut state.draining, draining) != draining {
            woken.extend(state.services.values_mut().map(|service| take(&mut service.watchers)));
        }
        drop(state);
        woken.into_iter().for_each(wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of the program's runs under the lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn status(&self, name: &str) -> ServingStatus {
        match self.services.get(name) {
            Some(service) => self.shown(service),
            None => ServingStatus::SERVICE_UNKNOWN,
        }
    }

    fn shown(&self, service: &Service) -> ServingStatus {
        match service.serving && !self.draining {
            true => ServingStatus::SERVING,
            false => ServingStatus::NOT_SERVING,
        }
    }
}

/// One that waits for changes, whose waker is forgotten when it is dropped.
pub(super) struct Watcher<'r> {
    reporter: &'r HealthReporter,
    id: u64,
}

impl Watcher<'_> {
    /// The status of `service` once it is another one than `known`.
    pub(super) fn poll_change(
        &self,
        service: &str,
        known: Option<ServingStatus>,
        cx: &Context<'_>,
    ) -> Poll<ServingStatus> {
        let waker = cx.waker().clone();
        let mut locked = self.reporter.lock();
        let status = locked.status(service);
        if Some(status) != known {
            return Poll::Ready(status);
        }
        let state = &mut *locked;
        let watchers = match state.services.get_mut(service) {
            Some(service) => &mut service.watchers,
            None => &mut state.strangers,
        };
        let old = watchers.insert(self.id, waker);
        drop(locked);
        drop(old);
        Poll::Pending
    }

    /// Forgets the waker: the name may have become known, or unknown, since it was left.
    pub(super) fn leave(&self, service: &str) {
        let mut state = self.reporter.lock();
        let stranger = state.strangers.remove(&self.id);
        let known = state.services.get_mut(service).and_then(|it| it.watchers.remove(&self.id));
        drop(state);
        drop((stranger, known));
    }
}

/// Wakes tasks of the program, outside of the lock; a panic of one keeps no other from being woken.
fn wake(wakers: Wakers) {
    for waker in wakers.into_values() {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

impl Default for HealthReporter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HealthReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let services = state.services.iter().map(|(name, service)| (name, state.shown(service)));
        f.debug_map().entries(services).finish()
    }
}
