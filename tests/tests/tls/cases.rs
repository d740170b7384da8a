// One text for each adapter: the module around it says which one `adapter` is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_arena::Arena;
use grpc_proto::{Code, Status};
use grpc_service::{CallError, ChannelOptions, Cx};
use grpc_tls::{ClientTls, ServerTls};
use tests::authority::Authority;

use adapter::{WorkerOptions, Workers, block_on, connect};

/// Answers with what TLS proved about the caller.
struct Seeing;

impl Greeter for Seeing {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        if request.name == "slow" {
            cx.sleep(Duration::from_secs(30)).await;
        }
        let tls = cx.peer().tls();
        let seen = tls.map_or("no TLS".to_owned(), |tls| {
            format!("{tls} asked for {:?}", tls.server_name.as_deref().unwrap_or("nothing"))
        });
        Ok(HelloReply { message: cx.arena().alloc_str(&seen), ..HelloReply::default() })
    }
}

fn serve(options: WorkerOptions) -> Workers {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let routes = |router: &mut grpc_service::Router| register_greeter(router, Rc::new(Seeing));
    Workers::start(loopback, options.threads(1), routes).expect("loopback can be served")
}

/// A server with a certificate for `localhost`, and a client that trusts it.
fn pair() -> (ServerTls, ClientTls) {
    let authority = Authority::new();
    let own = authority.sign(&["localhost"]);
    let server = ServerTls::from_pem(&own.chain, &own.key).expect("a certificate");
    (server, ClientTls::with_roots(&authority.roots()).expect("roots"))
}

async fn hello(greeter: &GreeterClient, name: &str) -> Result<String, Status> {
    let arena = Arena::new();
    let request = HelloRequest { name, ..HelloRequest::default() };
    let called = greeter.say_hello(&request, &arena).await;
    called.map(|reply| reply.message.to_owned()).map_err(CallError::into_status)
}

/// One call over a connection of its own.
async fn call(target: &str, tls: Option<&ClientTls>) -> Result<String, Status> {
    let mut connecting = connect(target);
    if let Some(tls) = tls {
        connecting = connecting.tls(tls.clone());
    }
    let channel = connecting.await.map_err(CallError::into_status)?;
    hello(&GreeterClient::new(channel), "").await
}

fn run<T>(future: impl Future<Output = T>) -> T {
    block_on(future).expect("a runtime")
}

#[test]
fn mutual_tls_shows_each_side_who_the_other_is() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let own = authority.sign(&["localhost"]);
    let server = ServerTls::from_pem(&own.chain, &own.key)
        .and_then(|tls| tls.require_client_certificate(&clients.roots()))
        .expect("a configuration");
    let workers = serve(WorkerOptions::default().tls(server));
    let target = format!("https://localhost:{}", workers.address().port());
    let trusting = ClientTls::with_roots(&authority.roots()).expect("roots");

    let shown = clients.sign(&["spiffe://example.org/web"]);
    let client = trusting.clone().certificate(&shown.chain, &shown.key);
    // The clone above shares its configuration.
    let known = run(call(&target, Some(&client.expect("a certificate"))));
    assert_eq!(known.as_deref(), Ok("spiffe://example.org/web asked for \"localhost\""));

    let nameless = ClientTls::with_roots(&authority.roots()).expect("roots");
    let error = run(call(&target, Some(&nameless))).expect_err("no certificate was shown");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("CertificateRequired"), "{error:?}");

    let other = Authority::new().sign(&["spiffe://example.org/web"]);
    let stranger = ClientTls::with_roots(&authority.roots()).expect("roots");
    let stranger = stranger.certificate(&other.chain, &other.key).expect("a certificate");
    let error = run(call(&target, Some(&stranger))).expect_err("another authority signed it");
    assert!(error.message().contains("UnknownCA"), "{error:?}");
    workers.stop(Duration::from_secs(5));
}

#[test]
fn a_certificate_for_another_host_is_refused_and_both_are_named() {
    let (server, client) = pair();
    let workers = serve(WorkerOptions::default().tls(server));
    let target = format!("https://{}", workers.address());
    let error = run(call(&target, Some(&client))).expect_err("it is for localhost");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("127.0.0.1"), "{error:?}");
    assert!(error.message().contains("localhost"), "{error:?}");
    let named = client.server_name("localhost").expect("a name");
    assert!(run(call(&target, Some(&named))).is_ok());
    workers.stop(Duration::from_secs(5));
}

