//! Recorded conversations, cut in every way: the events and the output are always the same.
//!
//! Each recording is fed whole, byte by byte, with every cut in two, and with 256 random segmentations, each with messages
//! taken one by one and several at once. Output is pulled at the end, and where the connection asks for it.

use std::path::PathBuf;

use bytes::Bytes;
use grpc_proto::{
    CallHead, CallKey, Client, Code, Config, Connection, ConnectionError, Instant, Message,
    Metadata, Role, Server, Status, Transmit, client, server,
};

/// What a test does with a connection of either role.
trait Case {
    type Role: Role;
    /// A connection as it stands before the recording.
    fn connect(recording: &[u8]) -> Connection<Self::Role>;
    /// What the application does, deterministically.
    fn react(conn: &mut Connection<Self::Role>, event: &<Self::Role as Role>::Event<'_>);
    fn is_same(a: &<Self::Role as Role>::Event<'_>, b: &<Self::Role as Role>::Event<'_>) -> bool;
    /// The call whose message an event is.
    fn call_of(event: &<Self::Role as Role>::Event<'_>) -> Option<CallKey>;
    /// The event of a message.
    fn event<'i>(call: CallKey, message: Message<'i>) -> <Self::Role as Role>::Event<'i>;
}

/// How messages are taken out of a connection.
#[derive(Clone, Copy, Debug)]
enum Taking {
    OneByOne,
    SeveralAtOnce,
}

struct AtServer;

impl Case for AtServer {
    type Role = Server;

    fn connect(_: &[u8]) -> Connection<Server> {
        Connection::new(&Config::default(), 1, Instant::ZERO)
    }

    fn react(conn: &mut Connection<Server>, event: &server::Event<'_>) {
        match event {
            server::Event::Request(call, head) if head.path().contains("Missing") => {
                let _ = conn.finish(*call, &Status::of(Code::Unimplemented), &Metadata::new());
            }
            server::Event::Request(call, head) => {
                let _ = conn.headers(*call, &head.metadata);
            }
            server::Event::Message(call, message) => {
                let reply = Bytes::copy_from_slice(message.as_bytes());
                let _ = conn.send_encoded(*call, reply, false);
            }
            server::Event::End(call) => {
                let _ = conn.finish(*call, &Status::OK, &Metadata::new());
            }
            server::Event::Cancelled(call, _) => conn.release(*call),
            _ => {}
        }
    }

    fn is_same(a: &server::Event<'_>, b: &server::Event<'_>) -> bool {
        a == b
    }

    fn call_of(event: &server::Event<'_>) -> Option<CallKey> {
        if let server::Event::Message(call, _) = event { Some(*call) } else { None }
    }

    fn event<'i>(call: CallKey, message: Message<'i>) -> server::Event<'i> {
        server::Event::Message(call, message)
    }
}

struct AtClient;

impl Case for AtClient {
    type Role = Client;

    fn connect(recording: &[u8]) -> Connection<Client> {
        let mut conn = Connection::new(&Config::default(), 1, Instant::ZERO);
        let head = CallHead::new("/test.Echo/Unary", "localhost");
        for _ in 0..calls_in(recording) {
            conn.call(&head, None, Instant::ZERO).expect("a call");
        }
        pull(&mut conn, &mut Vec::new());
        conn
    }

    fn react(_: &mut Connection<Client>, _: &client::Event<'_>) {}

    fn is_same(a: &client::Event<'_>, b: &client::Event<'_>) -> bool {
        a == b
    }

    fn call_of(event: &client::Event<'_>) -> Option<CallKey> {
        if let client::Event::Message(call, _) = event { Some(*call) } else { None }
    }

    fn event<'i>(call: CallKey, message: Message<'i>) -> client::Event<'i> {
        client::Event::Message(call, message)
    }
}

/// What came of a recording.
struct Outcome<'i, R: Role> {
    events: Vec<R::Event<'i>>,
    error: Option<ConnectionError>,
    output: Vec<u8>,
}

