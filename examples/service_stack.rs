//! A stack of two services over a config, made and called, then made again from another config with its state.
//!
//! `cargo run --example service_stack`. Needs no runtime: the service model works on any, and none of these calls waits.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use grpc_service::model::{FactoryLayer, FactoryStack, MakeService, Param, Service, layer_fn};

/// The inner service returns its flags.
struct Flags {
    kept: bool,
    fresh: bool,
}

impl Service<()> for Flags {
    type Response = (bool, bool);
    type Error = Infallible;
    async fn call(&self, (): ()) -> Result<(bool, bool), Infallible> {
        println!("flags: kept {}, fresh {}", self.kept, self.fresh);
        Ok((self.kept, self.fresh))
    }
}

/// Makes `Flags`. One flag is that of the service before, if there was one; the other is always the config's.
struct FlagsFactory(InitialFlag);

impl MakeService for FlagsFactory {
    type Service = Flags;
    type Error = Infallible;
    fn make_via_ref(&self, old: Option<&Flags>) -> Result<Flags, Infallible> {
        let InitialFlag(flag) = self.0;
        Ok(Flags { kept: old.map_or(flag, |old| old.kept), fresh: flag })
    }
}

impl FlagsFactory {
    /// For every config that has an `InitialFlag`.
    fn layer<C: Param<InitialFlag>>() -> impl FactoryLayer<C, (), Factory = Self> {
        layer_fn(|config: &C, ()| FlagsFactory(config.param()))
    }
}

/// The outer service adds each request to a counter, and calls the inner service.
struct Counter<T> {
    counter: Cell<usize>,
    inner: T,
}

impl<T: Service<()>> Service<usize> for Counter<T> {
    type Response = (usize, T::Response);
    type Error = T::Error;
    async fn call(&self, request: usize) -> Result<(usize, T::Response), T::Error> {
        let before = self.counter.get();
        self.counter.set(before + request);
        println!("counter: {before}->{}", self.counter.get());
        Ok((self.counter.get(), self.inner.call(()).await?))
    }
}

/// Makes `Counter`s over the services of the inner factory.
struct CounterFactory<F>(F);

impl<F: MakeService> MakeService for CounterFactory<F> {
    type Service = Counter<F::Service>;
    type Error = F::Error;
    fn make_via_ref(&self, old: Option<&Self::Service>) -> Result<Self::Service, F::Error> {
        let counter = Cell::new(old.map_or(0, |old| old.counter.get()));
        Ok(Counter { counter, inner: self.0.make_via_ref(old.map(|old| &old.inner))? })
    }
}

impl<F> CounterFactory<F> {
    fn layer<C>() -> impl FactoryLayer<C, F, Factory = Self> {
        layer_fn(|_: &C, inner| CounterFactory(inner))
    }
}

#[derive(Clone, Copy)]
struct InitialFlag(bool);

struct Config {
    flag: bool,
}

impl Param<InitialFlag> for Config {
    fn param(&self) -> InitialFlag {
        InitialFlag(self.flag)
    }
}

async fn run() -> Result<(), Infallible> {
    let stack = FactoryStack::new(Config { flag: true })
        .push(FlagsFactory::layer())
        .push(CounterFactory::layer());
    let service = stack.make()?;
    for (request, sum) in [(1, 1), (2, 3), (3, 6)] {
        assert_eq!(service.call(request).await?, (sum, (true, true)));
    }

    // Another config makes the service that replaces the first.
    let stack = FactoryStack::new(Config { flag: false })
        .push(FlagsFactory::layer())
        .push(CounterFactory::layer());
    println!("made again");
    let service = stack.make_via_ref(Some(&service))?;
    assert_eq!(service.call(4).await?, (10, (true, false)));
    Ok(())
}

fn main() -> Result<(), Infallible> {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(run()).poll(&mut cx) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("no service here waits"),
    }
}
