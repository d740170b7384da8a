//! The service model as programs see it: state that is carried over, and what goes wrong.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use grpc_service::model::{
    AsyncMakeService, AsyncMakeServiceWrapper, BoxService, BoxServiceFactory,
    BoxedAsyncMakeService, BoxedMakeService, BoxedService, Either, FactoryLayer, FactoryStack,
    MakeError, MakeService, MapTargetService, Panicked, Param, Service, layer_fn, try_make,
    try_make_async, try_take_over,
};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        if let Poll::Ready(out) = future.as_mut().poll(&mut cx) {
            return out;
        }
    }
    panic!("the future is not ready after 1000 polls");
}

/// Waits for one poll.
async fn pause() {
    let mut paused = false;
    poll_fn(|_| match std::mem::replace(&mut paused, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

// Two services over a config: the example `service_stack`, which writes down what it counts.

#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

struct Flags {
    kept: bool,
    fresh: bool,
}

impl Service<()> for Flags {
    type Response = (bool, bool);
    type Error = Infallible;
    async fn call(&self, (): ()) -> Result<(bool, bool), Infallible> {
        pause().await;
        Ok((self.kept, self.fresh))
    }
}

struct FlagsFactory(InitialFlag);

impl FlagsFactory {
    fn layer<C: Param<InitialFlag>>() -> impl FactoryLayer<C, (), Factory = Self> {
        layer_fn(|config: &C, ()| FlagsFactory(config.param()))
    }
}

impl MakeService for FlagsFactory {
    type Service = Flags;
    type Error = Infallible;
    fn make_via_ref(&self, old: Option<&Flags>) -> Result<Flags, Infallible> {
        let InitialFlag(flag) = self.0;
        Ok(Flags { kept: old.map_or(flag, |old| old.kept), fresh: flag })
    }
}

struct Counter<T> {
    counter: Cell<usize>,
    log: Log,
    inner: T,
}

impl<T: Service<()>> Service<usize> for Counter<T> {
    type Response = T::Response;
    type Error = T::Error;
    async fn call(&self, request: usize) -> Result<T::Response, T::Error> {
        let before = self.counter.get();
        self.counter.set(before + request);
        self.log.0.borrow_mut().push(format!("{before}->{}", before + request));
        self.inner.call(()).await
    }
}

struct CounterFactory<F>(F, Log);

impl<F> CounterFactory<F> {
    fn layer<C: Param<Log>>() -> impl FactoryLayer<C, F, Factory = Self> {
        layer_fn(|config: &C, inner| CounterFactory(inner, config.param()))
    }
}

impl<F: MakeService> MakeService for CounterFactory<F> {
    type Service = Counter<F::Service>;
    type Error = F::Error;
    fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
        let counter = Cell::new(old.map_or(0, |old| old.counter.get()));
        let inner = self.0.make_via_ref(old.map(|old| &old.inner))?;
        Ok(Counter { counter, log: self.1.clone(), inner })
    }
    fn take_over(&self, new: &Self::Service, old: &Self::Service) {
        new.counter.set(old.counter.get());
        self.0.take_over(&new.inner, &old.inner);
    }
}

impl<F: AsyncMakeService> AsyncMakeService for CounterFactory<F> {
    type Service = Counter<F::Service>;
    type Error = F::Error;
    async fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
        pause().await;
        let counter = Cell::new(old.map_or(0, |old| old.counter.get()));
        let inner = self.0.make_via_ref(old.map(|old| &old.inner)).await?;
        Ok(Counter { counter, log: self.1.clone(), inner })
    }
}

#[derive(Clone, Copy)]
struct InitialFlag(bool);

struct Config {
    flag: bool,
    log: Log,
}

impl Param<InitialFlag> for Config {
    fn param(&self) -> InitialFlag {
        InitialFlag(self.flag)
    }
}

impl Param<Log> for Config {
    fn param(&self) -> Log {
        self.log.clone()
    }
}

#[test]
fn a_stack_made_again_goes_on_from_its_flag_and_counter() {
    let log = Log::default();
    let stack = FactoryStack::new(Config { flag: true, log: log.clone() })
        .push(FlagsFactory::layer())
        .push(CounterFactory::layer())
        .check_make_svc::<usize>();
    let service = stack.make().unwrap();
    for request in 1..4 {
        assert_eq!(block_on(service.call(request)), Ok((true, true)));
    }
    assert_eq!(log.take(), ["0->1", "1->3", "3->6"]);

    let stack = FactoryStack::new(Config { flag: false, log: log.clone() })
        .push(FlagsFactory::layer())
        .push(CounterFactory::layer());
    let next = stack.make_via_ref(Some(&service)).unwrap();
    for request in 1..4 {
        assert_eq!(block_on(next.call(request)), Ok((true, false)));
    }
    assert_eq!(log.take(), ["6->7", "7->9", "9->12"]);
    assert_eq!(block_on(stack.make().unwrap().call(1)), Ok((false, false)), "without `old`");
    assert_eq!(log.take(), ["0->1"]);
}

#[test]
fn what_the_old_service_learns_after_the_make_is_taken_over() {
    let log = Log::default();
    let stack = FactoryStack::new(Config { flag: true, log: log.clone() })
        .push(FlagsFactory::layer())
        .push(CounterFactory::layer())
        .into_boxed_service::<usize>();
    let first = stack.make().unwrap();
    block_on(first.call(6)).unwrap();
    let second = stack.make_via_ref(Some(&first)).unwrap();
    block_on(first.call(4)).unwrap();
    stack.take_over(&second, &first);
    block_on(second.call(1)).unwrap();
    assert_eq!(log.take(), ["0->6", "6->10", "10->11"]);
}

#[test]
fn make_async_makes_from_factories_of_both_kinds() {
    let config = || Config { flag: true, log: Log::default() };
    let plain =
        FactoryStack::new(config()).push(FlagsFactory::layer()).push(CounterFactory::layer());
    let service = block_on(plain.make_async()).unwrap();
    assert_eq!(block_on(service.call(1)), Ok((true, true)));

    let waits = FactoryStack::new(config())
        .push(FlagsFactory::layer())
        .into_async()
        .push(CounterFactory::layer());
    let service = block_on(waits.make_async()).unwrap();
    assert_eq!(block_on(service.call(1)), Ok((true, true)));
}

// Hooks: each factory of the crate that wraps another one passes both on.

/// A service with a number, from the config or from the service before.
#[derive(Debug)]
struct Number(Cell<u32>);

impl Service<()> for Number {
    type Response = u32;
    type Error = Infallible;
    async fn call(&self, (): ()) -> Result<u32, Infallible> {
        Ok(self.0.get())
    }
}

#[derive(Clone)]
struct NumberFactory;

impl MakeService for NumberFactory {
    type Service = Number;
    type Error = Infallible;
    fn make_via_ref(&self, old: Option<&Number>) -> Result<Number, Infallible> {
        Ok(Number(Cell::new(old.map_or(0, |old| old.0.get() + 1))))
    }
    fn take_over(&self, new: &Number, old: &Number) {
        new.0.set(old.0.get() + 100);
    }
}

impl AsyncMakeService for NumberFactory {
    type Service = Number;
    type Error = Infallible;
    async fn make_via_ref(&self, old: Option<&Number>) -> Result<Number, Infallible> {
        pause().await;
        MakeService::make_via_ref(self, old)
    }
    fn take_over(&self, new: &Number, old: &Number) {
        MakeService::take_over(self, new, old);
    }
}

fn number<S: Service<(), Response = u32, Error = Infallible>>(service: &S) -> u32 {
    let Ok(number) = block_on(service.call(()));
    number
}

/// Holds a factory to both hooks.
fn passes_on<F: MakeService>(factory: F)
where
    F::Service: Service<(), Response = u32, Error = Infallible>,
    F::Error: fmt::Debug,
{
    let first = factory.make().unwrap();
    let second = factory.make_via_ref(Some(&first)).unwrap();
    assert_eq!((number(&first), number(&second)), (0, 1));
    factory.take_over(&second, &first);
    assert_eq!(number(&second), 100);
}

fn passes_on_after_a_wait<F: AsyncMakeService>(factory: F)
where
    F::Service: Service<(), Response = u32, Error = Infallible>,
    F::Error: fmt::Debug,
{
    let first = block_on(factory.make()).unwrap();
    let second = block_on(factory.make_via_ref(Some(&first))).unwrap();
    assert_eq!((number(&first), number(&second)), (0, 1));
    factory.take_over(&second, &first);
    assert_eq!(number(&second), 100);
}

#[test]
fn every_factory_passes_old_and_take_over_on() {
    type Sides = Either<NumberFactory, NumberFactory>;
    let map = MapTargetService { f: |()| (), inner: NumberFactory };
    passes_on(&NumberFactory);
    passes_on(Rc::new(NumberFactory));
    passes_on(Arc::new(NumberFactory));
    passes_on(Box::new(NumberFactory) as BoxedMakeService<_, _>);
    passes_on(Sides::Left(NumberFactory));
    passes_on(Sides::Right(NumberFactory));
    passes_on(map.clone());
    passes_on(BoxServiceFactory::<_, ()>::new(NumberFactory));
    passes_on(FactoryStack::new(()).replace(NumberFactory));

    passes_on_after_a_wait(&NumberFactory);
    passes_on_after_a_wait(Rc::new(NumberFactory));
    passes_on_after_a_wait(Arc::new(NumberFactory));
    passes_on_after_a_wait(Box::new(NumberFactory));
    passes_on_after_a_wait(Sides::Left(NumberFactory));
    passes_on_after_a_wait(Sides::Right(NumberFactory));
    passes_on_after_a_wait(map);
    passes_on_after_a_wait(BoxServiceFactory::<_, ()>::new(NumberFactory));
    passes_on_after_a_wait(BoxedAsyncMakeService::new(NumberFactory));
    passes_on_after_a_wait(AsyncMakeServiceWrapper(NumberFactory));
    passes_on_after_a_wait(FactoryStack::new(()).replace(NumberFactory));
}

/// Not a `Number`, and a service of the same requests.
struct Other;

impl Service<()> for Other {
    type Response = u32;
    type Error = Infallible;
    async fn call(&self, (): ()) -> Result<u32, Infallible> {
        Ok(7)
    }
}

#[test]
fn an_old_service_of_another_type_or_side_is_not_handed_on() {
    let factory = BoxServiceFactory::<_, ()>::new(NumberFactory);
    let old: BoxedService<(), u32, Infallible> = Other.into_boxed();
    let new = MakeService::make_via_ref(&factory, Some(&old)).unwrap();
    MakeService::take_over(&factory, &new, &old);
    assert_eq!(number(&new), 0);

    type Sides = Either<NumberFactory, NumberFactory>;
    let old = MakeService::make(&Sides::Left(NumberFactory)).unwrap();
    let factory = Sides::Right(NumberFactory);
    let new = MakeService::make_via_ref(&factory, Some(&old)).unwrap();
    MakeService::take_over(&factory, &new, &old);
    assert_eq!(number(&new), 0);
}

#[test]
fn pointers_to_services_are_services() {
    let number_of = |n| Number(Cell::new(n));
    assert_eq!(number(&&number_of(1)), 1);
    assert_eq!(number(&Rc::new(number_of(2))), 2);
    #[allow(clippy::arc_with_non_send_sync)]
    let shared = Arc::new(number_of(3));
    assert_eq!(number(&shared), 3);
    assert_eq!(number(&Box::new(number_of(4))), 4);
}

// Boxed services: requests that borrow, and memory that is given back.

struct Length(Rc<()>);

impl<'r> Service<&'r str> for Length {
    type Response = &'r str;
    type Error = Infallible;
    async fn call(&self, request: &'r str) -> Result<&'r str, Infallible> {
        let _alive = Rc::clone(&self.0);
        pause().await;
        Ok(&request[1..])
    }
}

#[test]
fn a_boxed_service_takes_requests_that_borrow_and_leaks_nothing() {
    let alive = Rc::new(());
    let text = String::from("words");
    let rest = {
        let service: BoxedService<&str, &str, Infallible> =
            BoxedService::new(Length(Rc::clone(&alive)));
        drop(service.call(&text));
        block_on(service.call(&text)).unwrap()
    };
    assert_eq!((rest, Rc::strong_count(&alive)), ("ords", 1));
}

// Bad input: factories that fail or panic, a layer that drops its inner future, a panic at the replacement.

#[derive(Debug, Clone, PartialEq, Eq)]
struct NoDatabase;

impl fmt::Display for NoDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the database does not answer")
    }
}

