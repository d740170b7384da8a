//! Memory that the connections of a thread share: who holds how much of it, who waits for some, and who has to end.
//!
//! A pure data structure: connections are places, time is an argument, and effects are the places that it names.

use std::collections::VecDeque;
use std::time::Duration;

use grpc_proto::Instant;

/// One kind of memory of one thread.
///
/// ```text
///   |<------------------------- limit ------------------------->|
///   | held: whatever connections hold, reserved before or not   |   above it the one that holds most ends
///   | granted: what they may reserve |  half                        who wants more waits in line
/// ```
///
/// Small messages are held without a grant, within the windows and marks of their connections, so that nobody who sends small
/// messages waits. A large message needs a grant first. Grants take half of the limit at most, so that honest large messages,
/// however many, do not push the sum above the limit.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    patience: Duration,
    accounts: Vec<Account>,
    /// Who waits for a grant, in the order of asking.
    line: VecDeque<u32>,
    held: u64,
    granted: u64,
    /// What accounts hold and were granted that have to end: it comes back soon.
    ending: Ending,
    /// Places whose grant has grown, or that have to end, since this was last taken.
    news: Vec<u32>,
}

#[derive(Debug, Default)]
struct Ending {
    held: u64,
    granted: u64,
}

/// What one connection has.
#[derive(Clone, Copy, Debug)]
struct Account {
    held: u64,
    granted: u32,
    /// What of the grant was in use at the last report, and when the grant last grew.
    used: u32,
    used_before: u32,
    /// Reports since the grant last grew, up to a mark.
    reports: u8,
    /// It was used since it last grew.
    was_used: bool,
    /// What the grant has to be at least; 0 while the place is not in line.
    wanted: u32,
    /// Since when it holds something or has a grant.
    since: Instant,
    /// Since when it stands in line.
    waits_since: Instant,
    must_end: bool,
}

/// Reports after which a grant counts as not needed that nobody has used: who waited for it takes a turn or two to do so.
const UNUSED: u8 = 8;

impl Account {
    /// What it keeps from the others.
    fn takes(&self) -> u64 {
        self.held.max(self.granted.into())
    }

    /// Whether what is not in use of the grant is not needed either.
    fn is_settled(&self) -> bool {
        self.was_used || self.reports >= UNUSED
    }

    const EMPTY: Account = Account {
        held: 0,
        granted: 0,
        used: 0,
        used_before: 0,
        reports: 0,
        was_used: false,
        wanted: 0,
        since: Instant::NEVER,
        waits_since: Instant::NEVER,
        must_end: false,
    };
}

/// What a connection reports of one kind of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Bytes that it holds.
    pub(super) held: u64,
    /// What of its grant is in use.
    pub(super) used: u32,
    /// What its grant has to be at least for it to go on; 0 if it does not wait for one.
    pub(super) wanted: u32,
}

impl Budget {
    pub(super) const fn new(limit: u64, patience: Duration) -> Self {
        Budget {
            limit,
            patience,
            accounts: Vec::new(),
            line: VecDeque::new(),
            held: 0,
            granted: 0,
            ending: Ending { held: 0, granted: 0 },
            news: Vec::new(),
        }
    }

    /// Changes the limits.
    pub(super) fn set(&mut self, limit: u64, patience: Duration) {
        (self.limit, self.patience) = (limit, patience);
        self.serve(Instant::NEVER);
        self.end_largest(Instant::NEVER);
    }

    /// Bytes that all hold.
    pub(super) const fn held(&self) -> u64 {
        self.held
    }

    /// Whether more is held than may be, by those included that end already.
    pub(super) const fn is_over(&self) -> bool {
        self.held > self.limit
    }

    /// What the place may reserve.
    pub(super) fn granted(&self, place: u32) -> u32 {
        self.accounts.get(place as usize).map_or(0, |account| account.granted)
    }

    /// Whether the place has to end.
    pub(super) fn must_end(&self, place: u32) -> bool {
        self.accounts.get(place as usize).is_some_and(|account| account.must_end)
    }

    /// Takes a place whose grant has grown, or that has to end, and was not taken before.
    pub(super) fn pop_news(&mut self) -> Option<u32> {
        self.news.pop()
    }

    /// When those in line have waited long enough, if somebody is.
    pub(super) fn next_timeout(&self, place: u32) -> Option<Instant> {
        let account = self.accounts.get(place as usize)?;
        let waits = account.wanted > 0 && !account.must_end;
        waits.then(|| account.waits_since + self.patience)
    }

