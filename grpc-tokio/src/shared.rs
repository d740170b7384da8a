//! A channel that any thread may use.

use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;

use grpc_arena::{Family, Owned};
use grpc_service::client::Call;
use grpc_service::{Arena, CallError, Channel, Code, Method, Origin, Status};

use crate::connect::Connect;
use crate::elsewhere::Elsewhere;

/// A channel for programs on tokio's multi-threaded runtime, or on any other: `Clone + Send + Sync`.
///
/// The [`Channel`] itself lives on a thread of its own, and calls are made there. Each costs two hops between threads beside
/// what it costs on a `Channel`: use that where one thread makes many calls, and several of these where one thread is not
/// enough. At most `limit` calls of all clones are under way at a time; more wait for a place. The thread ends when all
/// clones are gone and all calls are over.
///
/// ```no_run
/// # use grpc_arena::{Family, Owned};
/// # use grpc_service::{CallError, Method};
/// # async fn f<Hello: Method<Request: Family>>(request: Owned<Hello::Request>) -> Result<(), CallError>
/// # where Owned<Hello::Request>: Send, Owned<Hello::Response>: Send {
/// let channel = grpc_tokio::connect("http://127.0.0.1:50051").shared(1024).await?;
/// let reply = channel.unary::<Hello>(request).await?; // `greeter_methods::SayHello`, say
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SharedChannel(Elsewhere<Channel>);

impl Connect {
    /// As the channel that this is awaited for, on a thread of its own, to be used by any thread: with at most `limit`
    /// calls under way at a time. It need not be awaited within a `LocalSet`, nor on tokio.
    ///
    /// # Errors
    /// As to await `self`; also UNAVAILABLE where there is no thread left, or no descriptors for a runtime.
    pub async fn shared(self, limit: usize) -> Result<SharedChannel, CallError> {
        let started =
            Elsewhere::start("grpc-client", limit, || self.lazy().map_err(Failed::Channel));
        let shared = SharedChannel(started.map_err(CallError::from)?);
        shared.call(async |channel| channel.ready().await).await?;
        Ok(shared)
    }
}

impl SharedChannel {
    /// Makes one call with one response.
    ///
    /// # Errors
    /// As the call itself; INTERNAL also where the response exceeds the limits of [`Owned`].
    pub async fn unary<M: Method<Request: Family>>(
        &self,
        request: Owned<M::Request>,
    ) -> Result<Owned<M::Response>, CallError>
    where
        Owned<M::Request>: Send,
        Owned<M::Response>: Send,
    {
        self.call(async move |channel| {
            let arena = Arena::new();
            let response = Call::<M, _>::unary(&channel, request.view(), &arena).await?;
            Owned::copy_of(&response).map_err(|error| internal(error.to_string()))
        })
        .await
    }

    /// Runs `calls` on the thread of the channel, with the channel: for streams, for metadata and timeouts, or for several
    /// calls at the price of one hop. What goes in and comes out moves between threads.
    ///
    /// ```no_run
    /// # async fn f(channel: grpc_tokio::SharedChannel) -> Result<(), grpc_service::CallError> {
    /// let authority = channel.call(async |channel| {
    ///     // GreeterClient::new(channel).say_hello(&request, &arena).timeout(SECOND).await?
    ///     Ok(channel.authority().to_owned())
    /// }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of `calls`; INTERNAL where it panicked. To drop the future drops `calls`, which cancels what it has under way.
    pub fn call<T, F, Fut>(
        &self,
        calls: F,
    ) -> impl Future<Output = Result<T, CallError>> + Send + use<T, F, Fut>
    where
        T: Send + 'static,
        F: FnOnce(Channel) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, CallError>> + 'static,
    {
        let elsewhere = self.0.clone();
        async move {
            let ended =
                elsewhere.run(move |channel: Rc<Channel>| calls(Channel::clone(&channel))).await;
            ended.unwrap_or_else(|panicked| Err(internal(panicked.to_string())))
        }
    }
}

/// Why there is no channel.
enum Failed {
    Thread(io::Error),
    Channel(CallError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Thread(error)
    }
}

impl From<Failed> for CallError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Channel(error) => error,
            Failed::Thread(error) => {
                let text = format!(
                    "no thread for a channel: {error}; raise the limits of threads and files"
                );
                CallError::new(Status::new(Code::Unavailable, text), Origin::Local)
            }
        }
    }
}

fn internal(text: String) -> CallError {
    CallError::new(Status::new(Code::Internal, text), Origin::Local)
}

impl fmt::Debug for SharedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedChannel").finish_non_exhaustive()
    }
}