impl std::error::Error for NoDatabase {}

/// Fails or panics once it has an old service; panics at each replacement.
struct Faulty {
    panics: bool,
}

impl MakeService for Faulty {
    type Service = Number;
    type Error = NoDatabase;
    fn make_via_ref(&self, old: Option<&Number>) -> Result<Number, NoDatabase> {
        match old {
            None => Ok(Number(Cell::new(5))),
            Some(old) if self.panics => panic!("{} is no number", old.0.get()),
            Some(_) => Err(NoDatabase),
        }
    }
    fn take_over(&self, _: &Number, _: &Number) {
        panic!("nothing to take over");
    }
}

impl AsyncMakeService for Faulty {
    type Service = Number;
    type Error = NoDatabase;
    async fn make_via_ref(&self, old: Option<&Number>) -> Result<Number, NoDatabase> {
        pause().await;
        MakeService::make_via_ref(self, old)
    }
}

#[test]
fn a_factory_that_fails_says_why_and_leaves_the_old_service() {
    let factory = FactoryStack::new(())
        .replace(Faulty { panics: false })
        .into_boxed_service::<()>()
        .into_boxed_factory();
    let old = factory.make().unwrap();
    let error = try_make(&factory, Some(&old)).unwrap_err();
    assert_eq!(error, MakeError::Failed(NoDatabase));
    assert_eq!(error.to_string(), "the factory failed: the database does not answer");
    assert_eq!(number(&old), 5);

    let waits = FactoryStack::new(()).replace(Faulty { panics: false });
    let old = block_on(waits.make_async()).unwrap();
    let error = block_on(try_make_async(&waits, Some(&old))).unwrap_err();
    assert_eq!(error, MakeError::Failed(NoDatabase));
}