#[test]
fn tls_on_one_side_alone_is_an_error_that_says_so() {
    let (server, client) = pair();
    let behind = serve(WorkerOptions::default().tls(server));
    let target = format!("http://localhost:{}", behind.address().port());
    let error = run(call(&target, None)).expect_err("the server needs TLS");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("this port needs TLS"), "{error:?}");
    behind.stop(Duration::from_secs(5));

    let plain = serve(WorkerOptions::default());
    let target = format!("https://localhost:{}", plain.address().port());
    let error = run(call(&target, Some(&client))).expect_err("the server has no TLS");
    assert_eq!(error.code(), Code::Unavailable);
    // A server that has seen a TLS record in place of the preface closes without a byte.
    assert!(error.message().contains("it may not speak TLS on this port"), "{error:?}");
    plain.stop(Duration::from_secs(5));
}

#[test]
fn a_target_that_does_not_fit_its_tls_is_refused_before_connecting() {
    let (_, client) = pair();
    run(async {
        let error = connect("http://localhost:1").tls(client).await.expect_err("no TLS there");
        assert_eq!(error.code(), Code::InvalidArgument);
        let error = connect("localhost:1").await.expect_err("no scheme");
        assert_eq!(error.code(), Code::InvalidArgument);
    });
}

#[test]
fn a_stop_does_not_wait_for_a_handshake() {
    let (server, client) = pair();
    let workers = serve(WorkerOptions::default().tls(server));
    let mut stalled = TcpStream::connect(workers.address()).expect("it listens");
    stalled.write_all(&[22, 3, 1, 2]).expect("the front of a record");
    // It has been accepted for sure when another one has been served.
    let target = format!("https://localhost:{}", workers.address().port());
    assert!(run(call(&target, Some(&client))).is_ok());
    let begun = Instant::now();
    workers.stop(Duration::from_secs(60));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_handshake_that_takes_too_long_ends_its_connection() {
    let (server, _) = pair();
    let tls = server.handshake_timeout(Duration::from_millis(200));
    let workers = serve(WorkerOptions::default().tls(tls));
    let mut stalled = TcpStream::connect(workers.address()).expect("it listens");
    stalled.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    // An alert may come before the end.
    stalled.read_to_end(&mut Vec::new()).expect("the server closes it");
    workers.stop(Duration::from_secs(5));
}

/// Passes bytes between a client and a server, and ends both sockets when it is asked to.
fn passing(server: SocketAddr) -> (SocketAddr, std::sync::mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let (cut, is_cut) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let client = listener.accept().expect("a client").0;
        let server = TcpStream::connect(server).expect("it listens");
        let pump = |mut from: TcpStream, mut to: TcpStream| {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
            });
        };
        let twin = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        pump(twin(&client), twin(&server));
        pump(twin(&server), twin(&client));
        let _ = is_cut.recv();
        let _ = client.shutdown(std::net::Shutdown::Both);
        let _ = server.shutdown(std::net::Shutdown::Both);
    });
    (address, cut)
}

#[test]
fn a_connection_that_is_cut_without_close_notify_fails_its_calls() {
    let (server, client) = pair();
    let workers = serve(WorkerOptions::default().tls(server));
    let (address, cut) = passing(workers.address());
    run(async {
        let target = format!("https://localhost:{}", address.port());
        let channel = connect(target.as_str()).options(ChannelOptions::default()).tls(client);
        let greeter = GreeterClient::new(channel.await.expect("served"));
        hello(&greeter, "").await.expect("served");
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            cut.send(()).expect("it passes bytes on");
        });
        let error = hello(&greeter, "slow").await.expect_err("the connection is cut");
        assert_eq!(error.code(), Code::Unavailable);
    });
    // The server has ended the connection, too: a stop does not wait for its call.
    let begun = Instant::now();
    workers.stop(Duration::from_secs(20));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// One request of HTTP/1.1 over TLS, by a client that offers `alpn`; what was chosen, and the answer.
fn get(port: u16, roots: &[u8], alpn: &[&[u8]]) -> std::io::Result<(Option<Vec<u8>>, String)> {
    use grpc_tls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    use grpc_tls::rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots) {
        store.add(certificate.expect("a certificate")).expect("a root");
    }
    let mut config = ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(std::sync::Arc::new(config), name).expect("a session");
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = Stream::new(&mut session, &mut socket);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok((session.alpn_protocol().map(<[u8]>::to_vec), answer))
}

