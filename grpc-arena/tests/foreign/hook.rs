//! What the test's implementations of this crate's traits run whenever they are called.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;

use grpc_arena::Arena;

/// Where foreign code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    OpenEnum,
    ClosedEnum,
    Leaf,
    Key,
    Order,
    Rank,
    Merge,
    Size,
    Write,
    Iterator,
}

type Hook = Box<dyn FnMut(At)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Runs the hook, which runs no other within.
pub(crate) fn run(at: At) {
    CALLS.set(CALLS.get() + 1);
    let hook = HOOK.with_borrow_mut(Option::take);
    if let Some(mut hook) = hook {
        let back = PutBack(Some(Box::new(|_| {})));
        hook(at);
        drop(back);
        HOOK.set(Some(hook));
    }
}

/// Leaves no hook behind when one panics.
struct PutBack(Option<Hook>);

impl Drop for PutBack {
    fn drop(&mut self) {
        HOOK.set(self.0.take());
    }
}

/// Runs `hook` at its place while `body` runs; asserts that it was reached.
pub(crate) fn with<T>(hook: impl FnMut(At) + 'static, body: impl FnOnce() -> T) -> T {
    let before = CALLS.get();
    HOOK.set(Some(Box::new(hook)));
    let result = body();
    HOOK.set(None);
    assert!(CALLS.get() > before, "no foreign code ran");
    result
}

/// Runs `hook` while `body` runs, if foreign code runs at all, and puts back the hook that was there.
pub(crate) fn with_or_without(hook: fn(At), body: fn()) {
    let before = HOOK.replace(Some(Box::new(hook)));
    let put_back = PutBack(before);
    body();
    drop(put_back);
}

/// An arena that lives as long as the program, as thread-locals want.
pub(crate) fn arena(capacity: usize) -> &'static Arena {
    static ALL: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let arena: &'static Arena = Box::leak(Box::new(Arena::with_capacity(capacity)));
    // A leak checker sees that it is reachable.
    ALL.lock().unwrap().push(std::ptr::from_ref(arena).expose_provenance());
    arena
}
