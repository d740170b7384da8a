use std::sync::mpsc;
use std::task::Wake;
use std::time::Instant;

use super::*;

/// Unparks the thread that waits.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park_timeout(Duration::from_secs(20));
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Work that says that it has begun, and goes on when it is told to.
fn held(pool: &BlockingPool) -> (Blocking<bool>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begin, begun) = mpsc::channel();
    let (go, reported) = mpsc::channel();
    let output = pool.run_cancellable(move |cancelled| {
        begin.send(()).unwrap();
        reported.recv().unwrap();
        cancelled.is_cancelled()
    });
    (output, begun, go)
}

#[test]
fn work_is_done_on_another_thread_and_wakes_the_one_that_waits() {
    let pool = BlockingPool::new(2, 8);
    let here = thread::current().id();
    let there = wait(pool.run(|| {
        thread::sleep(Duration::from_millis(20));
        thread::current().id()
    }));
    assert_ne!(there, Ok(here));
    assert_eq!(wait(BlockingPool::inline().run(|| thread::current().id())), Ok(here));
}

#[test]
fn no_more_threads_work_and_no_more_work_waits_than_allowed() {
    let pool = BlockingPool::new(2, 3);
    let running: Vec<_> = (0..2).map(|_| held(&pool)).collect();
    running.iter().for_each(|(_, begun, _)| begun.recv().unwrap());
    let waiting: Vec<_> = (0..3).map(|_| held(&pool)).collect();
    assert_eq!(pool.waiting(), 3);
    let refused = wait(pool.run(|| ()));
    assert_eq!(refused, Err(BlockingError::Full { queued: 3 }));
    assert_eq!(Status::from(refused.unwrap_err()).code(), Code::ResourceExhausted);
    for (_, begun, _) in &waiting {
        assert!(begun.try_recv().is_err(), "only two threads work");
    }
    for (output, _, go) in running.into_iter().chain(waiting) {
        go.send(()).unwrap();
        assert_eq!(wait(output), Ok(false));
    }
    assert_eq!(wait(pool.run(|| 1)), Ok(1), "there is room again");
}

#[test]
fn a_dropped_future_takes_its_work_out_of_the_queue() {
    let pool = BlockingPool::new(1, 2);
    let (output, begun, go) = held(&pool);
    begun.recv().unwrap();
    let held_by_work = Arc::new(());
    let watched = Arc::clone(&held_by_work);
    let waiting = pool.run(move || drop(watched));
    assert_eq!((pool.waiting(), Arc::strong_count(&held_by_work)), (1, 2));
    drop(waiting);
    assert_eq!((pool.waiting(), Arc::strong_count(&held_by_work)), (0, 1), "it is not done");
    go.send(()).unwrap();
    assert_eq!(wait(output), Ok(false));
}

#[test]
fn work_that_has_begun_sees_that_nobody_waits() {
    let pool = BlockingPool::new(1, 2);
    let (say, said) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let output = pool.run_cancellable(move |cancelled| {
        begin.send(()).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while !cancelled.is_cancelled() && Instant::now() < until {
            thread::yield_now();
        }
        say.send(cancelled.is_cancelled()).unwrap();
    });
    begun.recv().unwrap();
    drop(output);
    assert_eq!(said.recv(), Ok(true));
}

#[test]
fn a_panic_of_work_is_its_own_error_and_the_thread_goes_on() {
    let pool = BlockingPool::new(1, 2);
    let thread = wait(pool.run(|| thread::current().id())).unwrap();
    let error = wait(pool.run(|| -> () { panic!("no {}", "luck") })).unwrap_err();
    assert_eq!(error, BlockingError::Panicked("no luck".to_owned()));
    assert_eq!(Status::from(error).message(), "blocking work panicked");
    assert_eq!(wait(pool.run(|| thread::current().id())), Ok(thread));
}

#[test]
fn work_that_waits_is_done_after_the_pool_is_gone() {
    let pool = BlockingPool::new(1, 2);
    let (output, begun, go) = held(&pool);
    begun.recv().unwrap();
    let mut waiting = pool.run(|| 7);
    let shared = Arc::downgrade(&pool.handle.as_ref().unwrap().0);
    drop(pool);
    assert!(poll(&mut waiting).is_pending());
    go.send(()).unwrap();
    assert_eq!((wait(output), wait(waiting)), (Ok(false), Ok(7)));
    let begun = Instant::now();
    while shared.strong_count() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "its thread has ended");
        thread::yield_now();
    }
}
