//! What a server says besides gRPC.

use std::fmt;
use std::sync::Arc;

use crate::cors::{Allowed, Cors, is_same_origin};
use crate::limits::WebLimits;
use crate::plain::{HttpRequest, HttpResponse};

/// Health of the whole server, as the program sees it.
type Health = Arc<dyn Fn() -> bool + Send + Sync>;
/// Answers to plain HTTP.
type Handler = Arc<dyn Fn(&HttpRequest<'_>) -> Option<HttpResponse> + Send + Sync>;

/// gRPC-Web and plain HTTP on the port of a gRPC server: who may call, what else is answered, and what it may cost.
///
/// A value is cheap to clone and may be used by several threads.
///
/// ```
/// use grpc_web::{Cors, HttpResponse, Web};
///
/// let web = Web::new()
///     .cors(Cors::origins(["https://app.example.org"]))
///     .healthz(|| true)
///     .handler(|request| match request.path() {
///         "/metrics" => Some(HttpResponse::text(200, "calls 1\n")),
///         _ => None,
///     });
/// # let _ = web;
/// ```
#[derive(Clone, Default)]
pub struct Web {
    pub(crate) limits: Arc<WebLimits>,
    cors: Option<Arc<Cors>>,
    health: Option<Health>,
    handler: Option<Handler>,
    pub(crate) http2_without_tls: bool,
}

impl Web {
    /// gRPC-Web for pages of the server's own origin and for programs, and no plain HTTP.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets pages of other origins call.
    #[must_use]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = Some(Arc::new(cors));
        self
    }

    /// Answers GET and HEAD of `/healthz`: 200 `SERVING` while `is_serving` returns true, else 503 `NOT_SERVING`.
    ///
    /// `is_serving` runs on all threads that serve, and must not block.
    #[must_use]
    pub fn healthz(mut self, is_serving: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.health = Some(Arc::new(is_serving));
        self
    }

    /// Asks `handler` for the answer to each request that is not gRPC-Web; `None` is 404.
    ///
    /// It runs on all threads that serve, and must not block. It sees no body.
    #[must_use]
    pub fn handler(
        mut self,
        handler: impl Fn(&HttpRequest<'_>) -> Option<HttpResponse> + Send + Sync + 'static,
    ) -> Self {
        self.handler = Some(Arc::new(handler));
        self
    }

    /// Sets whether connections of HTTP/2 without TLS may carry gRPC-Web and plain HTTP too, as those of proxies may. Default
    /// false: they are the server's, at no cost.
    ///
    /// Each call of gRPC on them then costs about twice as much of this crate's and the core's work. Behind TLS clients that
    /// offer `http/1.1` beside `h2`, as browsers do, are served so in any case.
    #[must_use]
    pub fn http2_without_tls(mut self, serve: bool) -> Self {
        self.http2_without_tls = serve;
        self
    }

    /// Sets what connections of HTTP/1.1 may cost.
    #[must_use]
    pub fn limits(mut self, limits: WebLimits) -> Self {
        self.limits = Arc::new(limits);
        self
    }

    pub(crate) fn policy(&self) -> Option<&Cors> {
        self.cors.as_deref()
    }

    /// What a page of `origin` may at the server named `authority`; `None` if it may not call.
    pub(crate) fn allow<'a>(
        &self,
        origin: Option<&'a [u8]>,
        authority: &[u8],
    ) -> Option<Allowed<'a>> {
        let Some(origin) = origin else { return Some(Allowed::Same) };
        // The list first: a page of the own origin may be in it, and then is to be told so.
        let listed = self.cors.as_ref().and_then(|cors| cors.allow(origin));
        listed.or_else(|| is_same_origin(origin, authority).then_some(Allowed::Same))
    }

    /// The answer to plain HTTP.
    pub(crate) fn answer(&self, request: &HttpRequest<'_>) -> HttpResponse {
        let is_read = matches!(request.method, "GET" | "HEAD");
        if let Some(health) = &self.health
            && request.path() == "/healthz"
        {
            return match (is_read, health()) {
                (false, _) => method_not_allowed(),
                (true, true) => HttpResponse::text(200, "SERVING\n"),
                (true, false) => HttpResponse::text(503, "NOT_SERVING\n"),
            };
        }
        if let Some(handler) = &self.handler
            && let Some(response) = handler(request)
        {
            return response;
        }
        if self.health.is_none() && self.handler.is_none() {
            return HttpResponse::text(505, NO_PLAIN_HTTP);
        }
        HttpResponse::text(
            404,
            "nothing is served at this path; calls are POST with content-type application/grpc-web\n",
        )
    }
}

const NO_PLAIN_HTTP: &str = "this port speaks gRPC over HTTP/2, and gRPC-Web as POST with content-type application/grpc-web; \
    use a client of one of them\n";

fn method_not_allowed() -> HttpResponse {
    let response = HttpResponse::text(405, "only GET and HEAD are served at this path\n");
    response.header("allow", "GET, HEAD").expect("a valid field")
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web")
            .field("limits", &self.limits)
            .field("cors", &self.cors)
            .field("healthz", &self.health.is_some())
            .field("handler", &self.handler.is_some())
            .field("http2_without_tls", &self.http2_without_tls)
            .finish()
    }
}
