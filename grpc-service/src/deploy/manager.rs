//! The part over all workers: all or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Command, DeployError, Outcome, Report, StageError, Version};
use crate::Instant;

/// How commands reach workers.
pub trait Workers {
    /// What makes the services; each worker gets a clone.
    type Factory: Clone;

    /// How many workers there are; it does not change.
    fn count(&self) -> usize;

    /// Sends a command to the worker of that index. Commands to one worker arrive in order. This does not wait, and
    /// does not fail: a worker that is gone does not report, and the deadline ends the staging.
    fn send(&mut self, worker: usize, command: Command<Self::Factory>);
}

/// What came of a staging or deployment over all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The version is staged on all workers.
    Staged {
        /// The name of the site.
        site: Arc<str>,
        /// The version.
        version: Version,
    },
    /// The staging has failed, and is aborted on all workers. What was in force stays.
    Failed {
        /// The name of the site.
        site: Arc<str>,
        /// The version.
        version: Version,
        /// Workers by index, and why.
        workers: Vec<(usize, StageError)>,
    },
    /// All workers have executed the deployment. It comes once for each deployment, unless a later one overtakes it.
    Deployed {
        /// The name of the site.
        site: Arc<str>,
        /// The version.
        version: Version,
        /// Workers by index that had lost the version: they serve what they served before, if anything. Stage and
        /// deploy again to bring them back.
        behind: Vec<usize>,
        /// Workers by index on which the factory's second hook panicked, and the message. The version is in force there.
        take_over_panics: Vec<(usize, String)>,
    },
}

/// A site over all workers, as [`Manager::status`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagedSite {
    /// The version in force on each worker, as far as workers have reported.
    pub deployed: Vec<Option<Version>>,
    /// The version that is staged or being staged.
    pub staging: Option<Version>,
    /// Whether it is staged on all workers.
    pub staged: bool,
}

struct Staging {
    version: Version,
    deadline: Instant,
    then_deploy: bool,
    /// Workers that have not reported.
    waiting: Vec<bool>,
}

impl Staging {
    fn is_staged(&self) -> bool {
        !self.waiting.contains(&true)
    }
}

/// A deployment that workers have not all executed.
struct Deploying {
    version: Version,
    waiting: Vec<bool>,
    behind: Vec<usize>,
    panics: Vec<(usize, String)>,
}

struct Site {
    deployed: Vec<Option<Version>>,
    staging: Option<Staging>,
    deploying: Option<Deploying>,
}

impl Site {
    /// A worker has executed the deployment of a version; the last one to do so completes it.
    fn executed(
        &mut self,
        worker: usize,
        version: Version,
        name: &Arc<str>,
        note: impl FnOnce(&mut Deploying),
    ) -> Option<Event> {
        let deploying = self.deploying.as_mut().filter(|d| d.version == version)?;
        if !std::mem::replace(deploying.waiting.get_mut(worker)?, false) {
            return None;
        }
        note(deploying);
        if deploying.waiting.contains(&true) {
            return None;
        }
        let Deploying { behind, panics, .. } = self.deploying.take()?;
        let site = Arc::clone(name);
        Some(Event::Deployed { site, version, behind, take_over_panics: panics })
    }
}

/// Stages and deploys services on all workers, or on none.
///
/// Commands go to all workers at once. A version has a site to itself from its staging on until it is deployed or
/// aborted, and every command names its version: two users of one manager cannot mix theirs.
///
/// Deploying cannot fail: all that can fail happens while staging. Until every worker has executed its command, some
/// serve the old version and some the new one.
pub struct Manager<W: Workers> {
    workers: W,
    sites: BTreeMap<Arc<str>, Site>,
    limit: usize,
    last: u64,
}

impl<W: Workers> Manager<W> {
    /// A manager of at most `limit` sites.
    pub fn new(workers: W, limit: usize) -> Self {
        Self { workers, sites: BTreeMap::new(), limit, last: 0 }
    }

    /// The workers.
    pub fn workers(&mut self) -> &mut W {
        &mut self.workers
    }