/// Feeds `bytes` in pieces that end at `cuts`; an event goes to `on_event` with its number.
fn feed<'i, C: Case>(
    bytes: &'i [u8],
    cuts: impl Iterator<Item = usize>,
    taking: Taking,
    mut on_event: impl FnMut(usize, <C::Role as Role>::Event<'i>),
) -> (usize, Option<ConnectionError>, Vec<u8>) {
    let mut conn = C::connect(bytes);
    let mut output = Vec::new();
    let mut count = 0;
    let mut start = 0;
    for end in cuts.chain([bytes.len()]) {
        let mut input = &bytes[start..end];
        start = end;
        loop {
            match conn.poll_event(&mut input, Instant::ZERO) {
                Ok(Some(event)) => {
                    let more = match (taking, C::call_of(&event)) {
                        (Taking::SeveralAtOnce, Some(call)) => {
                            let more = conn.poll_messages(call, &mut input, Instant::ZERO);
                            more.map(|message| C::event(call, message)).collect()
                        }
                        _ => Vec::new(),
                    };
                    for event in std::iter::once(event).chain(more) {
                        C::react(&mut conn, &event);
                        on_event(count, event);
                        count += 1;
                    }
                }
                Ok(None) if input.is_empty() => break,
                Ok(None) => pull(&mut conn, &mut output),
                Err(error) => {
                    pull(&mut conn, &mut output);
                    return (count, Some(error), output);
                }
            }
        }
    }
    pull(&mut conn, &mut output);
    (count, None, output)
}

fn pull<R: Role>(conn: &mut Connection<R>, output: &mut Vec<u8>) {
    let mut out = Transmit::new();
    loop {
        conn.poll_transmit(&mut out, Instant::ZERO);
        if out.is_empty() {
            return;
        }
        out.chunks().for_each(|chunk| output.extend_from_slice(chunk));
        out.clear();
    }
}

/// How many messages of a recording come with the one before them.
fn taken_with_others<C: Case>(bytes: &[u8]) -> usize {
    let (mut conn, mut input, mut count) = (C::connect(bytes), bytes, 0);
    while let Ok(Some(event)) = conn.poll_event(&mut input, Instant::ZERO) {
        if let Some(call) = C::call_of(&event) {
            count += conn.poll_messages(call, &mut input, Instant::ZERO).len();
        }
        C::react(&mut conn, &event);
    }
    count
}

/// Holds every segmentation of `bytes` against the whole; returns how many events there are.
fn check<C: Case>(name: &str, bytes: &[u8]) -> usize
where
    for<'e> <C::Role as Role>::Event<'e>: std::fmt::Debug,
{
    let mut events = Vec::new();
    let one_by_one = Taking::OneByOne;
    let (_, error, output) =
        feed::<C>(bytes, std::iter::empty(), one_by_one, |_, event| events.push(event));
    let whole = Outcome::<C::Role> { events, error, output };
    let hold = |what: &str, taking: Taking, cuts: &mut dyn Iterator<Item = usize>| {
        let what = format!("{what}, {taking:?}");
        let (count, error, output) = feed::<C>(bytes, cuts, taking, |n, event| {
            let expected = whole.events.get(n);
            assert!(
                expected.is_some_and(|expected| C::is_same(expected, &event)),
                "{name}, {what}: event {n} is {event:?} instead of {expected:?}"
            );
        });
        assert_eq!(count, whole.events.len(), "{name}, {what}");
        assert_eq!(error, whole.error, "{name}, {what}");
        assert!(output == whole.output, "{name}, {what}: the output differs");
    };
    // Where no two messages share a frame, both are the same.
    let takings: &[Taking] = match taken_with_others::<C>(bytes) {
        0 => &[Taking::OneByOne],
        _ => &[Taking::OneByOne, Taking::SeveralAtOnce],
    };
    let same = |what: &str, cuts: &mut dyn Iterator<Item = usize>| {
        let cuts: Vec<usize> = cuts.collect();
        for &taking in takings {
            hold(what, taking, &mut cuts.iter().copied());
        }
    };
    same("whole", &mut std::iter::empty());
    same("byte by byte", &mut (1..bytes.len()));
    for cut in 1..bytes.len() {
        same("cut in two", &mut std::iter::once(cut));
    }
    for seed in 0..256 {
        let mut state = seed;
        let mut at = 0;
        let cuts = std::iter::from_fn(|| {
            state = u64::wrapping_add(state, 0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
            at += 1 + (mixed % (1 + (seed * 13) % 700)) as usize;
            (at < bytes.len()).then_some(at)
        });
        same(&format!("seed {seed}"), &mut { cuts });
    }
    whole.events.len()
}

/// How many calls a recorded server answers.
fn calls_in(recording: &[u8]) -> u32 {
    let mut rest = recording;
    let mut highest = 1;
    while let Some(header) = rest.first_chunk::<9>() {
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        if header[3] == 1 && stream % 2 == 1 {
            highest = highest.max(stream);
        }
        rest = rest.get(9 + len..).unwrap_or(&[]);
    }
    highest.div_ceil(2)
}

/// The recordings whose name ends so, in order.
fn corpus(suffix: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpora");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of recordings")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, std::fs::read(path).expect("a recording"))
        })
        .collect();
    found.sort();
    assert!(found.len() >= 9, "{} recordings of {suffix}", found.len());
    found
}

