use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{
    Command, DeployError, Event, ManagedSite, Manager, Outcome, Report, Sites, StageError, Version,
    Workers,
};
use crate::model::AsyncMakeService;
use crate::{Instant, LocalFuture};

/// Counts; its destructor does what the factory says.
struct Counter {
    count: Cell<u32>,
    on_drop: Option<Rc<dyn Fn()>>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Some(on_drop) = &self.on_drop {
            on_drop();
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Make {
    #[default]
    Succeeds,
    Fails,
    Panics,
    NeverEnds,
}

#[derive(Clone, Default)]
struct CounterFactory {
    /// What happens on the worker of each index; on others it succeeds.
    makes: Vec<Make>,
    worker: usize,
    take_over_panics: bool,
    on_make: Option<Rc<dyn Fn()>>,
    on_drop: Option<Rc<dyn Fn()>>,
}

impl AsyncMakeService for CounterFactory {
    type Service = Counter;
    type Error = &'static str;
    async fn make_via_ref(&self, old: Option<&Counter>) -> Result<Counter, &'static str> {
        match self.makes.get(self.worker).copied().unwrap_or_default() {
            Make::Succeeds => {}
            Make::Fails => return Err("no certificate"),
            Make::Panics => panic!("a certificate of 0 bytes"),
            Make::NeverEnds => pending().await,
        }
        if let Some(on_make) = &self.on_make {
            on_make();
        }
        let count = Cell::new(old.map_or(0, |old| old.count.get()));
        Ok(Counter { count, on_drop: self.on_drop.clone() })
    }
    fn take_over(&self, new: &Counter, old: &Counter) {
        assert!(!self.take_over_panics, "no room for the old count");
        new.count.set(old.count.get());
    }
}

/// Commands on their way to workers.
struct Links(Vec<VecDeque<Command<CounterFactory>>>);

impl Workers for Links {
    type Factory = CounterFactory;
    fn count(&self) -> usize {
        self.0.len()
    }
    fn send(&mut self, worker: usize, mut command: Command<CounterFactory>) {
        if let Command::Stage { factory, .. } = &mut command {
            factory.worker = worker;
        }
        self.0[worker].push_back(command);
    }
}

/// A manager, its workers, and the reports that are not ready.
struct World {
    manager: Manager<Links>,
    workers: Vec<Rc<Sites<CounterFactory>>>,
    reports: Vec<(usize, LocalFuture<Report>)>,
}

impl World {
    fn new(workers: usize) -> Self {
        let links = Links((0..workers).map(|_| VecDeque::new()).collect());
        let workers = (0..workers).map(|_| Rc::new(Sites::new(4))).collect();
        Self { manager: Manager::new(links, 4), workers, reports: Vec::new() }
    }

    /// Executes what was sent, and polls what runs, until nothing changes.
    fn settle(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let mut idle = true;
            for (worker, sites) in self.workers.iter().enumerate() {
                while let Some(command) = self.manager.workers().0[worker].pop_front() {
                    self.reports.push((worker, sites.execute(command)));
                    idle = false;
                }
            }
            for (worker, mut report) in std::mem::take(&mut self.reports) {
                match report.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending => self.reports.push((worker, report)),
                    Poll::Ready(report) => {
                        events.extend(self.manager.handle_report(worker, report));
                        idle = false;
                    }
                }
            }
            if idle {
                return events;
            }
        }
    }

    fn stage(&mut self, makes: &[Make]) -> Version {
        let factory = CounterFactory { makes: makes.to_vec(), ..CounterFactory::default() };
        self.manager.stage("shop", factory, Instant::from_millis(100)).unwrap()
    }

    fn deploy_first(&mut self) -> Version {
        let version = self.stage(&[]);
        assert_eq!(self.settle(), [Event::Staged { site: "shop".into(), version }]);
        self.manager.deploy("shop", version).unwrap();
        assert_eq!(self.settle(), [deployed(version)]);
        version
    }

    /// Holds every worker to one version in force, none staged, and one that serves.
    fn serves(&self, version: Version) {
        for sites in &self.workers {
            let [status] = &sites.status()[..] else { panic!("{:?}", sites.status()) };
            assert_eq!((status.version, status.staged), (Some(version), None));
            assert_eq!(sites.begin("shop").unwrap().version(), version);
        }
        let deployed = vec![Some(version); self.workers.len()];
        let expected = ManagedSite { deployed, staging: None, staged: false };
        assert_eq!(self.manager.status("shop"), Some(expected));
    }

    fn count(&self, worker: usize) {
        let call = self.workers[worker].begin("shop").unwrap();
        call.count.set(call.count.get() + 1);
    }
}