#[test]
fn a_factory_that_panics_is_an_error_and_leaves_the_old_service() {
    let panicked = Panicked { message: "5 is no number".to_owned() };
    let factory = FactoryStack::new(())
        .replace(Faulty { panics: true })
        .into_boxed_service::<()>()
        .into_boxed_factory();
    let old = factory.make().unwrap();
    let error = try_make(&factory, Some(&old)).unwrap_err();
    assert_eq!(error, MakeError::Panicked(panicked.clone()));
    assert_eq!(error.to_string(), "the factory panicked: 5 is no number");
    assert_eq!(number(&old), 5);
    assert_eq!(number(&factory.make().unwrap()), 5, "the factory still makes services");

    // After a wait as well.
    let factory = Faulty { panics: true };
    let old = MakeService::make(&factory).unwrap();
    let error = block_on(try_make_async(&factory, Some(&old))).unwrap_err();
    assert_eq!(error, MakeError::Panicked(panicked));
}

#[test]
fn a_panic_of_take_over_is_an_error() {
    let factory = Faulty { panics: false };
    let (new, old) = (MakeService::make(&factory).unwrap(), MakeService::make(&factory).unwrap());
    let panicked = try_take_over(&factory, &new, &old).unwrap_err();
    assert_eq!(panicked.to_string(), "panicked: nothing to take over");
}

