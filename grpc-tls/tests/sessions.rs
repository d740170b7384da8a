//! TLS around an endpoint, in memory: handshakes, records, ends.

mod common;

use std::time::Duration;

use common::*;
use grpc_proto::ConnectionError;
use grpc_service::Endpoint;
use grpc_tls::{ClientTls, Plaintext, ServerTls, TlsError, rustls};

fn saying(text: &[u8]) -> Talker {
    Talker { to_send: text.to_vec(), ..Talker::default() }
}

const WHOLE: fn() -> usize = || usize::MAX;

#[test]
fn bytes_pass_both_ways_and_each_side_knows_the_other() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let own = authority.sign(&["localhost"]);
    let server = ServerTls::from_pem(&own.chain, &own.key)
        .and_then(|tls| tls.require_client_certificate(&clients.roots()))
        .unwrap();
    let shown = clients.sign(&["web.example.org", "spiffe://example.org/web"]);
    let client = ClientTls::with_roots(&authority.roots())
        .and_then(|tls| tls.certificate(&shown.chain, &shown.key))
        .unwrap();

    let (mut c, mut s) = (
        client_end(&client, "localhost", saying(b"hello")),
        server_end(&server, saying(b"welcome")),
    );
    talk(&mut c, &mut s, WHOLE);
    assert_eq!((s.received(), c.received()), (&b"hello"[..], &b"welcome"[..]));

    let seen = s.peer().unwrap();
    assert_eq!(seen.server_name.as_deref(), Some("localhost"));
    assert_eq!(seen.dns_names, ["web.example.org"]);
    assert_eq!(seen.spiffe_id(), Some("spiffe://example.org/web"));
    assert_eq!(seen.to_string(), "spiffe://example.org/web, web.example.org");
    assert_eq!((seen.version, seen.cipher_suite), ("TLSv1_3", "TLS13_AES_256_GCM_SHA384"));
    assert_eq!(c.peer().unwrap().dns_names, ["localhost"]);
    // ALPN chose it, so a server need not hold its SETTINGS back.
    assert!(seen.http2 && c.peer().unwrap().http2);
}

#[test]
fn any_segmentation_gives_the_same_bytes() {
    let (server, client) = plain_pair();
    let (question, answer) = (vec![b'q'; 40_000], vec![b'r'; 50_000]);
    let run = |piece: &mut dyn FnMut() -> usize| {
        let mut c = client_end(&client, "localhost", saying(&question));
        let mut s = server_end(&server, saying(&answer));
        talk(&mut c, &mut s, piece);
        assert_eq!(
            (&c.outcome, &s.outcome),
            (&None, &None),
            "{:?} {:?}",
            c.tls.error(),
            s.tls.error()
        );
        assert!(s.received() == question && c.received() == answer);
    };
    run(&mut || usize::MAX);
    run(&mut || 1);
    // Each cut within what a side says at once: a record's header, its end, messages of the handshake over records.
    for first in (1..3_000).step_by(7) {
        let mut turns = 0;
        run(&mut || {
            turns += 1;
            if turns <= 4 { first } else { usize::MAX }
        });
    }
    for seed in 1..30_u64 {
        let mut state = seed;
        run(&mut || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            1 + (state >> 33) as usize % if seed % 2 == 0 { 20 } else { 20_000 }
        });
    }
}

#[test]
fn records_are_filled_and_small_chunks_share_one() {
    let (server, client) = plain_pair();
    let (mut c, mut s) =
        (client_end(&client, "localhost", saying(b"")), server_end(&server, saying(b"")));
    talk(&mut c, &mut s, WHOLE);
    let inner = c.tls.inner().unwrap();
    inner.to_send = vec![b'x'; 40_000];
    let sealed = records(&c.turn(0));
    let lengths: Vec<usize> = sealed.iter().map(|&(_, length)| length).collect();
    // TLS 1.3 adds the content type and a tag: 17 bytes a record (RFC 8446 §5.2).
    assert_eq!(lengths, [16_384 + 17, 16_384 + 17, 40_000 - 2 * 16_384 + 17]);
}