#[test]
fn http1_is_served_behind_tls_where_alpn_chooses_it_or_nothing() {
    let authority = Authority::new();
    let own = authority.sign(&["localhost"]);
    let tls = ServerTls::from_pem(&own.chain, &own.key).expect("a certificate");
    let web = grpc_web::Web::new().healthz(|| true);
    let workers = serve(WorkerOptions::default().tls(tls.clone()).web(web));
    let (port, roots) = (workers.address().port(), authority.roots());
    for (alpn, chosen) in [(&[&b"http/1.1"[..]][..], Some(b"http/1.1".to_vec())), (&[], None)] {
        let (seen, answer) = get(port, &roots, alpn).expect("an answer");
        assert_eq!(seen, chosen);
        assert!(answer.ends_with("SERVING\n"), "{answer}");
    }
    // gRPC is served as before, and nothing else is chosen where both are offered.
    let client = ClientTls::with_roots(&roots).expect("roots");
    let target = format!("https://localhost:{port}");
    assert!(run(call(&target, Some(&client))).is_ok());
    let both = get(port, &roots, &[b"http/1.1", b"h2"]);
    assert!(!both.is_ok_and(|(_, answer)| answer.contains("SERVING")), "h2 comes first");
    workers.stop(Duration::ZERO);
    // Without `web` the same certificate serves HTTP/2 alone.
    let plain = serve(WorkerOptions::default().tls(tls));
    assert!(get(plain.address().port(), &roots, &[b"http/1.1"]).is_err());
    let silent = get(plain.address().port(), &roots, &[]);
    assert!(silent.is_err() || silent.is_ok_and(|(_, answer)| answer.is_empty()));
    plain.stop(Duration::ZERO);
}

/// One call of gRPC-Web over HTTP/2 and TLS, by a client that offers HTTP/1.1 too, as browsers do; the body of the answer.
fn call_as_a_browser(port: u16, roots: &[u8]) -> Vec<u8> {
    use grpc_proto::http2::{Event, Session, Side};
    use grpc_proto::{Config, Instant, Transmit};
    use grpc_tls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    use grpc_tls::rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots) {
        store.add(certificate.expect("a certificate")).expect("a root");
    }
    let mut config = ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(std::sync::Arc::new(config), name).expect("a session");
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("served");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
    let mut stream = Stream::new(&mut tls, &mut socket);
    let mut session = Session::new(Side::Client, &Config::default(), 0, Instant::ZERO);
    let head = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/helloworld.Greeter/SayHello"),
        (":authority", "localhost"),
        ("content-type", "application/grpc-web+proto"),
    ];
    let key = session.open(head.into_iter().collect(), Instant::ZERO).expect("a stream");
    session.write(key, &[0; 5]).expect("room");
    session.finish(key, None).expect("an end");
    let (mut out, mut input, mut body) = (Transmit::new(), Vec::new(), Vec::new());
    loop {
        session.poll_transmit(&mut out, Instant::ZERO);
        let bytes: Vec<u8> = out.chunks().flatten().copied().collect();
        out.clear();
        stream.write_all(&bytes).expect("an open connection");
        input.resize(16 << 10, 0);
        let len = stream.read(&mut input).expect("an answer");
        assert!(len > 0, "the connection ended");
        let mut rest = &input[..len];
        while let Some(event) = session.poll(&mut rest, Instant::ZERO).expect("HTTP/2") {
            match event {
                Event::Data(_) => body.extend_from_slice(session.take_data(&mut rest, usize::MAX)),
                Event::End(_) => return body,
                _ => {}
            }
        }
    }
}

#[test]
fn a_browser_that_chooses_h2_is_served_grpc_web_too() {
    let authority = Authority::new();
    let own = authority.sign(&["localhost"]);
    let tls = ServerTls::from_pem(&own.chain, &own.key).expect("a certificate");
    let options = WorkerOptions::default().tls(tls).web(grpc_web::Web::new());
    let workers = serve(options);
    let body = call_as_a_browser(workers.address().port(), &authority.roots());
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains("asked for \"localhost\""), "{text:?}");
    assert!(text.ends_with("grpc-status: 0\r\n"), "{text:?}");
    workers.stop(Duration::ZERO);
}