/// Holds a permit while it waits; the second wait of request 0 never ends.
struct Permits {
    held: Rc<Cell<u32>>,
    ended: Cell<u32>,
}

struct Permit(Rc<Cell<u32>>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[derive(Debug, PartialEq)]
enum CallError {
    TimedOut { polls: u32 },
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::TimedOut { polls } = self;
        write!(f, "the call had no result after {polls} polls, and was dropped")
    }
}

impl Service<u32> for Permits {
    type Response = u32;
    type Error = CallError;
    async fn call(&self, request: u32) -> Result<u32, CallError> {
        self.held.set(self.held.get() + 1);
        let _permit = Permit(Rc::clone(&self.held));
        pause().await;
        if request == 0 {
            pending::<()>().await;
        }
        self.ended.set(self.ended.get() + 1);
        Ok(request)
    }
}

/// Drops the inner future when it has been polled twice.
struct TwoPolls<T>(T);

impl<T: Service<R, Error = CallError>, R> Service<R> for TwoPolls<T> {
    type Response = T::Response;
    type Error = CallError;
    async fn call(&self, request: R) -> Result<T::Response, CallError> {
        let mut inner = pin!(self.0.call(request));
        for _ in 0..2 {
            let polled = poll_fn(|cx| Poll::Ready(inner.as_mut().poll(cx))).await;
            if let Poll::Ready(result) = polled {
                return result;
            }
            pause().await;
        }
        Err(CallError::TimedOut { polls: 2 })
    }
}

#[test]
fn a_layer_that_drops_its_inner_future_cancels_that_call_alone() {
    let held = Rc::new(Cell::new(0));
    let permits = Permits { held: Rc::clone(&held), ended: Cell::new(0) };
    // A boxed service between the two, so that the drop passes through a box as well.
    let service = TwoPolls(BoxedService::<u32, u32, CallError>::new(permits));
    let mut running = pin!(service.call(3));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(running.as_mut().poll(&mut cx).is_pending());

    let error = block_on(service.call(0)).unwrap_err();
    assert_eq!(error, CallError::TimedOut { polls: 2 });
    assert_eq!(error.to_string(), "the call had no result after 2 polls, and was dropped");
    assert_eq!(held.get(), 1, "the permit of the call that runs, and of no other");

    assert_eq!(block_on(running), Ok(3));
    assert_eq!(block_on(service.call(4)), Ok(4));
    let permits = service.0.downcast_ref::<Permits>().unwrap();
    assert_eq!((held.get(), permits.ended.get()), (0, 2));
}