#[test]
fn recordings_of_foreign_clients_mean_the_same_however_they_are_cut() {
    let recordings = corpus(".client.bin");
    let events: usize = recordings.iter().map(|(name, bytes)| check::<AtServer>(name, bytes)).sum();
    assert!(events > 150, "{events} events");
}

#[test]
fn recordings_of_foreign_servers_mean_the_same_however_they_are_cut() {
    let recordings = corpus(".server.bin");
    let events: usize = recordings.iter().map(|(name, bytes)| check::<AtClient>(name, bytes)).sum();
    assert!(events > 100, "{events} events");
}

/// A conversation of our own two ends: all four kinds of calls, errors, a cancellation, metadata. Returns what
/// the client sent and what the server did.
fn own_conversation() -> (Vec<u8>, Vec<u8>) {
    let mut client: Connection<Client> = Connection::new(&Config::default(), 1, Instant::ZERO);
    let mut server: Connection<Server> = Connection::new(&Config::default(), 2, Instant::ZERO);
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut metadata = Metadata::new();
    metadata.append("x-trace", "0123456789abcdef").expect("a name");
    metadata.append_bin("x-raw-bin", &[0, 255, 1]).expect("a name");
    let begin = |client: &mut Connection<Client>, path: &str| -> CallKey {
        let mut head = CallHead::new(path, "localhost");
        head.metadata = Some(&metadata);
        client.call(&head, None, Instant::ZERO).expect("a call")
    };
    let unary = begin(&mut client, "/test.Echo/Unary");
    let streams = begin(&mut client, "/test.Echo/Bidi");
    let missing = begin(&mut client, "/test.Echo/Missing");
    let cancelled = begin(&mut client, "/test.Echo/Cancelled");
    let empty = begin(&mut client, "/test.Echo/Empty");
    let send = |client: &mut Connection<Client>, call, len: usize| {
        let body: Vec<u8> = (0..len).map(|n| n as u8).collect();
        client.send_encoded(call, body.into(), false).expect("room");
    };
    send(&mut client, unary, 100);
    client.end(unary).expect("an open call");
    client.end(empty).expect("an open call");
    for len in [0, 1, 300, 2000] {
        send(&mut client, streams, len);
    }
    send(&mut client, cancelled, 10);
    send(&mut client, missing, 10);
    for round in 0..6 {
        exchange(&mut client, &mut server, &mut to_server, &mut to_client);
        match round {
            1 => client.cancel(cancelled),
            2 => send(&mut client, streams, 20),
            3 => client.end(streams).expect("an open call"),
            4 => server.shutdown(Instant::ZERO),
            _ => {}
        }
    }
    (to_server, to_client)
}

/// Moves what either side has to say.
fn exchange(
    client: &mut Connection<Client>,
    server: &mut Connection<Server>,
    to_server: &mut Vec<u8>,
    to_client: &mut Vec<u8>,
) {
    for _ in 0..4 {
        let before = to_server.len();
        pull(client, to_server);
        let mut input = &to_server[before..];
        while let Some(event) = server.poll_event(&mut input, Instant::ZERO).expect("open") {
            AtServer::react(server, &event);
        }
        let before = to_client.len();
        pull(server, to_client);
        let mut input = &to_client[before..];
        while client.poll_event(&mut input, Instant::ZERO).expect("open").is_some() {}
    }
}

#[test]
fn what_our_own_ends_say_means_the_same_however_it_is_cut() {
    let (to_server, to_client) = own_conversation();
    assert!(check::<AtServer>("our client", &to_server) > 15);
    assert!(check::<AtClient>("our server", &to_client) > 10);
}

