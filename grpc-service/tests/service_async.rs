//! A program written for the crate `service-async` 0.2.4: with its `use` lines put back it compiles there as well.
//!
//! A word counter of three services: the innermost one counts, one in the middle splits lines and is generic over what
//! counts, and one at the edge may be left out. It uses each public item of that crate that is safe code.

// service_async::
use grpc_service::model::either::Either;
use grpc_service::model::layer::{FactoryLayer, LayerAsync, LayerFn, layer_fn};
use grpc_service::model::stack::FactoryStack;
use grpc_service::model::utils::CloneFactory;
use grpc_service::model::{
    ArcMakeBoxedService, ArcMakeService, AsyncMakeService, AsyncMakeServiceWrapper, BoxService,
    BoxServiceFactory, BoxedAsyncMakeService, BoxedMakeBoxedService, BoxedMakeService,
    BoxedService, MakeService, MapTargetService, Param, ParamMaybeMut, ParamMaybeRef, ParamMut,
    ParamRef, ParamRemove, ParamSet, ParamTake, Service,
};
// The rest of the program knows neither crate.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(out) = future.as_mut().poll(&mut cx) {
            return out;
        }
    }
}

/// Waits for one poll.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| match std::mem::replace(&mut paused, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

#[derive(Clone, Copy)]
struct MinLength(usize);

struct Config {
    min_length: usize,
    trim: bool,
}

impl Param<MinLength> for Config {
    fn param(&self) -> MinLength {
        MinLength(self.min_length)
    }
}

#[derive(Debug, PartialEq)]
struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the minimum exceeds 100")
    }
}

impl Error for TooLong {}

// The innermost service: a count of words that is carried over, a limit that is not.

struct Words {
    min_length: usize,
    seen: Cell<usize>,
}

impl Service<String> for Words {
    type Response = usize;
    type Error = Infallible;
    async fn call(&self, word: String) -> Result<usize, Infallible> {
        pause().await;
        self.seen.set(self.seen.get() + usize::from(word.len() >= self.min_length));
        Ok(self.seen.get())
    }
}

#[derive(Clone)]
struct WordsFactory(MinLength);

impl WordsFactory {
    fn layer<C: Param<MinLength>>() -> impl FactoryLayer<C, (), Factory = Self> {
        layer_fn(|config: &C, ()| WordsFactory(config.param()))
    }
}

impl MakeService for WordsFactory {
    type Service = Words;
    type Error = TooLong;
    fn make_via_ref(&self, old: Option<&Words>) -> Result<Words, TooLong> {
        let min_length = self.0.0;
        if min_length > 100 {
            return Err(TooLong);
        }
        Ok(Words { min_length, seen: Cell::new(old.map_or(0, |old| old.seen.get())) })
    }
}

// A service that is generic over the inner one, with both kinds of factory.

struct Lines<T> {
    lines: Cell<usize>,
    inner: T,
}

impl<T: Service<String, Response = usize>> Service<&str> for Lines<T> {
    type Response = (usize, usize);
    type Error = T::Error;
    async fn call(&self, line: &str) -> Result<(usize, usize), T::Error> {
        self.lines.set(self.lines.get() + 1);
        let mut words = 0;
        for word in line.split_whitespace() {
            words = self.inner.call(word.to_owned()).await?;
        }
        Ok((self.lines.get(), words))
    }
}

/// The same for requests that own their text, so that it can be boxed in either crate.
impl<T: Service<String, Response = usize>> Service<String> for Lines<T> {
    type Response = (usize, usize);
    type Error = T::Error;
    async fn call(&self, line: String) -> Result<(usize, usize), T::Error> {
        self.call(line.as_str()).await
    }
}

struct LinesFactory<F>(F);

impl<F> LinesFactory<F> {
    fn layer<C>() -> impl FactoryLayer<C, F, Factory = Self> {
        layer_fn(|_: &C, inner| LinesFactory(inner))
    }
}

