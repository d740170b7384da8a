//! Where a client's calls go.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

use grpc_proto::http2::Side;
use grpc_proto::{Code, Config, Status};

use super::dialer::{Connectivity, Dialer, Waiting};
use super::ledger::{ChannelStats, Ledger};
use super::link::Link;
use super::stack::Stack;
use super::{CallError, ChannelOptions, ClientConnection};
use crate::compression::{Codecs, Encoding};
use crate::layers::{Layer, Outgoing};
use crate::pool::Pool;
use crate::recording::connect;
use crate::{ConnectError, Connector, Host};

/// Where calls go: stubs are made from it, and clones share its connection.
///
/// A channel made by [`to`](Channel::to) connects by itself, and again when its connection is lost. One made by
/// [`connect`](Channel::connect) or [`new`](Channel::new) has one connection: once that is lost, calls fail with
/// UNAVAILABLE, and a new channel is to be made.
#[derive(Clone)]
pub struct Channel {
    route: Route,
    layers: Option<Rc<Stack>>,
}

#[derive(Clone)]
pub(super) enum Route {
    /// One connection, for better or worse.
    One(Held),
    /// One connection after the other.
    Dialed(Rc<Dialer>),
}

impl Channel {
    /// A channel to `address`, which also names the authority unless the options do; it connects when it is first
    /// called, and again, when called, after its connection was lost or told to go.
    ///
    /// Attempts that fail are [paced](ChannelOptions::backoff). A call that finds the last one failed and the next one
    /// not due fails with UNAVAILABLE; with [`wait_for_ready`](super::Call::wait_for_ready) it waits, as all calls do
    /// while an attempt is under way. Unary calls that the server provably did not process are sent again without a
    /// word: any number of times if they never left, once if they were refused (gRFC A6).
    pub fn to(
        address: &str,
        options: &ChannelOptions,
        host: Rc<dyn Host>,
        connector: Rc<dyn Connector>,
    ) -> Channel {
        let dialer = Dialer::new(address, options, host, connector);
        Channel { route: Route::Dialed(Rc::new(dialer)), layers: None }
    }

    /// A channel to `address`, which also names the authority unless the options do, and the one connection that is to
    /// be driven for it.
    pub fn new(
        address: &str,
        options: &ChannelOptions,
        host: Rc<dyn Host>,
    ) -> (Channel, ClientConnection) {
        let (authority, ledger) = (options.authority_of(address), Rc::default());
        let (held, connection) = Held::new(authority, options, &options.config, host, ledger);
        (Channel { route: Route::One(held), layers: None }, connection)
    }

    /// Connects to `address`, which also names the authority unless the options do, once.
    ///
    /// # Errors
    /// Those of the transport.
    pub async fn connect(
        address: &str,
        options: &ChannelOptions,
        host: Rc<dyn Host>,
        connector: &dyn Connector,
    ) -> Result<Channel, ConnectError> {
        let (channel, connection) = Channel::new(address, options, host);
        connector.connect(address, connection).await?;
        Ok(channel)
    }

    /// The same channel with a layer, or a tuple of layers, around each call; of a tuple the first is the outermost.
    ///
    /// They take the place of layers that the channel has. Other clones of the channel stay as they are.
    #[must_use]
    pub fn around<L>(&self, layer: L) -> Channel
    where
        L: for<'a> Layer<Outgoing<'a>> + 'static,
    {
        Channel { route: self.route.clone(), layers: Some(Rc::new(Stack::new(layer))) }
    }

    pub(super) fn without_layers(&self) -> Channel {
        Channel { route: self.route.clone(), layers: None }
    }

    pub(super) fn layers(&self) -> Option<&Rc<Stack>> {
        self.layers.as_ref()
    }

    /// The host that the channel's calls take their time from.
    pub fn host(&self) -> &Rc<dyn Host> {
        match &self.route {
            Route::One(held) => &held.link().host,
            Route::Dialed(dialer) => &dialer.host,
        }
    }

    /// What calls name in `:authority`.
    pub fn authority(&self) -> &str {
        match &self.route {
            Route::One(held) => &held.link().authority,
            Route::Dialed(dialer) => dialer.authority(),
        }
    }

    /// What the channel is about, at this moment.
    pub fn state(&self) -> Connectivity {
        match &self.route {
            Route::One(held) if held.link().is_open() => Connectivity::Ready,
            Route::One(_) => Connectivity::Shutdown,
            Route::Dialed(dialer) => dialer.state(),
        }
    }

    /// Counters of all connections that the channel has had, closed and open, with why they ended.
    pub fn stats(&self) -> ChannelStats {
        match &self.route {
            Route::One(held) => held.link().ledger.stats(),
            Route::Dialed(dialer) => dialer.ledger.stats(),
        }
    }

    /// Completes when calls can go out; it connects where that has not begun.
    ///
    /// # Errors
    /// UNAVAILABLE with the reason: the attempt to connect has failed, or the last one has and the next one is not due.
    pub async fn ready(&self) -> Result<(), CallError> {
        match &self.route {
            Route::One(held) => {
                let ready = held.link().ready().await;
                ready.map_err(|why| CallError::local(Status::new(Code::Unavailable, why)))
            }
            Route::Dialed(dialer) => {
                let mut place = Place { dialer, waiting: Waiting::default() };
                poll_fn(|cx| dialer.poll_link(false, &mut place.waiting, cx)).await.map(drop)
            }
        }
    }

    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// What calls are compressed with that do not say otherwise.
    pub(super) fn preferred_encoding(&self) -> Option<Encoding> {
        match &self.route {
            Route::One(held) => held.link().pool.codecs.preferred(),
            Route::Dialed(dialer) => dialer.options().preferred_encoding(),
        }
    }
}

/// A place among what waits for a connection, which is left when it is dropped.
struct Place<'d> {
    dialer: &'d Dialer,
    waiting: Waiting,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.dialer.leave(&mut self.waiting);
    }
}

/// A hold on a connection: when the last one is gone, the connection is shut down, after its calls.
pub(super) struct Held {
    link: Rc<Link>,
}

impl Held {
    /// A new connection and the first hold on it.
    pub(super) fn new(
        authority: &str,
        options: &ChannelOptions,
        config: &Config,
        host: Rc<dyn Host>,
        ledger: Rc<Ledger>,
    ) -> (Held, ClientConnection) {
        let recordings = options.recordings.as_ref();
        let connection = connect(recordings, Side::Client, &authority, config, &*host);
        let pool = Pool::new(options.pool, Codecs::new(options.compression.clone()));
        let link = Rc::new(Link::new(connection, host, ledger, pool, authority, options));
        link.channels.set(1);
        link.ledger.begun(&link);
        (Held { link: Rc::clone(&link) }, ClientConnection::new(link))
    }

    pub(super) fn link(&self) -> &Rc<Link> {
        &self.link
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        self.link.channels.set(self.link.channels.get() + 1);
        Self { link: Rc::clone(&self.link) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let channels = self.link.channels.get() - 1;
        self.link.channels.set(channels);
        if channels == 0 {
            self.link.notify();
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("authority", &self.authority()).finish_non_exhaustive()
    }
}
