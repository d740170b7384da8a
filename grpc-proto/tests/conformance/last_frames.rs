//! The last frames of a connection: the GOAWAY of an error reaches the peer, and what follows a drain is still checked.

use grpc_proto::{
    Client, CloseReason, Config, Connection, ConnectionError, Instant, Role, Server, Transmit,
    Violation,
};

use crate::harness::{client, server};
use crate::wire::*;

fn said<R: Role>(conn: &mut Connection<R>) -> Vec<u8> {
    let mut out = Transmit::new();
    conn.poll_transmit(&mut out, Instant::ZERO);
    out.chunks().flatten().copied().collect()
}

/// Hears all of `bytes`; what ended the connection, if anything did.
fn hear<R: Role>(conn: &mut Connection<R>, bytes: &[u8]) -> Option<ConnectionError> {
    let mut input = bytes;
    loop {
        match conn.poll_event(&mut input, Instant::ZERO) {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// A client and a server that have exchanged SETTINGS.
fn pair() -> (Connection<Client>, Connection<Server>) {
    let config = Config::default();
    let mut client = Connection::new(&config, 1, Instant::ZERO);
    let mut server = Connection::new(&config, 2, Instant::ZERO);
    for _ in 0..3 {
        assert_eq!(hear(&mut server, &said(&mut client)), None);
        assert_eq!(hear(&mut client, &said(&mut server)), None);
    }
    (client, server)
}

/// One end breaks a rule, and hears by GOAWAY which one.
fn tells<A: Role, B: Role>(broken: &mut Connection<A>, by: &mut Connection<B>, bytes: &[u8]) {
    let Some(ConnectionError::PeerMisbehaved(rule)) = hear(broken, bytes) else {
        panic!("no rule was broken by {bytes:?}");
    };
    assert_eq!(hear(by, &said(broken)), None);
    let session = by.session();
    assert_eq!(session.goaway_received(), Some(rule.code()), "{rule}");
    assert_eq!(session.goaway_debug_data(), rule.rule());
    assert!(!broken.has_output(), "nothing follows");
    by.close_read(Instant::ZERO);
    assert_eq!(by.session().close_reason(), Some(CloseReason::PeerGoAway));
    assert_eq!(broken.session().close_reason(), Some(CloseReason::Violation(rule)));
}

#[test]
fn the_goaway_of_a_connection_error_reaches_the_end_that_broke_the_rule() {
    let wrong = [
        data(0, 0, b"x"),
        frame(PING, 0, 0, &[0; 7]),
        frame(SETTINGS, 0, 3, b""),
        frame(PRIORITY, 0, 0, &[0; 5]),
        frame(CONTINUATION, 0, 1, b""),
        window_update(0, 0),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
    ];
    for bytes in &wrong {
        let (mut client, mut server) = pair();
        tells(&mut server, &mut client, bytes);
        let (mut client, mut server) = pair();
        tells(&mut client, &mut server, bytes);
    }
}

#[test]
fn frames_behind_a_drain_are_held_to_the_rules_at_both_ends() {
    server(|bench| {
        let call = bench.open(1, END_STREAM);
        bench.conn.shutdown(bench.now);
        bench.finish(call);
        let asked = bench.sent().into_iter().find_map(|frame| match frame {
            Sent::Ping(payload) => Some(payload),
            _ => None,
        });
        bench.feed(frame(PING, ACK, 0, &asked.expect("the PING of the drain")));
        bench.sent();
        assert!(bench.conn.is_drained());
        // The client's last frames: one that is fine, one that is not.
        bench.feed([frame(PRIORITY, 0, 1, &[0; 5]), window_update(0, 7)].concat());
        bench.expect_open();
        bench.feed(data(0, 0, b"x"));
        bench.expect_violation(Violation::FrameOnStreamZero);
    });
    client(|bench| {
        bench.conn.shutdown(bench.now);
        bench.sent();
        assert!(bench.conn.is_drained());
        bench.feed([goaway(0, 0), window_update(0, 7)].concat());
        bench.expect_open();
        bench.feed(data(0, 0, b"x"));
        bench.expect_violation(Violation::FrameOnStreamZero);
    });
}