    /// Stages a service on every worker, for a site that exists or a new one. [`Event::Staged`] or [`Event::Failed`]
    /// follows; if workers have not reported at `deadline`, the latter.
    ///
    /// # Errors
    /// If another version of the site is staged, or there are too many sites.
    pub fn stage(
        &mut self,
        site: &str,
        factory: W::Factory,
        deadline: Instant,
    ) -> Result<Version, DeployError> {
        self.start(site, factory, deadline, false)
    }

    /// As [`stage`](Self::stage), and deploys once every worker has staged: [`Event::Deployed`] follows instead of
    /// [`Event::Staged`].
    ///
    /// # Errors
    /// As [`stage`](Self::stage).
    pub fn stage_and_deploy(
        &mut self,
        site: &str,
        factory: W::Factory,
        deadline: Instant,
    ) -> Result<Version, DeployError> {
        self.start(site, factory, deadline, true)
    }

    /// Puts a staged version in force on every worker. [`Event::Deployed`] follows.
    ///
    /// # Errors
    /// If the version is not staged on all workers.
    pub fn deploy(&mut self, site: &str, version: Version) -> Result<(), DeployError> {
        let waiting = vec![true; self.workers.count()];
        let (name, entry) = entry(&mut self.sites, site)?;
        match &entry.staging {
            Some(staging) if staging.version == version && staging.is_staged() => {}
            _ => return Err(DeployError::NotStaged(version)),
        }
        entry.staging = None;
        let (behind, panics) = (Vec::new(), Vec::new());
        entry.deploying = Some(Deploying { version, waiting, behind, panics });
        self.send_all(|| Command::Deploy { site: Arc::clone(&name), version });
        Ok(())
    }

    /// Drops a version that is staged or being staged. What is in force stays.
    ///
    /// # Errors
    /// If the version is neither.
    pub fn abort(&mut self, site: &str, version: Version) -> Result<(), DeployError> {
        let (name, entry) = entry(&mut self.sites, site)?;
        if entry.staging.as_ref().is_none_or(|staging| staging.version != version) {
            return Err(DeployError::NotStaged(version));
        }
        self.end_staging(&name, version);
        Ok(())
    }

    /// Forgets a site, and what is staged of it. Calls that run end.
    ///
    /// # Errors
    /// If there is none.
    pub fn remove(&mut self, site: &str) -> Result<(), DeployError> {
        let (name, _) = entry(&mut self.sites, site)?;
        self.sites.remove(&name);
        self.send_all(|| Command::Remove { site: Arc::clone(&name) });
        Ok(())
    }

    /// Takes a worker's report. Late ones, of versions that were aborted, have no effect.
    pub fn handle_report(&mut self, worker: usize, report: Report) -> Option<Event> {
        let Report { site, version, outcome } = report;
        let (name, entry) = entry(&mut self.sites, &site).ok()?;
        let version = version?;
        match outcome {
            Outcome::Staged => {
                let staging = entry.staging.as_mut().filter(|s| s.version == version)?;
                let waiting = staging.waiting.get_mut(worker)?;
                if !std::mem::replace(waiting, false) || !staging.is_staged() {
                    return None;
                }
                if staging.then_deploy {
                    self.deploy(&name, version).ok()?;
                    return None;
                }
                Some(Event::Staged { site: name, version })
            }
            Outcome::NotStaged(error) => {
                entry.staging.as_ref().filter(|s| s.version == version)?.waiting.get(worker)?;
                self.end_staging(&name, version);
                Some(Event::Failed { site: name, version, workers: vec![(worker, error)] })
            }
            Outcome::Deployed { take_over } => {
                *entry.deployed.get_mut(worker)? = Some(version);
                entry.executed(worker, version, &name, |deploying| {
                    deploying.panics.extend(take_over.err().map(|message| (worker, message)));
                })
            }
            Outcome::NothingStaged => entry.executed(worker, version, &name, |deploying| {
                deploying.behind.push(worker);
            }),
            Outcome::Aborted | Outcome::Removed => None,
        }
    }

