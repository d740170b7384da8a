//! The connections of one server on one thread, which are stopped together.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::drive::{Orders, Phase};
use crate::{ConnectionLimit, Seat};

/// The tasks of a group's connections; for adapters.
pub struct Group {
    phase: Cell<Phase>,
    /// By place; one that is free is named in `free`.
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<usize>>,
    joined: Cell<u64>,
    members: Cell<usize>,
    /// The task that waits for the last member to leave.
    empty: RefCell<Option<Waker>>,
}

/// What a group knows of one member.
#[derive(Default)]
struct Place {
    task: Option<Waker>,
    seat: Option<Seat>,
    /// The member has to go, whatever the others do.
    leaves: bool,
    /// How many had joined before it.
    joined: u64,
}

impl Group {
    /// A group without members.
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Run),
            places: RefCell::default(),
            free: RefCell::default(),
            joined: Cell::new(0),
            members: Cell::new(0),
            empty: RefCell::default(),
        })
    }

    /// Adds a connection.
    pub fn join(self: &Rc<Self>) -> Member {
        self.add(None)
    }

    /// Adds a connection that has a seat, which is free when the connection has left.
    pub fn join_with(self: &Rc<Self>, seat: Seat) -> Member {
        self.add(Some(seat))
    }

    fn add(self: &Rc<Self>, seat: Option<Seat>) -> Member {
        let mut places = self.places.borrow_mut();
        let place = self.free.borrow_mut().pop().unwrap_or_else(|| {
            places.push(Place::default());
            places.len() - 1
        });
        let joined = self.joined.get();
        places[place] = Place { task: None, seat, leaves: false, joined };
        self.joined.set(joined + 1);
        self.members.set(self.members.get() + 1);
        Member { group: Rc::clone(self), place }
    }

    /// Drains as many members as exceed the limits of their seats, those that joined last before the others; `drained` is called
    /// for each.
    pub fn obey_limits(&self, drained: impl Fn(ConnectionLimit)) {
        let places = self.places.borrow();
        let mut seated: Vec<(u64, usize)> = (0..places.len())
            .filter(|&place| places[place].seat.is_some())
            .map(|place| (places[place].joined, place))
            .collect();
        drop(places);
        seated.sort_unstable();
        for (_, place) in seated.into_iter().rev() {
            let mut places = self.places.borrow_mut();
            let Some(limit) = places[place].seat.as_ref().and_then(Seat::must_leave) else {
                continue;
            };
            places[place].leaves = true;
            let waker = places[place].task.take();
            drop(places);
            if let Some(waker) = waker {
                waker.wake();
            }
            drained(limit);
        }
    }

    /// Sets the phase of all members.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        let mut place = 0;
        // One waker at a time: waking may run anything.
        loop {
            let waker = match self.places.borrow_mut().get_mut(place) {
                Some(place) => place.task.take(),
                None => return,
            };
            if let Some(waker) = waker {
                waker.wake();
            }
            place += 1;
        }
    }

    /// Waits until no member is left.
    pub async fn emptied(&self) {
        poll_fn(|cx| if self.is_empty(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Whether no member is left; otherwise `cx` is woken when the last one leaves.
    pub fn is_empty(&self, cx: &Context<'_>) -> bool {
        if self.members.get() == 0 {
            return true;
        }
        let old = self.empty.borrow_mut().replace(cx.waker().clone());
        drop(old);
        false
    }
}

/// One connection's membership.
pub struct Member {
    group: Rc<Group>,
    place: usize,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("members", &self.members.get()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Orders for Member {
    fn poll_phase(&self, cx: &Context<'_>) -> Phase {
        let mut places = self.group.places.borrow_mut();
        let place = &mut places[self.place];
        let old = match &place.task {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            _ => place.task.replace(cx.waker().clone()),
        };
        let own = if place.leaves { Phase::Drain } else { Phase::Run };
        drop(places);
        drop(old);
        own.max(self.group.phase.get())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let place = std::mem::take(&mut self.group.places.borrow_mut()[self.place]);
        drop(place);
        self.group.free.borrow_mut().push(self.place);
        let members = self.group.members.get() - 1;
        self.group.members.set(members);
        if members == 0 {
            let waker = self.group.empty.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
