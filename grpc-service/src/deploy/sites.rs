//! A worker's part: the versions of its sites, and the calls that run on them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{poll_fn, ready};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::{Command, Outcome, Report, StageError, Version};
use crate::LocalFuture;
use crate::model::{AsyncMakeService, MakeError, Panicked, try_make_async};
use crate::report::{drop_payload, panic_message};

/// A service in force, or one that was and has calls left.
struct Deployed<S> {
    version: Version,
    calls: Cell<usize>,
    service: S,
}

/// Versions that are out of force and without calls. They are dropped where nothing is borrowed and no call is polled,
/// because the destructor of a service may do anything, such as begin a call or panic.
type Retired = Rc<RefCell<Vec<Rc<dyn Any>>>>;

/// A service that waits for its deployment, with its factory, which has the second hook.
type Staged<F> = (F, Rc<Deployed<<F as AsyncMakeService>::Service>>);

struct Site<F: AsyncMakeService> {
    current: RefCell<Option<Rc<Deployed<F::Service>>>>,
    /// Those that were in force and may have calls.
    older: RefCell<Vec<Weak<Deployed<F::Service>>>>,
    /// The version that a future is making.
    making: Cell<Option<Version>>,
    /// Wakes that future when its version is aborted.
    waker: Cell<Option<Waker>>,
    staged: Cell<Option<Staged<F>>>,
    retired: Retired,
}

/// The sites of one worker. It stays on the worker's thread.
pub struct Sites<F: AsyncMakeService> {
    sites: RefCell<BTreeMap<Arc<str>, Rc<Site<F>>>>,
    limit: usize,
    retired: Retired,
}

/// A site of one worker, as [`Sites::status`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteStatus {
    /// The name of the site.
    pub site: Arc<str>,
    /// The version in force.
    pub version: Option<Version>,
    /// The version that waits for its deployment.
    pub staged: Option<Version>,
    /// Calls that run, by version, oldest first; versions without calls are left out.
    pub calls: Vec<(Version, usize)>,
}

impl<F> Sites<F>
where
    F: AsyncMakeService + 'static,
    F::Service: 'static,
    F::Error: fmt::Display,
{
    /// A worker without sites, which takes at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self { sites: RefCell::default(), limit, retired: Retired::default() }
    }

    /// Executes a command. All but [`Command::Stage`] are executed when this returns, and their report is ready.
    ///
    /// A staging goes on while its future is polled: other commands may be executed meanwhile, and one that aborts it
    /// wakes the future. Call this outside of polls of calls, since services may be dropped in it.
    pub fn execute(&self, command: Command<F>) -> LocalFuture<Report> {
        let (site, version, outcome) = match command {
            Command::Stage { site, version, factory } => {
                return self.stage(site, version, factory);
            }
            Command::Deploy { site, version } => {
                let outcome = self.deploy(&site, version);
                (site, Some(version), outcome)
            }
            Command::Abort { site, version } => {
                self.abort(&site, version);
                (site, Some(version), Outcome::Aborted)
            }
            Command::Remove { site } => {
                let removed = self.sites.borrow_mut().remove(&site);
                if let Some(site) = removed {
                    site.remove();
                }
                (site, None, Outcome::Removed)
            }
        };
        self.sweep();
        Box::pin(ready(Report { site, version, outcome }))
    }

    /// Begins a call on the version in force, which lives until the last of its calls is dropped.
    ///
    /// A host that wants new versions to reach new connections alone keeps one of these a connection.
    pub fn begin(&self, site: &str) -> Option<Running<F>> {
        let deployed = self.sites.borrow().get(site)?.current.borrow().clone()?;
        deployed.calls.set(deployed.calls.get() + 1);
        Some(Running { deployed: Some(deployed), retired: Rc::clone(&self.retired) })
    }

    /// Drops versions that are out of force and whose last call has ended; their panics have no effect. Call it after
    /// polls of calls. [`execute`](Self::execute) does it as well.
    pub fn sweep(&self) {
        loop {
            let retired = self.retired.borrow_mut().pop();
            match retired {
                Some(retired) => discard(retired),
                None => break,
            }
        }
    }

    /// All sites by name, with their versions and calls.
    pub fn status(&self) -> Vec<SiteStatus> {
        self.sites.borrow().iter().map(|(name, site)| site.status(name)).collect()
    }

    fn stage(&self, name: Arc<str>, version: Version, factory: F) -> LocalFuture<Report> {
        let site = self.sites.borrow().get(&name).cloned();
        let site = match site {
            Some(site) => site,
            None if self.sites.borrow().len() >= self.limit => {
                discard(factory);
                let error = StageError::TooManySites { limit: self.limit };
                let outcome = Outcome::NotStaged(error);
                return Box::pin(ready(Report { site: name, version: Some(version), outcome }));
            }
            None => {
                let site = Rc::new(Site::new(Rc::clone(&self.retired)));
                self.sites.borrow_mut().insert(Arc::clone(&name), Rc::clone(&site));
                site
            }
        };
        site.stop_making();
        discard(site.staged.take());
        site.making.set(Some(version));
        Box::pin(async move {
            let outcome = match site.make(version, factory).await {
                Ok(()) => Outcome::Staged,
                Err(error) => Outcome::NotStaged(error),
            };
            Report { site: name, version: Some(version), outcome }
        })
    }

    fn deploy(&self, name: &str, version: Version) -> Outcome {
        let site = self.sites.borrow().get(name).cloned();
        let Some(site) = site else { return Outcome::NothingStaged };
        match site.staged.take() {
            Some((factory, new)) if new.version == version => site.put_in_force(factory, new),
            other => {
                site.staged.set(other);
                Outcome::NothingStaged
            }
        }
    }

    fn abort(&self, name: &str, version: Version) {
        let site = self.sites.borrow().get(name).cloned();
        let Some(site) = site else { return };
        if site.making.get() == Some(version) {
            site.stop_making();
        }
        match site.staged.take() {
            Some((factory, new)) if new.version == version => {
                discard(factory);
                discard(new);
            }
            other => site.staged.set(other),
        }
        if site.is_empty() {
            self.sites.borrow_mut().remove(name);
        }
    }
}