#[test]
fn an_end_without_close_notify_is_an_error_and_one_with_it_is_not() {
    let (server, client) = plain_pair();
    let leave = Talker { leave_after: Some(3), ..saying(b"bye") };
    let (mut c, mut s) =
        (client_end(&client, "localhost", saying(b"end")), server_end(&server, leave));
    talk(&mut c, &mut s, WHOLE);
    // The server is drained: its close_notify ends the client's input.
    assert_eq!(c.received(), b"bye");
    assert_eq!(c.outcome, Some(ConnectionError::Closed(None)));
    c.tls.close_read(c.now);
    assert_eq!(c.tls.error(), None);

    let (mut c, mut s) =
        (client_end(&client, "localhost", saying(b"end")), server_end(&server, saying(b"")));
    talk(&mut c, &mut s, WHOLE);
    s.tls.close_read(s.now);
    s.turn(0);
    assert_eq!(s.tls.error(), Some(&TlsError::Truncated));
    assert_eq!(s.outcome, Some(ConnectionError::Closed(None)));
}

#[test]
fn plaintext_on_a_tls_connection_is_named() {
    let (server, client) = plain_pair();
    let cases: [(&[u8], Plaintext); 3] = [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Plaintext::Http2),
        (b"GET /healthz HTTP/1.1\r\n\r\n", Plaintext::Http1),
        (b"\x7fELF", Plaintext::Unknown),
    ];
    for (said, what) in cases {
        let mut s = server_end(&server, saying(b""));
        s.inbox.extend(said);
        let answer = s.turn(usize::MAX);
        if what == Plaintext::Http2 {
            assert_eq!(answer[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0], "SETTINGS come first");
            assert_eq!(answer[12..18], [7, 0, 0, 0, 0, 0], "GOAWAY");
            assert_eq!(usize::from(answer[11]), answer.len() - 18);
            assert!(answer.ends_with(b"\0\0\0\x0cthis port needs TLS"));
        } else {
            assert!(answer.is_empty(), "no alert can reach a peer that does not speak TLS");
        }
        assert_eq!(s.peer(), Err(TlsError::NotTls(what)));
        assert!(s.outcome.is_some());
    }
    let mut c = client_end(&client, "localhost", saying(b""));
    c.turn(0);
    c.inbox.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    c.turn(usize::MAX);
    assert_eq!(c.peer(), Err(TlsError::NotTls(Plaintext::Http2)));
    assert!(c.peer().unwrap_err().to_string().contains("without TLS"));
}