/// DATA of two streams: messages of all lengths, compressed where they must not be, with flags that are none, too long, and
/// with the end of the stream behind them.
fn crowded_frames() -> Vec<Vec<u8>> {
    let message = |flags: u8, len: u32| {
        let mut bytes = vec![flags];
        bytes.extend(len.to_be_bytes());
        bytes.extend((0..len.min(300)).map(|n| n as u8));
        bytes
    };
    let good: Vec<u8> =
        [0, 1, 2, 16, 0, 0, 300, 7].iter().flat_map(|&len| message(0, len)).collect();
    let split = message(0, 40);
    let frame = |flags: u8, stream: u32, payload: &[u8]| frame(0, flags, stream, payload);
    vec![
        frame(0, 1, &good),
        frame(1, 1, &good),
        [frame(0, 1, &[&good[..], &split[..3]].concat()), frame(0, 1, &split[3..])].concat(),
        [frame(0, 1, &[&good[..], &split[..9]].concat()), frame(1, 1, &split[9..])].concat(),
        [frame(0, 1, &good), frame(0, 3, &good), frame(1, 1, &good), frame(1, 3, &good)].concat(),
        frame(8, 1, &[&[4][..], &good, &[0; 4]].concat()),
        frame(0, 1, &[&good[..], &message(1, 2), &good].concat()),
        frame(0, 1, &[&good[..], &message(2, 2), &good].concat()),
        frame(0, 1, &[&good[..], &message(0, 5 << 20), &good].concat()),
        [frame(1, 1, &[&good[..], &split[..9]].concat()), frame(1, 3, &good)].concat(),
    ]
}

#[test]
fn messages_that_share_a_frame_mean_the_same_however_they_are_cut() {
    let (to_server, _) = own_conversation();
    // The preface, SETTINGS and the heads of the first two calls; their messages are our own.
    let mut heads = to_server[..24].to_vec();
    let mut rest = &to_server[24..];
    let mut opened = 0;
    while opened < 2 {
        let len = 9 + u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        if rest[3] != 0 {
            heads.extend(&rest[..len]);
            opened += u32::from(rest[3] == 1);
        }
        rest = &rest[len..];
    }
    let mut several = 0;
    for (n, crowded) in crowded_frames().into_iter().enumerate() {
        let bytes = [&heads[..], &crowded].concat();
        assert!(check::<AtServer>(&format!("crowded {n}"), &bytes) > 8);
        several += taken_with_others::<AtServer>(&bytes);
    }
    // Behind the first message of each of fourteen frames that begin with whole ones.
    assert_eq!(several, 14 * 7);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Frames that break a rule of their stream or of the connection, on streams that are open or over.
fn invalid_frames() -> Vec<Vec<u8>> {
    vec![
        frame(8, 0, 3, &[0; 4]),
        frame(8, 0, 0, &[0; 4]),
        frame(6, 0, 0, &[0; 7]),
        frame(0, 8, 3, &[9, 1, 2]),
        frame(0, 0, 1, b"late"),
        frame(1, 4, 3, &[0x80]),
        frame(1, 4, 2, &[0x82]),
        frame(4, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        frame(9, 4, 1, b""),
        frame(5, 4, 1, &[0, 0, 0, 2]),
        frame(2, 0, 3, &[0; 4]),
        frame(0, 0, 3, &[7, 0, 0, 0, 0]),
        frame(7, 0, 0, &[0; 8]),
        frame(3, 0, 99, &[0; 4]),
        frame(0xee, 0xff, 77, b"unknown"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ]
}

#[test]
fn invalid_frames_lead_to_the_same_end_however_they_are_cut() {
    let (to_server, to_client) = own_conversation();
    // Only so much of the conversations that the streams are still open.
    let (to_server, to_client) = (&to_server[..300], &to_client[..150]);
    for (n, invalid) in invalid_frames().into_iter().enumerate() {
        let after = &invalid_frames()[2];
        for valid in [whole_frames(to_server, 24), &to_server[..24]] {
            check::<AtServer>(&format!("invalid {n}"), &[valid, &invalid, after].concat());
        }
        check::<AtClient>(
            &format!("invalid {n}"),
            &[whole_frames(to_client, 0), &invalid, after].concat(),
        );
    }
}

/// As many whole frames as there are, after a preface.
fn whole_frames(bytes: &[u8], preface: usize) -> &[u8] {
    let mut end = preface;
    while let Some(header) = bytes.get(end..end + 9) {
        let next = end + 9 + u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    &bytes[..end]
}