impl<F> Site<F>
where
    F: AsyncMakeService + 'static,
    F::Service: 'static,
    F::Error: fmt::Display,
{
    fn new(retired: Retired) -> Self {
        Self {
            current: RefCell::new(None),
            older: RefCell::default(),
            making: Cell::new(None),
            waker: Cell::new(None),
            staged: Cell::new(None),
            retired,
        }
    }

    /// Makes and keeps a service, unless its version is aborted meanwhile.
    async fn make(&self, version: Version, factory: F) -> Result<(), StageError> {
        let old = self.current.borrow().clone();
        let mut making = Box::pin(try_make_async(&factory, old.as_ref().map(|old| &old.service)));
        let made = poll_fn(|cx| {
            if self.making.get() != Some(version) {
                return Poll::Ready(Err(StageError::Aborted));
            }
            self.waker.set(Some(cx.waker().clone()));
            making.as_mut().poll(cx).map_err(|error| match error {
                MakeError::Failed(error) => StageError::Failed(error.to_string()),
                MakeError::Panicked(Panicked { message }) => StageError::Panicked(message),
            })
        });
        let made = made.await;
        discard(making);
        if let Some(old) = old {
            retire(&self.retired, old);
        }
        let made = match made {
            // The factory itself may have aborted it.
            Ok(service) if self.making.get() != Some(version) => {
                discard(service);
                Err(StageError::Aborted)
            }
            made => made,
        };
        if self.making.get() == Some(version) {
            self.making.set(None);
            self.waker.set(None);
        }
        match made {
            Ok(service) => {
                let deployed = Deployed { version, calls: Cell::new(0), service };
                self.staged.set(Some((factory, Rc::new(deployed))));
                Ok(())
            }
            Err(error) => {
                discard(factory);
                Err(error)
            }
        }
    }

    /// Ends the future that makes a version.
    fn stop_making(&self) {
        self.making.set(None);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn put_in_force(&self, factory: F, new: Rc<Deployed<F::Service>>) -> Outcome {
        let old = self.current.borrow().clone();
        let mut take_over = Ok(());
        if let Some(old) = &old {
            let hook = || factory.take_over(&new.service, &old.service);
            if let Err(payload) = catch_unwind(AssertUnwindSafe(hook)) {
                take_over = Err(panic_message(&*payload).to_owned());
                drop_payload(payload);
            }
        }
        // `replace`, so that the cell is free again before anything is dropped.
        let before = self.current.replace(Some(new));
        drop(before); // `old` is another share of it
        if let Some(old) = old {
            let mut older = self.older.borrow_mut();
            older.retain(|version| version.strong_count() > 0);
            older.push(Rc::downgrade(&old));
            drop(older);
            retire(&self.retired, old);
        }
        discard(factory);
        Outcome::Deployed { take_over }
    }

    fn remove(&self) {
        self.stop_making();
        discard(self.staged.take());
        let current = self.current.take();
        if let Some(current) = current {
            retire(&self.retired, current);
        }
    }

    fn is_empty(&self) -> bool {
        let staged = self.staged.take();
        let empty =
            staged.is_none() && self.making.get().is_none() && self.current.borrow().is_none();
        self.staged.set(staged);
        empty
    }

    fn status(&self, name: &Arc<str>) -> SiteStatus {
        let current = self.current.borrow().clone();
        let staged = self.staged.take();
        let staged_version = staged.as_ref().map(|(_, staged)| staged.version);
        self.staged.set(staged);
        let mut calls: Vec<_> = self
            .older
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .chain(current.clone())
            .map(|deployed| (deployed.version, deployed.calls.get()))
            .filter(|(_, calls)| *calls > 0)
            .collect();
        calls.sort_unstable();
        SiteStatus {
            site: Arc::clone(name),
            version: current.map(|current| current.version),
            staged: staged_version,
            calls,
        }
    }
}

/// A call on one version of a service; it ends when this is dropped.
pub struct Running<F: AsyncMakeService>
where
    F::Service: 'static,
{
    deployed: Option<Rc<Deployed<F::Service>>>,
    retired: Retired,
}

impl<F: AsyncMakeService> Running<F>
where
    F::Service: 'static,
{
    fn deployed(&self) -> &Deployed<F::Service> {
        self.deployed.as_deref().expect("taken by `drop` alone")
    }

    /// The version of the service.
    pub fn version(&self) -> Version {
        self.deployed().version
    }
}

impl<F: AsyncMakeService> Deref for Running<F>
where
    F::Service: 'static,
{
    type Target = F::Service;

    fn deref(&self) -> &F::Service {
        &self.deployed().service
    }
}

impl<F: AsyncMakeService> Drop for Running<F>
where
    F::Service: 'static,
{
    fn drop(&mut self) {
        if let Some(deployed) = self.deployed.take() {
            deployed.calls.set(deployed.calls.get() - 1);
            retire(&self.retired, deployed);
        }
    }
}

/// Gives a share of a version up; the last one is kept for [`Sites::sweep`].
fn retire<S: 'static>(retired: &Retired, share: Rc<Deployed<S>>) {
    if Rc::strong_count(&share) == 1 {
        retired.borrow_mut().push(share);
    }
}

/// Drops what users wrote; a panic of it has no effect.
fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        drop_payload(payload);
    }
}