#[test]
fn a_certificate_for_another_host_or_expired_is_refused_by_name() {
    let authority = Authority::new();
    let client = ClientTls::with_roots(&authority.roots()).unwrap();
    let own = authority.sign(&["shop.example"]);
    let server = ServerTls::from_pem(&own.chain, &own.key).unwrap();
    let (mut c, mut s) =
        (client_end(&client, "bank.example", saying(b"")), server_end(&server, saying(b"")));
    talk(&mut c, &mut s, WHOLE);
    let text = c.peer().unwrap_err().to_string();
    assert!(text.contains("shop.example") && text.contains("bank.example"), "{text}");
    // The server learns it by an alert.
    assert!(s.peer().unwrap_err().to_string().contains("alert"), "{:?}", s.peer());

    let own = authority.sign_with(&["shop.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let server = ServerTls::from_pem(&own.chain, &own.key).unwrap();
    let (mut c, mut s) =
        (client_end(&client, "shop.example", saying(b"")), server_end(&server, saying(b"")));
    talk(&mut c, &mut s, WHOLE);
    let text = c.peer().unwrap_err().to_string();
    assert!(text.contains("expired"), "{text}");
}

#[test]
fn a_client_without_a_certificate_is_refused_only_where_one_is_required() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let own = authority.sign(&["localhost"]);
    let server = || ServerTls::from_pem(&own.chain, &own.key).unwrap();
    let client = ClientTls::with_roots(&authority.roots()).unwrap();

    let required = server().require_client_certificate(&clients.roots()).unwrap();
    let (mut c, mut s) =
        (client_end(&client, "localhost", saying(b"")), server_end(&required, saying(b"")));
    talk(&mut c, &mut s, WHOLE);
    assert!(s.peer().is_err() && c.outcome.is_some());

    let optional = server().request_client_certificate(&clients.roots()).unwrap();
    let (mut c, mut s) =
        (client_end(&client, "localhost", saying(b"hi")), server_end(&optional, saying(b"")));
    talk(&mut c, &mut s, WHOLE);
    assert_eq!(s.peer().unwrap().certificates.len(), 0);
    assert_eq!(s.received(), b"hi");

    // One that another authority has signed is refused in both cases.
    let forged = Authority::new().sign(&["web.example.org"]);
    let client = client.certificate(&forged.chain, &forged.key).unwrap();
    let (mut c, mut s) =
        (client_end(&client, "localhost", saying(b"hi")), server_end(&optional, saying(b"")));
    talk(&mut c, &mut s, WHOLE);
    assert!(s.peer().is_err());
}

#[test]
fn a_handshake_without_h2_is_refused() {
    let authority = Authority::new();
    let own = authority.sign(&["localhost"]);
    let server = ServerTls::from_pem(&own.chain, &own.key).unwrap();
    for (offered, in_time) in [(vec![b"http/1.1".to_vec()], true), (Vec::new(), false)] {
        let mut config = rustls_client(&authority.roots());
        config.alpn_protocols = offered;
        let mut session =
            grpc_tls::Session::client(config.into(), "localhost".try_into().unwrap()).unwrap();
        let mut s = server_end(&server, saying(b""));
        let mut to_server = Vec::new();
        let mut alert = None;
        session.open(&mut &mut [][..], &mut to_server, &mut |_| true).unwrap();
        for _ in 0..4 {
            s.inbox.append(&mut to_server);
            let mut answer = s.turn(usize::MAX);
            let mut rest = &mut answer[..];
            if let Err(error) = session.open(&mut rest, &mut to_server, &mut |_| true) {
                alert = Some(error);
                s.inbox.append(&mut to_server);
                s.turn(usize::MAX);
                break;
            }
        }
        if in_time {
            let refused =
                rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol);
            assert_eq!(alert, Some(TlsError::Session(refused)), "RFC 7301 §3.2");
            assert_eq!(s.peer(), Err(TlsError::Session(rustls::Error::NoApplicationProtocol)));
        } else {
            assert_eq!(alert, Some(TlsError::NoHttp2(None)), "the client refuses it as well");
            assert_eq!(s.peer(), Err(TlsError::NoHttp2(None)));
        }
    }
}

#[test]
fn a_handshake_that_stalls_or_dribbles_ends_in_time() {
    let (server, client) = plain_pair();
    let server = server.handshake_timeout(Duration::from_secs(5));
    let mut c = client_end(&client, "localhost", saying(b""));
    let hello = c.turn(0);
    let mut s = server_end(&server, saying(b""));
    for byte in &hello[..hello.len() - 1] {
        s.inbox.push(*byte);
        s.turn(1);
        s.pass(Duration::from_millis(1));
        assert!(s.outcome.is_none());
    }
    assert_eq!(s.tls.poll_timeout(), Some(grpc_proto::Instant::ZERO + Duration::from_secs(5)));
    s.pass(Duration::from_secs(5));
    s.turn(0);
    assert_eq!(s.peer(), Err(TlsError::HandshakeTimeout));
    assert!(s.outcome.is_some());
}

#[test]
fn certificates_are_replaced_while_serving_and_a_bad_file_changes_nothing() {
    let authority = Authority::new();
    let (first, second) =
        (authority.sign(&["localhost", "first"]), authority.sign(&["localhost", "second"]));
    let server = ServerTls::from_pem(&first.chain, &first.key).unwrap();
    let client = ClientTls::with_roots(&authority.roots()).unwrap();
    let shown = || {
        let (mut c, mut s) =
            (client_end(&client, "localhost", saying(b"")), server_end(&server, saying(b"")));
        talk(&mut c, &mut s, WHOLE);
        c.peer().unwrap().dns_names.pop().unwrap()
    };
    assert_eq!(shown(), "first");
    assert!(server.replace_certificate(&second.chain, &first.key).is_err(), "another key");
    assert!(server.replace_certificate(b"nothing", &second.key).is_err());
    assert_eq!(shown(), "first");
    server.replace_certificate(&second.chain, &second.key).unwrap();
    assert_eq!(shown(), "second");
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let authority = Authority::new();
    let [main, shop, any] = [&["main.example"][..], &["shop.example"], &["*.api.example"]]
        .map(|names| authority.sign(names));
    let server = ServerTls::from_pem(&main.chain, &main.key)
        .and_then(|tls| tls.certificate_for("Shop.Example", &shop.chain, &shop.key))
        .and_then(|tls| tls.certificate_for("*.api.example", &any.chain, &any.key))
        .unwrap();
    let client = ClientTls::with_roots(&authority.roots()).unwrap();
    for name in ["main.example", "shop.example", "v1.api.example"] {
        let (mut c, mut s) =
            (client_end(&client, name, saying(b"hi")), server_end(&server, saying(b"")));
        talk(&mut c, &mut s, WHOLE);
        assert_eq!(s.received(), b"hi", "{name}");
        assert_eq!(s.peer().unwrap().server_name.as_deref(), Some(name));
    }
}