impl<F: MakeService> MakeService for LinesFactory<F> {
    type Service = Lines<F::Service>;
    type Error = F::Error;
    fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
        let inner = self.0.make_via_ref(old.map(|old| &old.inner))?;
        Ok(Lines { lines: Cell::new(old.map_or(0, |old| old.lines.get())), inner })
    }
}

impl<F: AsyncMakeService> AsyncMakeService for LinesFactory<F> {
    type Service = Lines<F::Service>;
    type Error = F::Error;
    async fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
        pause().await;
        let inner = self.0.make_via_ref(old.map(|old| &old.inner)).await?;
        Ok(Lines { lines: Cell::new(old.map_or(0, |old| old.lines.get())), inner })
    }
}

// A service that is its own factory, of both kinds, over factories that do not wait.

struct Trim<T>(T);

impl<T: Service<String>> Service<String> for Trim<T> {
    type Response = T::Response;
    type Error = T::Error;
    async fn call(&self, line: String) -> Result<T::Response, T::Error> {
        self.0.call(line.trim_end_matches(" stop").to_owned()).await
    }
}

impl<F: MakeService> MakeService for Trim<F> {
    type Service = Trim<F::Service>;
    type Error = F::Error;
    fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
        Ok(Trim(self.0.make_via_ref(old.map(|old| &old.0))?))
    }
}

impl<F: MakeService> AsyncMakeService for Trim<F> {
    type Service = Trim<F::Service>;
    type Error = F::Error;
    async fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
        Ok(Trim(self.0.make_via_ref(old.map(|old| &old.0))?))
    }
}

impl<F> Trim<F> {
    fn layer<C>() -> impl FactoryLayer<C, F, Factory = Self> {
        layer_fn(|_: &C, inner| Trim(inner))
    }

    fn opt_layer<C>(on: bool) -> Option<impl FactoryLayer<C, F, Factory = Self>> {
        on.then(Self::layer)
    }
}

const PLAIN: Config = Config { min_length: 0, trim: false };
const LONG: Config = Config { min_length: 4, trim: true };

type Factory = BoxedMakeBoxedService<String, (usize, usize), Infallible, Either<TooLong, TooLong>>;

fn erased(config: Config) -> Factory {
    let trim = config.trim;
    FactoryStack::new(config)
        .push(WordsFactory::layer())
        .push(LinesFactory::layer())
        .push(Trim::opt_layer(trim))
        .check_make_svc::<String>()
        .into_boxed_service()
        .into_boxed_factory()
        .into_inner()
}

#[test]
fn a_stack_is_made_called_and_made_again_with_its_state() {
    block_on(async {
        let stack =
            FactoryStack::new(PLAIN).push(WordsFactory::layer()).push(LinesFactory::layer());
        let service = stack.make().unwrap();
        assert_eq!(service.call("a bb").await, Ok((1, 2)));
        assert_eq!(service.call("ccc").await, Ok((2, 3)));
        assert_eq!(service.call("").await, Ok((3, 0)));

        let (config, factory) = FactoryStack::new(LONG)
            .push(WordsFactory::layer())
            .push(LinesFactory::layer())
            .into_parts();
        assert!(config.trim);
        let service = factory.make_via_ref(Some(&service)).unwrap();
        assert_eq!(service.call("dddd e").await, Ok((4, 4)));
    });
}

#[test]
fn layers_of_both_kinds_make_services_with_and_without_waiting() {
    block_on(async {
        let stack = FactoryStack::new(PLAIN)
            .push(WordsFactory::layer())
            .check_make_svc::<String>()
            .into_async()
            .check_async_make_svc::<String>()
            .push(LinesFactory::layer());
        let service = stack.make_async().await.unwrap();
        assert_eq!(service.call("a b").await, Ok((1, 2)));
        let service = stack.into_inner().make_via_ref(Some(&service)).await.unwrap();
        assert_eq!(service.call("c").await, Ok((2, 3)));

        let stack = FactoryStack::new(PLAIN)
            .push(WordsFactory::layer())
            .push(LinesFactory::layer())
            .push(Trim::layer());
        let service = stack.make().unwrap();
        assert_eq!(service.call("a stop".to_owned()).await, Ok((1, 1)));
        let service = stack.make_async().await.unwrap();
        assert_eq!(service.call("a stop".to_owned()).await, Ok((1, 1)));

        let stack = FactoryStack::new(PLAIN).push(WordsFactory::layer()).push(LayerAsync);
        assert_eq!(stack.make_async().await.unwrap().call("a".to_owned()).await, Ok(1));
        let wrapper = AsyncMakeServiceWrapper(WordsFactory(MinLength(200)));
        assert_eq!(wrapper.make().await.err(), Some(TooLong));
    });
}