fn deployed(version: Version) -> Event {
    let (behind, take_over_panics) = (Vec::new(), Vec::new());
    Event::Deployed { site: "shop".into(), version, behind, take_over_panics }
}

fn failed(version: Version, workers: &[(usize, StageError)]) -> Event {
    Event::Failed { site: "shop".into(), version, workers: workers.to_vec() }
}

#[test]
fn a_deployment_carries_over_what_was_counted_after_the_staging() {
    let mut world = World::new(3);
    world.deploy_first();
    for round in 1..=50 {
        world.count(1);
        let version = world.stage(&[]);
        world.settle();
        world.count(1);
        world.manager.deploy("shop", version).unwrap();
        world.count(1);
        assert_eq!(world.settle(), [deployed(version)]);
        world.serves(version);
        assert_eq!(world.workers[1].begin("shop").unwrap().count.get(), 3 * round);
    }
}

#[test]
fn staging_that_fails_on_one_worker_changes_nothing_on_any() {
    for (make, error) in [
        (Make::Fails, StageError::Failed("no certificate".to_owned())),
        (Make::Panics, StageError::Panicked("a certificate of 0 bytes".to_owned())),
    ] {
        let mut world = World::new(3);
        let first = world.deploy_first();
        let version = world.stage(&[Make::NeverEnds, Make::Succeeds, make]);
        assert_eq!(world.settle(), [failed(version, &[(2, error)])]);
        assert!(world.reports.is_empty(), "the staging that never ends was stopped");
        world.serves(first);
        assert_eq!(world.manager.deploy("shop", version), Err(DeployError::NotStaged(version)));

        let next = world.stage(&[]);
        world.settle();
        world.manager.deploy("shop", next).unwrap();
        world.settle();
        world.serves(next);
    }
}

#[test]
fn a_worker_that_does_not_answer_fails_the_staging_at_its_deadline() {
    let mut world = World::new(2);
    let first = world.deploy_first();
    let version = world.stage(&[Make::Succeeds, Make::NeverEnds]);
    assert_eq!(world.settle(), []);
    assert_eq!(world.manager.poll_timeout(), Some(Instant::from_millis(100)));
    assert_eq!(world.manager.handle_timeout(Instant::from_millis(99)), None);
    let event = world.manager.handle_timeout(Instant::from_millis(100));
    assert_eq!(event, Some(failed(version, &[(1, StageError::DeadlineExceeded)])));
    assert_eq!((world.manager.poll_timeout(), world.settle()), (None, vec![]));
    world.serves(first);
}

#[test]
fn a_site_of_which_nothing_was_deployed_is_forgotten_when_staging_fails() {
    let mut world = World::new(2);
    let version = world.stage(&[Make::Fails]);
    world.settle();
    assert_eq!(world.manager.status("shop"), None);
    assert!(world.workers.iter().all(|sites| sites.status().is_empty()));
    assert_eq!(world.manager.abort("shop", version), Err(DeployError::UnknownSite));
}