#[test]
fn a_slow_reader_of_answers_leaves_input_and_little_memory() {
    let (server, client) = plain_pair();
    let question = vec![b'q'; 100_000];
    let amplifying = Talker { amplify: 20, ..Talker::default() };
    let (mut c, mut s) =
        (client_end(&client, "localhost", saying(&question)), server_end(&server, amplifying));
    talk(&mut c, &mut s, WHOLE);
    assert_eq!(s.received(), question);
    assert_eq!(c.received().len(), 20 * question.len());
    assert!(s.out.heap_bytes() < 400 << 10, "{}", s.out.heap_bytes());
}

#[test]
fn a_record_that_claims_too_much_is_refused_at_its_header() {
    let (server, _) = plain_pair();
    let mut s = server_end(&server, saying(b""));
    s.inbox.extend([22, 3, 3, 0xff, 0xff]);
    s.turn(usize::MAX);
    assert!(s.peer().is_err(), "RFC 8446 §5.1");
}

fn rustls_client(roots: &[u8]) -> rustls::ClientConfig {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut store = rustls::RootCertStore::empty();
    store.add(CertificateDer::from_pem_slice(roots).unwrap()).unwrap();
    rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth()
}

#[test]
fn a_stop_during_the_handshake_ends_it_at_once() {
    let (server, client) = plain_pair();
    for stop in [Endpoint::shutdown, Endpoint::abort] {
        for turns in 0..2 {
            let mut c = client_end(&client, "localhost", saying(b"hello"));
            let mut s = server_end(&server, saying(b""));
            for end in [&mut c, &mut s] {
                (0..turns).for_each(|_| drop(end.turn(0)));
                stop(&mut end.tls, end.now);
                assert_eq!(end.peer(), Err(TlsError::HandshakeStopped));
                assert_eq!(end.tls.poll_timeout(), None, "nothing is waited for");
                end.turn(0);
                assert_eq!(end.outcome, Some(ConnectionError::Closed(None)));
                assert_eq!(end.tls.error(), Some(&TlsError::HandshakeStopped));
            }
        }
    }
}

#[test]
fn a_message_of_the_handshake_may_be_spread_over_records() {
    let (server, client) = plain_pair();
    for fragment in [1, 40, 150] {
        for piece in [1, 2, 7, 100, usize::MAX] {
            let mut c = client_end(&client, "localhost", saying(b"hello"));
            let mut s = server_end(&server, saying(b"welcome"));
            let hello = c.turn(0);
            let spread: Vec<u8> = hello[5..]
                .chunks(fragment)
                .flat_map(|part| [&[22, 3, 1, 0, part.len() as u8][..], part].concat())
                .collect();
            // As reads bring it, in which more may lie than the next header.
            for part in spread.chunks(piece.min(spread.len())) {
                s.inbox.extend_from_slice(part);
                let said = s.turn(usize::MAX);
                assert!(s.inbox.is_empty(), "all of it is taken: {fragment} {piece}");
                c.inbox.extend(said);
            }
            talk(&mut c, &mut s, WHOLE);
            assert_eq!(s.tls.error(), None, "{fragment} {piece}");
            assert_eq!((s.received(), c.received()), (&b"hello"[..], &b"welcome"[..]));
        }
    }
}