    /// A connection tells what it has.
    pub(super) fn report(&mut self, place: u32, report: Report, now: Instant) {
        if self.accounts.len() <= place as usize {
            self.accounts.resize(place as usize + 1, Account::EMPTY);
        }
        let is_contended = !self.line.is_empty();
        let account = &mut self.accounts[place as usize];
        self.held = self.held - account.held + report.held;
        if account.must_end {
            self.ending.held = self.ending.held - account.held + report.held;
        }
        account.held = report.held;
        if account.since == Instant::NEVER && report.held > 0 {
            account.since = now;
        }
        // What is not in use goes back where others wait for it; otherwise it stays for the next message.
        (account.used, account.reports) = (report.used, account.reports.saturating_add(1));
        account.was_used |= report.used > account.used_before;
        let kept = match report.used {
            used if account.is_settled() && is_contended => used.min(account.granted),
            _ => account.granted,
        };
        self.take_back(place, kept);
        let account = &mut self.accounts[place as usize];
        let waits = report.wanted > account.granted && !account.must_end;
        if waits && account.wanted == 0 {
            (account.wanted, account.waits_since) = (report.wanted, now);
            self.line.push_back(place);
            self.serve(now);
            self.reclaim();
        } else if waits {
            account.wanted = report.wanted;
        } else if account.wanted > 0 {
            account.wanted = 0;
            self.line.retain(|&waiting| waiting != place);
        }
        self.serve(now);
        self.end_largest(now);
    }

    /// A connection is gone, and its place free.
    pub(super) fn close(&mut self, place: u32, now: Instant) {
        if (place as usize) < self.accounts.len() {
            self.take_back(place, 0);
            self.report(place, Report::default(), now);
            // It may have been told to end with all that.
            self.accounts[place as usize] = Account::EMPTY;
            self.news.retain(|&known| known != place);
            while self.accounts.last().is_some_and(|last| *last == Account::EMPTY) {
                self.accounts.pop();
            }
        }
    }

    /// Time has passed: connections that have kept memory for longer than the others' patience end, the largest holder first,
    /// until enough comes back for those that have waited that long. A grant that is not in use is taken back instead.
    pub(super) fn run(&mut self, now: Instant) {
        let needed = |budget: &Self| {
            let waiting = budget.line.iter().map(|&place| &budget.accounts[place as usize]);
            let long = waiting.take_while(|account| account.waits_since + budget.patience <= now);
            long.map(|account| u64::from(account.wanted - account.granted)).sum::<u64>()
        };
        let room = |budget: &Self| {
            let (granted, held) =
                (budget.granted - budget.ending.granted, budget.held - budget.ending.held);
            let free = budget.limit.saturating_sub(held + granted);
            free.min((budget.limit / 2).saturating_sub(granted))
        };
        while needed(self) > room(self) {
            let stays = |account: &Account| {
                account.takes() > 0 && !account.must_end && account.since + self.patience <= now
            };
            let worst = |account: &Account| (account.takes(), std::cmp::Reverse(account.since));
            let Some(place) = self.choose(stays, worst) else { return };
            let account = &self.accounts[place as usize];
            if account.used > 0 || account.held > 0 {
                self.end(place, now);
            } else {
                self.take_back(place, 0);
                self.news.push(place);
                self.serve(now);
            }
        }
    }

    fn choose<K: Ord>(
        &self,
        among: impl Fn(&Account) -> bool,
        key: impl Fn(&Account) -> K,
    ) -> Option<u32> {
        let places = self.accounts.iter().zip(0u32..).filter(|(account, _)| among(account));
        places.max_by_key(|(account, _)| key(account)).map(|(_, place)| place)
    }

    /// Reduces a grant.
    fn take_back(&mut self, place: u32, kept: u32) {
        let account = &mut self.accounts[place as usize];
        let freed = u64::from(account.granted - kept);
        account.granted = kept;
        if kept == 0 && account.held == 0 {
            account.since = Instant::NEVER;
        }
        self.granted -= freed;
        if account.must_end {
            self.ending.granted -= freed;
        }
    }

    /// Takes back what nobody uses of the grants, as far as those in line have no room.
    fn reclaim(&mut self) {
        if self.line.is_empty() {
            return;
        }
        for place in 0..self.accounts.len() as u32 {
            let account = &self.accounts[place as usize];
            if account.is_settled() && account.granted > account.used && !account.must_end {
                let used = account.used;
                self.take_back(place, used);
                self.news.push(place);
            }
        }
    }