#[test]
fn two_users_of_a_manager_cannot_mix_their_versions() {
    let mut world = World::new(2);
    let version = world.stage(&[]);
    let again = world.manager.stage("shop", CounterFactory::default(), Instant::NEVER);
    assert_eq!(again, Err(DeployError::AlreadyStaging(version)));
    assert_eq!(world.manager.deploy("shop", version), Err(DeployError::NotStaged(version)));
    world.manager.abort("shop", version).unwrap();
    let next = world.stage(&[]);
    assert_eq!(world.settle(), [Event::Staged { site: "shop".into(), version: next }]);
    assert_eq!(world.manager.deploy("shop", version), Err(DeployError::NotStaged(version)));

    // Neither counts: a report of the version that was aborted, and one from a worker that does not exist.
    for (worker, version) in [(0, version), (7, next)] {
        let outcome = Outcome::NotStaged(StageError::Aborted);
        let late = Report { site: "shop".into(), version: Some(version), outcome };
        assert_eq!(world.manager.handle_report(worker, late), None);
    }
    assert_eq!(world.manager.deploy("shop", next), Ok(()));
}

#[test]
fn staging_with_deployment_waits_for_the_last_worker() {
    let mut world = World::new(2);
    let factory = CounterFactory::default();
    let version = world.manager.stage_and_deploy("shop", factory, Instant::NEVER).unwrap();
    assert_eq!(world.settle(), [deployed(version)]);
    world.serves(version);
}

#[test]
fn a_call_ends_on_its_version_which_is_dropped_after_the_last_call() {
    let dropped = Rc::new(Cell::new(0));
    let mut world = World::new(1);
    let count = Rc::clone(&dropped);
    let on_drop: Rc<dyn Fn()> = Rc::new(move || count.set(count.get() + 1));
    let factory = CounterFactory { on_drop: Some(on_drop), ..CounterFactory::default() };
    let first = world.manager.stage_and_deploy("shop", factory, Instant::NEVER).unwrap();
    world.settle();
    let sites = Rc::clone(&world.workers[0]);
    let calls = [sites.begin("shop").unwrap(), sites.begin("shop").unwrap()];

    let version = world.stage(&[]);
    world.settle();
    world.manager.deploy("shop", version).unwrap();
    world.settle();
    let next = sites.begin("shop").unwrap();
    assert_eq!((calls[0].version(), next.version()), (first, version));
    assert_eq!(sites.status()[0].calls, [(first, 2), (version, 1)]);

    drop(calls);
    assert_eq!(dropped.get(), 0, "not inside the end of the call");
    sites.sweep();
    assert_eq!(dropped.get(), 1);

    world.manager.remove("shop").unwrap();
    world.settle();
    assert!(sites.status().is_empty() && sites.begin("shop").is_none());
    assert_eq!(next.version(), version);
}

#[test]
fn a_destructor_may_begin_a_call_and_panic() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut world = World::new(1);
    let (sites, log) = (Rc::downgrade(&world.workers[0]), Rc::clone(&seen));
    let on_drop: Rc<dyn Fn()> = Rc::new(move || {
        let Some(sites) = sites.upgrade() else { return };
        log.borrow_mut().push(sites.begin("shop").map(|call| call.version()));
        panic!("in a destructor");
    });
    let factory = CounterFactory { on_drop: Some(on_drop), ..CounterFactory::default() };
    world.manager.stage_and_deploy("shop", factory, Instant::NEVER).unwrap();
    world.settle();
    let version = world.stage(&[]);
    world.settle();
    world.manager.deploy("shop", version).unwrap();
    assert_eq!(world.settle(), [deployed(version)]);
    assert_eq!(*seen.borrow(), [Some(version)]);
    world.serves(version);
}

#[test]
fn a_panic_of_take_over_is_reported_and_the_version_is_in_force() {
    let mut world = World::new(2);
    world.deploy_first();
    let factory = CounterFactory { take_over_panics: true, ..CounterFactory::default() };
    let version = world.manager.stage_and_deploy("shop", factory, Instant::NEVER).unwrap();
    let panics = [0, 1].map(|worker| (worker, "no room for the old count".to_owned()));
    let (site, behind) = ("shop".into(), Vec::new());
    let expected = Event::Deployed { site, version, behind, take_over_panics: panics.to_vec() };
    assert_eq!(world.settle(), [expected]);
    world.serves(version);
}

