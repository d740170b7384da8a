//! The applications of both ends: their reactions to events, and the actions of a script.

use std::time::Duration;

use bytes::Bytes;
use grpc_proto::{
    Allotment, CallHead, CallKey, Client, Code, ErrorCode, Metadata, Reason, Role, SendError,
    Server, Status, client, server,
};

use super::End;

/// An action of an application on one of all calls so far.
#[derive(Debug)]
pub enum Act<'d> {
    /// Client: begins a call, with a deadline if the number is not zero, and metadata if there are bytes.
    /// Server: sends the head of the answer.
    Begin(u8, u32, &'d [u8]),
    /// Queues a message of so many bytes, compressed if the second says so.
    Send(u8, bool, u32),
    /// Client: half-closes. Server: ends the call with a status of this code and message.
    Finish(u8, u8, &'d [u8]),
    /// Cancels, or releases.
    LetGo(u8),
    /// Gives credit back for what was received.
    Grant(u8),
    /// Allots so many KiB to receive and to send; 255 is everything.
    Allot(u8, u8),
    /// Drains.
    Shutdown,
    /// Closes with a code.
    Close(u8),
    /// The transport has ended.
    CloseRead,
}

/// An end with its application.
pub trait Party: Role + Sized {
    /// Whether this is the server.
    const SERVES: bool;
    /// What happens before everything else.
    fn start(end: &mut End<Self>);
    /// The reaction to an event.
    fn hear(end: &mut End<Self>, event: Self::Event<'_>);
    /// Does something.
    fn act(end: &mut End<Self>, act: &Act<'_>);
}

impl Party for Server {
    const SERVES: bool = true;

    fn start(_: &mut End<Self>) {}

    fn hear(end: &mut End<Self>, event: server::Event<'_>) {
        match event {
            server::Event::Request(key, head) => {
                end.begin(key);
                end.note(key, false, format_args!("{head:?} {:?}", head.metadata.fields()));
                // The negotiated values can be read after any input.
                let _ = (head.path(), head.authority(), head.encoding(), head.accepts("gzip"));
                end.conn.recycle_metadata(head.metadata);
            }
            server::Event::Message(key, message) => {
                let bytes = hear_message(end, key, message);
                if end.manner.echo {
                    let _ = end.conn.send_encoded(key, bytes.into(), false);
                }
            }
            server::Event::End(key) => {
                end.note(key, false, format_args!("end"));
                if end.manner.echo {
                    let _ = end.conn.finish(key, &Status::OK, &Metadata::new());
                    end.open.remove(&key);
                }
            }
            server::Event::Cancelled(key, reason) => {
                end.note(key, true, format_args!("{reason:?}"));
                end.conn.release(key);
            }
            server::Event::Writable(key) => end.note(key, false, format_args!("writable")),
            other => panic!("{other:?}"),
        }
    }

    fn act(end: &mut End<Self>, act: &Act<'_>) {
        match *act {
            Act::Begin(which, encoding, bytes) => {
                let Some(key) = end.choose(which) else { return };
                let metadata = metadata(bytes);
                let encoding = [None, Some("gzip"), Some("identity")][encoding as usize % 3];
                let head = server::ResponseHead {
                    metadata: Some(&metadata),
                    encoding,
                    accept_encoding: encoding,
                };
                let _ = end.conn.respond(key, &head);
            }
            Act::Finish(which, code, text) => {
                let Some(key) = end.choose(which) else { return };
                let code = Code::ALL[usize::from(code) % Code::ALL.len()];
                let message = String::from_utf8_lossy(text).into_owned();
                let status = Status::new(code, message).with_details(text.to_vec());
                let finished = end.conn.finish(key, &status, &metadata(text));
                assert!(finished.is_err() || end.open.contains_key(&key), "{key:?} was over");
                end.open.remove(&key);
            }
            Act::LetGo(which) => {
                let Some(key) = end.choose(which) else { return };
                end.conn.release(key);
                end.open.remove(&key);
            }
            _ => act_as_either(end, act),
        }
    }
}

impl Party for Client {
    const SERVES: bool = false;

    /// Three calls, as the server has one to answer from the start.
    fn start(end: &mut End<Self>) {
        for deadline in [0, 0, 100] {
            Self::act(end, &Act::Begin(1, deadline, &[]));
            Self::act(end, &Act::Send(0, false, 10));
        }
        end.pull_all();
    }

    fn hear(end: &mut End<Self>, event: client::Event<'_>) {
        match event {
            client::Event::Headers(key, metadata) => {
                end.note(key, false, format_args!("{metadata:?} {:?}", metadata.encoding()));
                end.conn.recycle_metadata(metadata);
            }
            client::Event::Message(key, message) => {
                hear_message(end, key, message);
            }
            client::Event::Status(key, outcome) => {
                let stream = end.open.get(&key).map_or(0, |open| open.stream);
                let served = stream != 0 && stream <= end.served;
                let unseen = matches!(outcome.reason, Some(Reason::GoAway(_)));
                assert!(!(served && unseen), "{stream} is served up to {}", end.served);
                end.note(key, true, format_args!("{outcome:?}"));
            }
            client::Event::Writable(key) => end.note(key, false, format_args!("writable")),
            client::Event::GoAway { last_stream, code } => {
                end.served = last_stream;
                end.reported.push_str(&format!("goes away: {last_stream} {code}\n"));
            }
            other => panic!("{other:?}"),
        }
    }

    fn act(end: &mut End<Self>, act: &Act<'_>) {
        match *act {
            Act::Begin(flags, deadline, bytes) => {
                let metadata = metadata(bytes);
                // More paths than templates are kept for.
                let path = format!("/fuzz.Fuzz/Call{}", flags >> 1 & 15);
                let mut head = CallHead::new(&path, "fuzz");
                head.metadata = Some(&metadata);
                if flags & 1 != 0 {
                    head.encoding = Some("gzip");
                    head.accept_encoding = Some("gzip,identity");
                }
                let after = Duration::from_millis(deadline.into());
                let deadline = (deadline != 0).then(|| end.now + after);
                if let Ok(key) = end.conn.call(&head, deadline, end.now) {
                    end.begin(key);
                }
            }
            Act::Finish(which, ..) => {
                let Some(key) = end.choose(which) else { return };
                let _ = end.conn.end(key);
            }
            Act::LetGo(which) => {
                let Some(key) = end.choose(which) else { return };
                end.conn.cancel(key);
                end.open.remove(&key);
            }
            _ => act_as_either(end, act),
        }
    }
}

/// What both ends can do.
fn act_as_either<R: Party>(end: &mut End<R>, act: &Act<'_>) {
    match *act {
        Act::Send(which, compressed, len) => {
            let Some(key) = end.choose(which) else { return };
            let message = vec![which; len.min(100_000) as usize];
            let message_len = message.len();
            let mut streams = end.conn.session().streams();
            let queued = streams.find(|stream| stream.index == key.index());
            let queued = queued.map_or(0, |stream| stream.queued);
            drop(streams);
            let sent = match (compressed, len % 2) {
                (true, 0) => end.conn.send_compressed(key, &message),
                _ => end.conn.send_encoded(key, Bytes::from(message), compressed),
            };
            if sent == Err(SendError::Full) {
                let wanted = queued + 5 + message_len;
                let mark = end.manner.limits.send_mark as usize;
                assert!(wanted > mark, "{key:?} has {queued} of {mark} and refuses {message_len}");
            }
        }
        Act::Grant(which) => {
            let Some(key) = end.choose(which) else { return };
            if end.manner.limits.manual_credit
                && let Some(open) = end.open.get_mut(&key)
            {
                let owed = std::mem::take(&mut open.owed);
                end.conn.grant(key, owed);
            }
        }
        Act::Allot(assembly, send) => {
            let bytes = |kib: u8| if kib == 255 { u32::MAX } else { u32::from(kib) << 10 };
            end.conn.allot(Allotment { assembly: bytes(assembly), send: bytes(send) });
        }
        Act::Shutdown => end.conn.shutdown(end.now),
        Act::Close(code) => end.conn.close(ErrorCode(code.into()), end.now),
        Act::CloseRead => end.conn.close_read(end.now),
        Act::Begin(..) | Act::Finish(..) | Act::LetGo(..) => unreachable!("each end's own"),
    }
}

fn hear_message<R: Party>(
    end: &mut End<R>,
    key: CallKey,
    message: grpc_proto::Message<'_>,
) -> Vec<u8> {
    let bytes = message.as_bytes().to_vec();
    end.note(key, false, format_args!("{} {}", message.compressed, bytes.escape_ascii()));
    assert!(bytes.len() <= end.manner.limits.max_receive_message as usize, "longer than may be");
    if let Some(open) = end.open.get_mut(&key) {
        open.owed += message.wire_len();
    }
    if let grpc_proto::Payload::Assembled(buf) = message.payload {
        end.conn.recycle(buf);
    }
    bytes
}

/// What bytes make of metadata: a text and the bytes themselves.
fn metadata(bytes: &[u8]) -> Metadata {
    let mut metadata = Metadata::new();
    if !bytes.is_empty() {
        metadata.append_bin("fuzz-bin", bytes).expect("any bytes are a value");
        let (name, value) = bytes.split_at(bytes.len() / 3);
        if let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) {
            // Names and values that gRPC does not allow are refused.
            let _ = metadata.append(name, value);
        }
    }
    metadata
}
