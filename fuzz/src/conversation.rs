//! A connection that is fed bytes in segments of a size: what it tells and what it says must not
//! depend on how they were cut (a fixed schedule of pulls: one a call of this).

use grpc_proto::{
    Client, Config, Connection, ConnectionError, Instant, Limits, Metadata, Server, Status,
    Transmit, client, server,
};

/// The preface and empty SETTINGS.
pub const PREFIX: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// What a conversation came to.
#[derive(Debug, PartialEq)]
pub struct Heard {
    events: Vec<String>,
    error: Option<ConnectionError>,
    said: Vec<u8>,
}

fn config() -> Config {
    let mut limits = Limits::default();
    // Replies and new calls must not stop the reading: pulls then come at the end, however it is cut.
    limits.max_pending_replies = u32::MAX;
    limits.opens_per_transmit = u32::MAX;
    limits.max_concurrent_streams = 20;
    limits.max_receive_message = 100_000;
    Config::new(limits).expect("limits within their ranges")
}

/// Serves the client that says `wire`: messages are sent back, ends are answered with OK.
pub fn serve(wire: &[u8], segment: usize) -> Heard {
    let mut conn = Connection::<Server>::new(&config(), 1, Instant::ZERO);
    hear(&mut conn, wire, segment, |conn, event| {
        let text = format!("{event:?}").replace("Borrowed", "").replace("Assembled", "");
        let text = match &event {
            server::Event::Message(key, message) => format!("{key:?} {:?}", message.as_bytes()),
            _ => text,
        };
        match event {
            server::Event::Message(key, message) => {
                let _ = conn.send_encoded(key, message.as_bytes().to_vec().into(), false);
            }
            server::Event::End(key) => {
                let _ = conn.finish(key, &Status::OK, &Metadata::new());
            }
            server::Event::Cancelled(key, _) => conn.release(key),
            _ => {}
        }
        text
    })
}

/// Calls the server that says `wire`, three times.
pub fn call(wire: &[u8], segment: usize) -> Heard {
    let mut conn = Connection::<Client>::new(&config(), 1, Instant::ZERO);
    for _ in 0..3 {
        let head = grpc_proto::CallHead::new("/fuzz.Fuzz/Call", "fuzz");
        let key = conn.call(&head, None, Instant::ZERO).expect("a new connection takes calls");
        let _ = conn.send_encoded(key, vec![7; 10].into(), false);
        let _ = conn.end(key);
    }
    let mut out = Transmit::new();
    conn.poll_transmit(&mut out, Instant::ZERO);
    hear(&mut conn, wire, segment, |_, event| match &event {
        client::Event::Message(key, message) => format!("{key:?} {:?}", message.as_bytes()),
        event => format!("{event:?}"),
    })
}

fn hear<R: grpc_proto::Role>(
    conn: &mut Connection<R>,
    wire: &[u8],
    segment: usize,
    mut on_event: impl FnMut(&mut Connection<R>, R::Event<'_>) -> String,
) -> Heard {
    let (mut events, mut error) = (Vec::new(), None);
    let mut parts: Vec<&[u8]> = wire.chunks(segment.min(wire.len()).max(1)).collect();
    parts.push(&[]);
    'wire: for part in parts {
        let mut input = part;
        loop {
            match conn.poll_event(&mut input, Instant::ZERO) {
                Ok(Some(event)) => events.push(on_event(conn, event)),
                Ok(None) => break,
                Err(ended) => {
                    error = Some(ended);
                    break 'wire;
                }
            }
        }
        assert!(input.is_empty(), "input is left although nothing limits it");
    }
    let mut said = Vec::new();
    loop {
        let mut out = Transmit::new();
        conn.poll_transmit(&mut out, Instant::ZERO);
        if out.is_empty() {
            break;
        }
        said.extend(out.chunks().flatten());
    }
    assert!(conn.heap_bytes() < 20 << 20, "{} bytes are held", conn.heap_bytes());
    Heard { events, error, said }
}