    /// A worker has ended, and a new one without sites has its index. Versions that are staged or being staged fail,
    /// because the new one does not have them, and the worker is behind in deployments that it has not executed. Call
    /// this until it gives `None`.
    pub fn handle_loss(&mut self, worker: usize) -> Option<Event> {
        for (name, site) in &mut self.sites {
            if let Some(deployed) = site.deployed.get_mut(worker) {
                *deployed = None;
            }
            let Some(version) = site.deploying.as_ref().map(|deploying| deploying.version) else {
                continue;
            };
            let behind = |deploying: &mut Deploying| deploying.behind.push(worker);
            if let Some(event) = site.executed(worker, version, name, behind) {
                return Some(event);
            }
        }
        let (name, version) = self.sites.iter().find_map(|(name, site)| {
            site.staging.as_ref().map(|staging| (Arc::clone(name), staging.version))
        })?;
        self.end_staging(&name, version);
        let workers = vec![(worker, StageError::WorkerLost)];
        Some(Event::Failed { site: name, version, workers })
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.sites.values().filter_map(|site| site.staging.as_ref());
        waiting.filter(|staging| !staging.is_staged()).map(|staging| staging.deadline).min()
    }

    /// Fails a staging whose deadline has passed; call this until it gives `None`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Event> {
        let (name, version, workers) = self.sites.iter().find_map(|(name, site)| {
            let staging = site.staging.as_ref()?;
            if staging.is_staged() || staging.deadline > now {
                return None;
            }
            let silent = staging.waiting.iter().enumerate().filter(|(_, waiting)| **waiting);
            let workers = silent.map(|(worker, _)| (worker, StageError::DeadlineExceeded));
            Some((Arc::clone(name), staging.version, workers.collect()))
        })?;
        self.end_staging(&name, version);
        Some(Event::Failed { site: name, version, workers })
    }

    /// A site's versions on all workers.
    pub fn status(&self, site: &str) -> Option<ManagedSite> {
        let site = self.sites.get(site)?;
        Some(ManagedSite {
            deployed: site.deployed.clone(),
            staging: site.staging.as_ref().map(|staging| staging.version),
            staged: site.staging.as_ref().is_some_and(Staging::is_staged),
        })
    }

    fn start(
        &mut self,
        site: &str,
        factory: W::Factory,
        deadline: Instant,
        then_deploy: bool,
    ) -> Result<Version, DeployError> {
        let (count, sites) = (self.workers.count(), self.sites.len());
        let name = match entry(&mut self.sites, site) {
            Ok((_, Site { staging: Some(staging), .. })) => {
                return Err(DeployError::AlreadyStaging(staging.version));
            }
            Ok((name, _)) => name,
            Err(_) if sites >= self.limit => {
                return Err(DeployError::TooManySites { limit: self.limit });
            }
            Err(_) => Arc::from(site),
        };
        self.last += 1;
        let version = Version(self.last);
        let entry = self.sites.entry(Arc::clone(&name)).or_insert_with(|| Site {
            deployed: vec![None; count],
            staging: None,
            deploying: None,
        });
        let waiting = vec![true; count];
        entry.staging = Some(Staging { version, deadline, then_deploy, waiting });
        self.send_all(|| Command::Stage {
            site: Arc::clone(&name),
            version,
            factory: factory.clone(),
        });
        Ok(version)
    }

    /// Aborts on all workers, and forgets a site of which nothing was ever deployed.
    fn end_staging(&mut self, name: &Arc<str>, version: Version) {
        if let Some(site) = self.sites.get_mut(name) {
            site.staging = None;
            if site.deploying.is_none() && site.deployed.iter().all(Option::is_none) {
                self.sites.remove(name);
            }
        }
        self.send_all(|| Command::Abort { site: Arc::clone(name), version });
    }

    fn send_all(&mut self, command: impl Fn() -> Command<W::Factory>) {
        for worker in 0..self.workers.count() {
            self.workers.send(worker, command());
        }
    }
}

fn entry<'s>(
    sites: &'s mut BTreeMap<Arc<str>, Site>,
    site: &str,
) -> Result<(Arc<str>, &'s mut Site), DeployError> {
    let name = sites.get_key_value(site).map(|(name, _)| Arc::clone(name));
    let name = name.ok_or(DeployError::UnknownSite)?;
    let entry = sites.get_mut(&name).ok_or(DeployError::UnknownSite)?;
    Ok((name, entry))
}