    /// Grants what there is to those in line, one after the other, each all that it wants.
    fn serve(&mut self, now: Instant) {
        while let Some(&place) = self.line.front() {
            let account = &mut self.accounts[place as usize];
            let more = u64::from(account.wanted - account.granted);
            let (half, more_than_half) = (self.limit / 2, more > self.limit / 2);
            // One alone may have more than half, or a message larger than that could never come.
            let is_alone = self.granted == u64::from(account.granted);
            let fits = self.granted + more <= half || is_alone;
            // What was granted may be held as well as what is held, so that the sum is never above the limit for it.
            if !(fits
                && (self.held + self.granted + more <= self.limit || is_alone && more_than_half))
            {
                return;
            }
            self.granted += more;
            if account.since == Instant::NEVER {
                account.since = if now == Instant::NEVER { account.waits_since } else { now };
            }
            account.granted = account.wanted;
            (account.wanted, account.reports, account.was_used) = (0, 0, false);
            account.used_before = account.used;
            self.line.pop_front();
            self.news.push(place);
        }
    }

    /// While more is held than may be, has the one end that holds most.
    fn end_largest(&mut self, now: Instant) {
        while self.held - self.ending.held > self.limit {
            let among = |account: &Account| !account.must_end && account.held > 0;
            let Some(place) = self.choose(among, |account| account.held) else { return };
            self.end(place, now);
        }
    }