#[test]
fn erased_services_and_factories_carry_state_where_types_are_equal() {
    block_on(async {
        let mut factory = erased(PLAIN);
        let first = factory.make().unwrap();
        assert_eq!(first.call("a bb stop".to_owned()).await, Ok((1, 3)));
        let second = factory.make_via_ref(Some(&first)).unwrap();
        assert_eq!(second.call("c".to_owned()).await, Ok((2, 4)));

        // With the layer there is another service at the left of `Either`, which begins anew.
        factory = erased(LONG);
        let third = factory.make_via_ref(Some(&second)).unwrap();
        assert_eq!(third.call("dddd stop".to_owned()).await, Ok((1, 1)));
        assert!(third.downcast_ref::<Words>().is_none());
        type Made = Either<Trim<Lines<Words>>, Lines<Words>>;
        assert!(matches!(third.downcast_ref::<Made>(), Some(Either::Left(_))));
        let error = erased(Config { min_length: 101, trim: true }).make().err().unwrap();
        assert_eq!(error.to_string(), "the minimum exceeds 100");
        assert_eq!(error.into_inner(), TooLong);

        let shared: ArcMakeService<Lines<Words>, TooLong> = FactoryStack::new(PLAIN)
            .push(WordsFactory::layer())
            .push(LinesFactory::layer())
            .into_arc_factory()
            .into_inner();
        assert_eq!(shared.clone().make().unwrap().call("a").await, Ok((1, 1)));
        let boxed: ArcMakeBoxedService<String, (usize, usize), Infallible, TooLong> =
            Arc::new(BoxServiceFactory::new(shared));
        assert_eq!(boxed.make().unwrap().call("a".to_owned()).await, Ok((1, 1)));
        let plain: BoxedMakeService<Words, TooLong> = Box::new(WordsFactory(MinLength(0)));
        let service: BoxedService<String, usize, Infallible> = plain.make().unwrap().into_boxed();
        assert_eq!(service.call("a".to_owned()).await, Ok(1));
    });
}

#[test]
fn erased_factories_that_wait_are_one_type_and_go_to_threads() {
    let stack = || {
        FactoryStack::new(PLAIN)
            .push(WordsFactory::layer())
            .into_async()
            .push(LinesFactory::layer())
            .into_boxed_service::<String>()
    };
    type Made = BoxedService<String, (usize, usize), Infallible>;
    let boxed: BoxedAsyncMakeService<Made, TooLong> =
        stack().into_async_boxed_factory().into_inner();
    let shared: Arc<BoxedAsyncMakeService<Made, TooLong>> =
        stack().into_async_arc_factory().into_inner();
    assert!(boxed.downcast_ref::<WordsFactory>().is_none());
    for factory in [Arc::new(boxed), shared] {
        let thread = std::thread::spawn(move || {
            block_on(async {
                let first = factory.make().await.unwrap();
                first.call("a b".to_owned()).await.unwrap();
                let second = factory.make_via_ref(Some(&first)).await.unwrap();
                second.call("c".to_owned()).await
            })
        });
        assert_eq!(thread.join().unwrap(), Ok((2, 3)));
    }
}

