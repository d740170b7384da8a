//! Real conversations over sockets, recorded at both ends and replayed by the simulator.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use examples::helloworld::{Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter};
use grpc_monoio::{MonoioHost, TcpConnector, WorkerOptions, Workers, block_on};
use grpc_proto::http2::Side;
use grpc_proto::record::Ending;
use grpc_proto::{Code, Instant, Status, Transmit};
use grpc_service::{Arena, Channel, ChannelOptions, Cx, Endpoint, Recordings, ServerOptions};
use grpc_sim::replay::{Replay, replay};
use grpc_sim::show;

struct Polite;

impl Greeter for Polite {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        if request.name.is_empty() {
            return Err(Status::new(Code::InvalidArgument, "whom?"));
        }
        let message = cx.arena().alloc_str(&format!("Hello, {}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

/// A directory that is removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("grpcrec-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        Scratch(std::env::temp_dir().join(name))
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            self.0.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The client's recording and the server's, of a few greetings.
fn converse(max_bytes: u64) -> (Vec<u8>, Vec<u8>) {
    let scratch = Scratch::new();
    let recordings =
        Recordings::into_dir(&scratch.0).unwrap().max_bytes(max_bytes).output_bytes(true);
    let options =
        WorkerOptions::default().threads(1).server(ServerOptions::default().record(recordings));
    let workers = Workers::start("127.0.0.1:0".parse().unwrap(), options, |router| {
        register_greeter(router, Rc::new(Polite));
    });
    let workers = workers.unwrap();
    let address = workers.address().to_string();

    // The client's recording goes to the caller.
    let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
    let reported: Arc<Mutex<Vec<(Side, String)>>> = Arc::default();
    let (tape, heard) = (Arc::clone(&bytes), Arc::clone(&reported));
    let recordings = Recordings::new(move |side, peer| {
        heard.lock().unwrap().push((side, peer.to_owned()));
        let tape = Arc::clone(&tape);
        Some(Box::new(move |bytes| tape.lock().unwrap().extend_from_slice(bytes)))
    });
    let options = ChannelOptions::default().record(recordings.max_bytes(max_bytes));
    block_on(async {
        let host = MonoioHost::new();
        let connector = TcpConnector::new(Rc::clone(&host));
        let channel = Channel::connect(&address, &options, host, &connector).await.unwrap();
        let (greeter, arena) = (GreeterClient::new(channel), Arena::new());
        for name in ["world", "Wörld", "", "世界"] {
            let request = HelloRequest { name, ..HelloRequest::default() };
            let call = greeter.say_hello(&request, &arena).timeout(Duration::from_secs(5));
            match call.await {
                Ok(reply) => assert_eq!(reply.message, format!("Hello, {name}!")),
                Err(status) => assert_eq!((name, status.code()), ("", Code::InvalidArgument)),
            }
        }
    })
    .unwrap();
    workers.stop(Duration::from_secs(5));
    assert_eq!(*reported.lock().unwrap(), [(Side::Client, address)]);
    let files = scratch.files();
    assert_eq!(files.len(), 1, "{files:?}");
    let server = std::fs::read(&files[0]).unwrap();
    let client = std::mem::take(&mut *bytes.lock().unwrap());
    (client, server)
}

fn equal(recording: &[u8]) -> Replay {
    let replayed = replay(recording, true).unwrap();
    assert_eq!(replayed.difference, None);
    replayed
}

#[test]
fn a_conversation_over_a_socket_is_equal_at_both_ends_when_it_is_replayed() {
    let (client, server) = converse(1 << 20);
    let (client, server) = (equal(&client), equal(&server));
    assert_eq!((client.start.side, server.start.side), (Side::Client, Side::Server));
    assert_eq!((client.ending, server.ending), (Some(Ending::Complete), Some(Ending::Complete)));
    // What one end wrote the other one has read, but for the final frames, which were not waited for.
    assert_eq!(server.bytes.0, client.bytes.1);
    assert!(client.bytes.0 <= server.bytes.1 && client.bytes.0 > 200, "{:?}", client.bytes);
    let timeline = show::timeline(&server.trace);
    assert_eq!(timeline.matches("request").count(), 4, "{timeline}");
    assert!(timeline.contains("INVALID_ARGUMENT"), "{timeline}");
}

/// Where `what` is in a recording, for the first time.
fn find(recording: &[u8], what: &[u8]) -> usize {
    recording.windows(what.len()).position(|window| window == what).expect("it is there")
}

#[test]
fn the_first_difference_is_named_when_a_verb_says_something_else() {
    let (_, mut server) = converse(1 << 20);
    let at = find(&server, "Hello, world!".as_bytes());
    server[at] = b'J';
    let difference = replay(&server, false).unwrap().difference.expect("it differs");
    assert_eq!(difference.after, "poll_transmit");
    // The message's first byte, behind the header of its frame, its prefix, and its field's tag and length.
    let (byte, frame) = difference.text.split_once(" of the output is ").unwrap();
    assert!(byte.starts_with("byte "), "{difference}");
    assert_eq!(frame, "0x4a, and 0x48 was recorded; byte 16 of DATA on stream 1", "{difference}");
}

#[test]
fn the_first_difference_is_named_when_the_input_says_something_else() {
    let (mut client, mut server) = converse(1 << 20);
    let at = find(&server, b"\x05world");
    server[at + 1] ^= 0x20;
    let difference = replay(&server, false).unwrap().difference.expect("it differs");
    assert!(difference.after.starts_with("poll_event"), "{difference}");
    assert!(difference.text.starts_with("Message(7) of call 0"), "{difference}");
    assert!(
        difference.text.ends_with("but what it holds is not what was recorded"),
        "{difference}"
    );

    // Of output that was written down as a hash, the verb is named.
    let at = find(&client, b"\x05world");
    client[at + 1] ^= 0x20;
    let difference = replay(&client, false).unwrap().difference.expect("it differs");
    assert_eq!(difference.after, "poll_transmit");
    assert!(difference.text.contains("bytes of output"), "{difference}");
}

#[test]
fn a_recording_says_that_it_was_cut_at_its_largest_size() {
    for max_bytes in [0, 100, 300, 500, 1000] {
        let (client, server) = converse(max_bytes);
        for recording in [client, server] {
            assert!(recording.len() as u64 <= max_bytes, "{} of {max_bytes}", recording.len());
            if max_bytes >= 300 {
                assert_eq!(equal(&recording).ending, Some(Ending::Cut), "{max_bytes}");
            } else {
                assert_eq!(recording, b"", "not even the head fits");
            }
        }
    }
}

#[test]
fn connections_that_nobody_wants_recorded_are_not() {
    let asked: Arc<Mutex<u32>> = Arc::default();
    let count = Arc::clone(&asked);
    let recordings = Recordings::new(move |_, _| {
        *count.lock().unwrap() += 1;
        None
    });
    let options = ChannelOptions::default().record(recordings);
    let (channel, mut connection) = Channel::new("somewhere", &options, MonoioHost::new());
    drop(channel);
    let mut cx = Context::from_waker(Waker::noop());
    connection.drive(&mut &[][..], &mut Transmit::new(), &mut cx, Instant::ZERO).unwrap();
    assert_eq!(*asked.lock().unwrap(), 1);
}

/// A client's connection that is recorded, in its first turn.
fn begun(recordings: Recordings) -> (Channel, impl Endpoint) {
    let options = ChannelOptions::default().record(recordings);
    let (channel, mut connection) = Channel::new("somewhere", &options, MonoioHost::new());
    let mut cx = Context::from_waker(Waker::noop());
    connection.drive(&mut &[][..], &mut Transmit::new(), &mut cx, Instant::ZERO).unwrap();
    (channel, connection)
}

#[test]
fn a_recording_in_a_directory_is_written_as_it_happens() {
    let scratch = Scratch::new();
    let connection = begun(Recordings::into_dir(&scratch.0).unwrap());
    let written = || std::fs::read(&scratch.files()[0]).unwrap();
    let so_far = equal(&written());
    assert!(so_far.verbs > 0 && so_far.ending == Some(Ending::Torn), "{so_far:?}");
    drop(connection);
    assert_eq!(equal(&written()).ending, Some(Ending::Complete));
}

#[test]
fn a_recording_whose_connection_is_dropped_by_a_panic_is_torn() {
    let scratch = Scratch::new();
    let connection = begun(Recordings::into_dir(&scratch.0).unwrap());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _connection = connection;
        panic!("as intended");
    }));
    panicked.unwrap_err();
    let written = std::fs::read(&scratch.files()[0]).unwrap();
    assert_eq!(equal(&written).ending, Some(Ending::Torn));
}
