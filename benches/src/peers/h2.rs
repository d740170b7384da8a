//! The `h2` crate: client and server on one current-thread runtime, joined by an in-memory duplex.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, client, server};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header::HeaderValue};
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Runtime};

use crate::exchange::{self, Varying};

/// A connected pair.
pub struct Pair {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    message: Bytes,
    varying: bool,
}

impl Pair {
    /// Connects client and server, whose messages both have `body` bytes; `varying` calls carry a timeout and a trace id.
    pub fn new(body: usize, varying: bool) -> Self {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let message = exchange::for_good(exchange::framed(body));
        let (near, far) = tokio::io::duplex(1024 * 1024);
        runtime.spawn(serve(far, message.clone()));
        let requests = runtime.block_on(async {
            let (requests, connection) = client::Builder::new()
                .initial_window_size(exchange::STREAM_WINDOW)
                .initial_connection_window_size(exchange::CONNECTION_WINDOW)
                .enable_push(false)
                .handshake(near)
                .await
                .expect("a handshake in memory");
            tokio::spawn(async move { connection.await.expect("the connection stays") });
            requests
        });
        Self { runtime, requests, message, varying }
    }

    /// Makes `calls` calls, with as many in flight as the benchmark has, and checks each reply's size and status.
    pub fn run(&mut self, calls: u64) {
        let slots = exchange::IN_FLIGHT as u64;
        let clients: Vec<_> = (0..slots)
            .map(|slot| {
                let share = calls / slots + u64::from(slot < calls % slots);
                self.runtime.spawn(call_in_turn(
                    self.requests.clone(),
                    self.message.clone(),
                    share,
                    self.varying,
                ))
            })
            .collect();
        self.runtime.block_on(async {
            for client in clients {
                client.await.expect("no call fails");
            }
        });
    }
}

async fn call_in_turn(mut requests: SendRequest<Bytes>, message: Bytes, calls: u64, varies: bool) {
    let uri: Uri =
        format!("http://{}{}", exchange::AUTHORITY, exchange::PATH).parse().expect("a valid URI");
    let fields: HeaderMap =
        exchange::REQUEST_FIELDS.iter().map(|&(name, value)| field(name, value)).collect();
    let mut varying = Varying::new();
    for _ in 0..calls {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = fields.clone();
        if varies {
            let timeout = HeaderValue::from_bytes(varying.timeout(&mut [0; 8])).expect("digits");
            let trace = HeaderValue::from_bytes(&varying.trace_id()).expect("digits");
            request.headers_mut().insert("grpc-timeout", timeout);
            request.headers_mut().insert(exchange::TRACE_FIELD, trace);
        }
        requests = requests.ready().await.expect("room for a stream");
        let (response, mut body) =
            requests.send_request(request, false).expect("the request is sent");
        body.send_data(message.clone(), true).expect("the message is sent");
        let response = response.await.expect("a response");
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body();
        assert_eq!(drain(&mut body).await, message.len());
        let trailers = body.trailers().await.expect("trailers").expect("a status");
        let (name, value) = exchange::TRAILER;
        assert_eq!(trailers[name], value);
    }
}

async fn serve(io: DuplexStream, message: Bytes) {
    let mut connection = server::Builder::new()
        .initial_window_size(exchange::STREAM_WINDOW)
        .initial_connection_window_size(exchange::CONNECTION_WINDOW)
        .handshake::<_, Bytes>(io)
        .await
        .expect("a handshake in memory");
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, message.clone()));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, message: Bytes) {
    assert_eq!(request.uri().path(), exchange::PATH);
    assert_eq!(drain(&mut request.into_body()).await, message.len());
    let mut response = Response::new(());
    response.headers_mut().extend([field(exchange::RESPONSE_FIELD.0, exchange::RESPONSE_FIELD.1)]);
    let mut body = respond.send_response(response, false).expect("the head is sent");
    body.send_data(message, false).expect("the message is sent");
    let (name, value) = exchange::TRAILER;
    body.send_trailers([field(name, value)].into_iter().collect()).expect("the trailers are sent");
}

/// Reads a body to its end, giving credit back as it goes.
async fn drain(body: &mut RecvStream) -> usize {
    let mut length = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("DATA");
        length += chunk.len();
        body.flow_control().release_capacity(chunk.len()).expect("credit that was taken");
    }
    length
}

fn field(name: &'static str, value: &'static str) -> (http::HeaderName, HeaderValue) {
    (http::HeaderName::from_static(name), HeaderValue::from_static(value))
}