#[test]
fn requests_are_mapped_and_factories_replaced() {
    block_on(async {
        let stack = FactoryStack::new(())
            .replace(CloneFactory::new(Rc::new(0)))
            .replace(WordsFactory(MinLength(2)))
            .push_map_target(|number: u32| number.to_string());
        let service: MapTargetService<Words, _> = stack.make().unwrap();
        assert_eq!(service.call(7).await, Ok(0));
        assert_eq!(service.call(42).await, Ok(1));
        let again = stack.into_inner().make_via_ref(Some(&service)).unwrap();
        assert_eq!((again.f)(3), "3");
        assert_eq!(again.inner.seen.get(), 1);

        type Pushed = LayerFn<(), fn(&(), ()) -> WordsFactory>;
        let layer: Either<Pushed, LayerAsync> =
            Either::Left(layer_fn(|_, ()| WordsFactory(MinLength(1))));
        assert!(matches!(layer.layer(&(), ()), Either::Left(WordsFactory(MinLength(1)))));

        type Ready = Pin<Box<std::future::Ready<u8>>>;
        let either: Either<Ready, Ready> = Either::Right(Box::pin(std::future::ready(3)));
        assert_eq!(either.await, 3);
    });
}

/// References, boxes and shares of factories are factories.
fn made_by<F: MakeService<Service = Words>>(factory: F) -> usize
where
    F::Error: fmt::Debug,
{
    factory.make().unwrap().min_length
}

async fn made_after_a_wait_by<F: AsyncMakeService<Service = Words>>(factory: F) -> usize
where
    F::Error: fmt::Debug,
{
    factory.make().await.unwrap().min_length
}

#[test]
fn pointers_to_factories_are_factories() {
    let factory = WordsFactory(MinLength(9));
    assert_eq!(made_by(&factory), 9);
    assert_eq!(made_by(Arc::new(factory.clone())), 9);
    assert_eq!(made_by(Box::new(factory.clone())), 9);
    let factory = AsyncMakeServiceWrapper(factory);
    assert_eq!(block_on(made_after_a_wait_by(&factory)), 9);
    assert_eq!(block_on(made_after_a_wait_by(Arc::new(factory.clone()))), 9);
    assert_eq!(block_on(made_after_a_wait_by(Box::new(factory))), 9);
}

// A request whose parts layers ask for, add and take away.

struct Bare(u8);
struct Named(u8, Option<String>);

impl ParamRef<u8> for Bare {
    fn param_ref(&self) -> &u8 {
        &self.0
    }
}

impl ParamMut<u8> for Bare {
    fn param_mut(&mut self) -> &mut u8 {
        &mut self.0
    }
}

impl ParamSet<String> for Bare {
    type Transformed = Named;
    fn param_set(self, name: String) -> Named {
        Named(self.0, Some(name))
    }
}

impl ParamMaybeRef<String> for Named {
    fn param_maybe_ref(&self) -> Option<&String> {
        self.1.as_ref()
    }
}

impl ParamMaybeMut<String> for Named {
    fn param_maybe_mut(&mut self) -> Option<&mut String> {
        self.1.as_mut()
    }
}

impl ParamRemove<String> for Named {
    type Transformed = Bare;
    fn param_remove(self) -> Bare {
        Bare(self.0)
    }
}

impl ParamTake<String> for Named {
    type Transformed = Bare;
    fn param_take(self) -> (Bare, String) {
        (Bare(self.0), self.1.unwrap_or_default())
    }
}

fn named<R: ParamSet<String>>(request: R) -> R::Transformed {
    request.param_set("n".to_owned())
}

#[test]
fn parts_of_requests_are_read_changed_added_and_taken() {
    let mut bare = Bare(1);
    *bare.param_mut() += 1;
    assert_eq!(*bare.param_ref(), 2);
    let mut request = named(bare);
    request.param_maybe_mut().unwrap().push('!');
    assert_eq!(request.param_maybe_ref().unwrap(), "n!");
    let (bare, name) = request.param_take();
    assert_eq!((bare.0, name.as_str()), (2, "n!"));
    assert_eq!(named(bare).param_remove().0, 2);
}