    fn end(&mut self, place: u32, now: Instant) {
        let account = &mut self.accounts[place as usize];
        account.must_end = true;
        self.ending.held += account.held;
        self.ending.granted += u64::from(account.granted);
        if account.wanted > 0 {
            account.wanted = 0;
            self.line.retain(|&waiting| waiting != place);
            self.serve(now);
        }
        self.news.push(place);
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        (self.held, self.granted, self.wanted, self.must_end)
            == (other.held, other.granted, other.wanted, other.must_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(1000 * seconds)
    }

    fn budget(limit: u64) -> Budget {
        Budget::new(limit, PATIENCE)
    }

    fn report(held: u64, used: u32, wanted: u32) -> Report {
        Report { held, used, wanted }
    }

    fn news(budget: &mut Budget) -> Vec<u32> {
        let mut news: Vec<u32> = std::iter::from_fn(|| budget.pop_news()).collect();
        news.sort_unstable();
        news
    }

    #[test]
    fn grants_take_half_of_the_limit_and_the_next_waits_in_line() {
        let mut budget = budget(1000);
        for place in 0..3 {
            budget.report(place, report(0, 0, 200), at(0));
        }
        assert_eq!((0..3).map(|place| budget.granted(place)).collect::<Vec<_>>(), [200, 200, 0]);
        assert_eq!(news(&mut budget), [0, 1]);
        // It asks for less, and stands behind the one before.
        budget.report(3, report(0, 0, 100), at(1));
        assert_eq!(budget.granted(3), 0);
        // The first one needs no more than a part of its grant: the rest goes to the next.
        budget.report(0, report(200, 100, 0), at(2));
        assert_eq!((budget.granted(0), budget.granted(2), budget.granted(3)), (100, 200, 0));
        budget.report(0, report(0, 0, 0), at(2));
        assert_eq!((budget.granted(0), budget.granted(3)), (0, 100));
        assert_eq!(news(&mut budget), [2, 3]);
    }

    #[test]
    fn one_alone_is_granted_more_than_half() {
        let mut budget = budget(1000);
        budget.report(0, report(0, 0, 5000), at(0));
        budget.report(1, report(0, 0, 1), at(0));
        assert_eq!((budget.granted(0), budget.granted(1)), (5000, 0));
        budget.close(0, at(1));
        assert_eq!((budget.granted(0), budget.granted(1)), (0, 1));
    }

    #[test]
    fn above_the_limit_the_one_that_holds_most_ends() {
        let mut budget = budget(1000);
        for (place, held) in [(0, 300), (1, 400), (2, 290)] {
            budget.report(place, report(held, 0, 0), at(0));
        }
        assert_eq!(news(&mut budget), []);
        budget.report(2, report(301, 0, 0), at(0));
        assert_eq!(news(&mut budget), [1]);
        assert!(budget.must_end(1) && !budget.must_end(2) && budget.is_over());
        // It is counted on that its memory comes back, until it has.
        budget.report(0, report(600, 0, 0), at(0));
        assert_eq!(news(&mut budget), []);
        budget.report(0, report(700, 0, 0), at(0));
        assert_eq!(news(&mut budget), [0]);
        budget.close(0, at(0));
        budget.close(1, at(0));
        assert!(!budget.is_over() && !budget.must_end(0));
        assert_eq!(budget.held(), 301);
    }

    #[test]
    fn who_keeps_a_grant_while_others_wait_ends_after_their_patience() {
        let mut budget = budget(1000);
        for place in 0..4 {
            budget.report(place, report(0, 0, if place == 1 { 200 } else { 100 }), at(0));
            let all = if place == 1 { 200 } else { 100 };
            budget.report(place, report(0, all, 0), at(0));
        }
        news(&mut budget);
        budget.report(5, report(0, 0, 100), at(6));
        assert_eq!(budget.next_timeout(5), Some(at(16)));
        budget.run(at(15));
        assert_eq!(news(&mut budget), []);
        budget.run(at(16));
        assert_eq!(news(&mut budget), [1], "the largest grant");
        budget.run(at(17));
        assert_eq!(news(&mut budget), [], "enough comes back");
        budget.close(1, at(17));
        assert_eq!(news(&mut budget), [5]);
        assert_eq!(budget.next_timeout(5), None);
        // A young grant is left alone.
        budget.report(6, report(0, 0, 500), at(17));
        budget.run(at(26));
        assert!(news(&mut budget).is_empty());
        budget.run(at(27));
        assert_eq!(news(&mut budget), [0, 2, 3, 5]);
    }

    #[test]
    fn a_limit_that_is_raised_serves_the_line_and_a_lowered_one_ends_the_largest() {
        let mut budget = budget(100);
        budget.report(0, report(20, 0, 0), at(0));
        budget.report(1, report(10, 0, 50), at(0));
        budget.report(2, report(10, 0, 50), at(0));
        assert_eq!((budget.granted(1), budget.granted(2)), (50, 0));
        budget.set(200, PATIENCE);
        assert_eq!(budget.granted(2), 50);
        news(&mut budget);
        budget.set(35, PATIENCE);
        assert_eq!(news(&mut budget), [0]);
    }

    proptest! {
        /// Whatever is reported: sums are those of the accounts, grants stay within half, more is held than may be only by those
        /// that end, nobody is forgotten in line, and in the end nothing is left.
        #[test]
        fn sums_and_lines_follow_what_is_reported(
            steps in proptest::collection::vec((0u32..6, 0u8..8, 0u64..400, 0u32..300, 0u64..8), 1..120),
        ) {
            let mut budget = budget(1000);
            let mut now = 0;
            let mut known = [Report::default(); 6];
            for (place, step, held, number, pause) in steps {
                now += pause;
                let granted = budget.granted(place);
                match step {
                    0 => {
                        budget.close(place, at(now));
                        known[place as usize] = Report::default();
                    }
                    1 => budget.run(at(now)),
                    _ => {
                        let used = number.min(granted);
                        let wanted = if step > 4 { granted + number } else { 0 };
                        let reported = report(held, used, if wanted > granted { wanted } else { 0 });
                        budget.report(place, reported, at(now));
                        known[place as usize] = reported;
                    }
                }
                let accounts = &budget.accounts;
                prop_assert_eq!(budget.held, known.iter().map(|reported| reported.held).sum::<u64>());
                prop_assert_eq!(budget.granted, accounts.iter().map(|a| u64::from(a.granted)).sum::<u64>());
                let ending = accounts.iter().filter(|account| account.must_end);
                prop_assert_eq!(budget.ending.held, ending.clone().map(|a| a.held).sum::<u64>());
                prop_assert_eq!(budget.ending.granted, ending.map(|a| u64::from(a.granted)).sum::<u64>());
                prop_assert!(budget.held - budget.ending.held <= budget.limit);
                let alone = accounts.iter().filter(|account| account.granted > 0).count() <= 1;
                prop_assert!(budget.granted <= budget.limit / 2 || alone);
                let line: Vec<u32> = budget.line.iter().copied().collect();
                let mut waiting: Vec<u32> = (0..accounts.len() as u32)
                    .filter(|&place| accounts[place as usize].wanted > 0)
                    .collect();
                waiting.sort_by_key(|&place| line.iter().position(|&known| known == place));
                prop_assert_eq!(&line, &waiting);
                for &place in &line {
                    let account = accounts[place as usize];
                    prop_assert!(account.wanted > account.granted && !account.must_end);
                }
                if let Some(&front) = line.first() {
                    let account = accounts[front as usize];
                    let more = u64::from(account.wanted - account.granted);
                    let fits = budget.granted + more <= budget.limit / 2;
                    let fits = fits && budget.held + budget.granted + more <= budget.limit;
                    prop_assert!(!fits, "there is room for the first in line");
                }
            }
            for place in 0..6 {
                budget.close(place, at(now));
            }
            prop_assert_eq!((budget.held, budget.granted, budget.line.len()), (0, 0, 0));
            prop_assert!(budget.accounts.is_empty());
        }
    }
}