#[test]
fn a_worker_that_is_lost_between_staging_and_deployment_fails_the_staging() {
    let mut world = World::new(2);
    world.deploy_first();
    let version = world.stage(&[]);
    world.settle();
    world.workers[1] = Rc::new(Sites::new(4));
    assert_eq!(world.manager.handle_loss(1), Some(failed(version, &[(1, StageError::WorkerLost)])));
    assert_eq!(world.manager.handle_loss(1), None);
    assert_eq!(world.settle(), []);

    let version = world.deploy_first();
    world.serves(version);
}

#[test]
fn a_worker_that_lost_the_staged_version_unnoticed_is_behind() {
    let mut world = World::new(2);
    let first = world.deploy_first();
    let version = world.stage(&[]);
    world.settle();
    world.workers[1] = Rc::new(Sites::new(4));
    world.manager.deploy("shop", version).unwrap();
    let (site, take_over_panics) = ("shop".into(), Vec::new());
    let expected = Event::Deployed { site, version, behind: vec![1], take_over_panics };
    assert_eq!(world.settle(), [expected]);
    let status = world.manager.status("shop").unwrap();
    assert_eq!(status.deployed, [Some(version), Some(first)]);
}

#[test]
fn sites_have_a_limit_that_names_what_to_do() {
    let mut world = World::new(1);
    for site in ["a", "b", "c", "d"] {
        let factory = CounterFactory::default();
        world.manager.stage_and_deploy(site, factory, Instant::NEVER).unwrap();
    }
    world.settle();
    let error = world.manager.stage("e", CounterFactory::default(), Instant::NEVER).unwrap_err();
    assert_eq!(error, DeployError::TooManySites { limit: 4 });
    assert_eq!(error.to_string(), "there are 4 sites, the limit; remove one first");

    world.workers[0] = Rc::new(Sites::new(0));
    let factory = CounterFactory::default();
    let version = world.manager.stage("a", factory, Instant::NEVER).unwrap();
    let workers = vec![(0, StageError::TooManySites { limit: 0 })];
    assert_eq!(world.settle(), [Event::Failed { site: "a".into(), version, workers }]);
}

/// Counts wake-ups.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_abort_wakes_the_staging_that_it_ends() {
    let mut world = World::new(1);
    let version = world.stage(&[Make::NeverEnds]);
    let sites = Rc::clone(&world.workers[0]);
    let stage = world.manager.workers().0[0].pop_front().unwrap();
    let mut staging = sites.execute(stage);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(staging.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());

    let abort = Command::Abort { site: "shop".into(), version };
    drop(sites.execute(abort)); // executed all the same
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    let polled = staging.as_mut().poll(&mut Context::from_waker(&waker));
    let outcome = Outcome::NotStaged(StageError::Aborted);
    let expected = Report { site: "shop".into(), version: Some(version), outcome };
    assert_eq!(polled, Poll::Ready(expected));
    assert_eq!(sites.status(), []);
}

#[test]
fn a_factory_that_aborts_its_own_staging_stages_nothing() {
    let mut world = World::new(1);
    let first = world.deploy_first();
    let sites = Rc::downgrade(&world.workers[0]);
    let version = Version(first.0 + 1);
    let on_make: Rc<dyn Fn()> = Rc::new(move || {
        let abort = Command::Abort { site: "shop".into(), version };
        drop(sites.upgrade().unwrap().execute(abort));
    });
    let factory = CounterFactory { on_make: Some(on_make), ..CounterFactory::default() };
    assert_eq!(world.manager.stage("shop", factory, Instant::NEVER), Ok(version));
    assert_eq!(world.settle(), [failed(version, &[(0, StageError::Aborted)])]);
    world.serves(first);
}

#[test]
fn a_worker_obeys_commands_of_the_staged_version_alone() {
    let mut world = World::new(1);
    let first = world.deploy_first();
    let version = world.stage(&[]);
    world.settle();
    let sites = Rc::clone(&world.workers[0]);
    let execute = |command| {
        let polled = sites.execute(command).as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(report) = polled else { panic!("executed at once") };
        (report.outcome, sites.begin("shop").unwrap().version(), sites.status()[0].staged)
    };
    let site = || "shop".into();
    let kept = execute(Command::Deploy { site: site(), version: first });
    assert_eq!(kept, (Outcome::NothingStaged, first, Some(version)));
    let kept = execute(Command::Abort { site: site(), version: first });
    assert_eq!(kept, (Outcome::Aborted, first, Some(version)));
    let dropped = execute(Command::Abort { site: site(), version });
    assert_eq!(dropped, (Outcome::Aborted, first, None));
    let nothing = execute(Command::Deploy { site: site(), version });
    assert_eq!(nothing, (Outcome::NothingStaged, first, None));
}

/// Commands, polls and reports in an order that is drawn, with factories that fail and never end.
#[test]
fn in_any_order_all_workers_end_on_one_version_with_exact_counts() {
    let (mut deployments, mut failures) = (0, 0);
    for seed in 1..=300_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut draw = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % below
        };
        let mut world = World::new(3);
        let (mut counted, mut last, mut now) = ([0; 3], None, 0);
        for _ in 0..240 {
            let status = world.manager.status("shop");
            let staging = status.as_ref().and_then(|status| status.staging);
            let worker = draw(3);
            match draw(9) {
                0 => {
                    let makes = [Make::Fails, Make::NeverEnds];
                    let make = makes.get(draw(12)).copied().unwrap_or_default();
                    let mut factory = CounterFactory::default();
                    factory.makes.resize(worker, Make::Succeeds);
                    factory.makes.push(make);
                    let deadline = Instant::from_millis(now + 200);
                    let staged = world.manager.stage("shop", factory, deadline);
                    assert_eq!(staged.is_err(), staging.is_some(), "seed {seed}");
                }
                1 | 2 => {
                    if let Some(version) = staging
                        && world.manager.deploy("shop", version).is_ok()
                    {
                        last = Some(version);
                        deployments += 1;
                    }
                }
                3 => {
                    if let Some(version) = staging.filter(|_| draw(6) == 0) {
                        world.manager.abort("shop", version).unwrap();
                    }
                }
                4 | 5 => {
                    if let Some(command) = world.manager.workers().0[worker].pop_front() {
                        let report = world.workers[worker].execute(command);
                        world.reports.push((worker, report));
                    }
                }
                6 | 7 if !world.reports.is_empty() => {
                    let drawn = draw(world.reports.len());
                    let (worker, mut report) = world.reports.swap_remove(drawn);
                    match report.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Pending => world.reports.push((worker, report)),
                        Poll::Ready(report) => {
                            let event = world.manager.handle_report(worker, report);
                            failures += usize::from(matches!(event, Some(Event::Failed { .. })));
                        }
                    }
                }
                _ => {
                    now += 10;
                    let failed = world.manager.handle_timeout(Instant::from_millis(now));
                    failures += usize::from(failed.is_some());
                    if let Some(call) = world.workers[worker].begin("shop") {
                        call.count.set(call.count.get() + 1);
                        counted[worker] += 1;
                    }
                }
            }
        }
        world.settle();
        while world.manager.handle_timeout(Instant::NEVER).is_some() {}
        world.settle();
        assert!(world.reports.is_empty(), "seed {seed}: a staging goes on");
        let staged = world.manager.status("shop").and_then(|status| status.staging);
        for (sites, counted) in world.workers.iter().zip(counted) {
            let status = sites.status();
            let status = status.first();
            assert_eq!(status.and_then(|status| status.version), last, "seed {seed}");
            assert_eq!(status.and_then(|status| status.staged), staged, "seed {seed}");
            let count = sites.begin("shop").map_or(0, |call| call.count.get());
            assert_eq!(count, counted, "seed {seed}");
        }
    }
    assert!(deployments > 300 && failures > 60, "{deployments} deployments, {failures} failures");
}
