//! The greeter over a blocking socket, with only the protocol core and the messages: no runtime, no `async`.
//!
//! `cargo run --example blocking`, and `cargo run --example greeter -- call 127.0.0.1:50051` beside it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant as Clock};

use grpc_arena::{Arena, DecodeLimits, Schema};
use grpc_proto::server::{Event, Server};
use grpc_proto::{CallKey, Code, Config, Connection, Instant, Metadata, Status, Transmit};
include!(concat!(env!("OUT_DIR"), "/messages/helloworld.rs")); // with `Config::services(false)`

/// The replies of calls that have not ended: one for each message, and so one for each correct call.
type Calls = HashMap<CallKey, Vec<Result<String, Status>>>;

fn answer(request: &[u8], arena: &mut Arena) -> Result<String, Status> {
    arena.reset();
    let request = HelloRequest::decode(request, arena, &DecodeLimits::DEFAULT);
    let request = request.map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    Ok(format!("Hello, {}!", request.name))
}

fn act(conn: &mut Connection<Server>, calls: &mut Calls, event: Event<'_>, arena: &mut Arena) {
    match event {
        Event::Request(call, head) if head.path() != "/helloworld.Greeter/SayHello" => {
            let status = Status::new(Code::Unimplemented, "there is only SayHello");
            let _ = conn.finish(call, &status, &Metadata::new());
        }
        Event::Message(call, message) => {
            let answers = calls.entry(call).or_default();
            // Two messages are as wrong as more.
            if answers.len() < 2 {
                answers.push(answer(message.as_bytes(), arena));
            }
        }
        Event::End(call) => {
            let status = match calls.remove(&call).unwrap_or_default().as_slice() {
                [Ok(message)] => {
                    let reply = HelloReply { message, ..HelloReply::default() };
                    // An error means that the client has cancelled the call.
                    let _ = conn.send(call, &reply);
                    Status::OK
                }
                [Err(status)] => status.clone(),
                _ => Status::new(Code::Unimplemented, "exactly one message is expected"),
            };
            let _ = conn.finish(call, &status, &Metadata::new());
        }
        Event::Cancelled(call, _) => {
            calls.remove(&call);
            conn.release(call);
        }
        _ => {}
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let started = Clock::now();
    let now = || Instant::from_nanos(started.elapsed().as_nanos() as u64);
    stream.set_nodelay(true)?;
    // A client that never reads does not hold the thread for ever.
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let entropy = RandomState::new().build_hasher().finish();
    let mut conn = Connection::<Server>::new(&Config::default(), entropy, now());
    let (mut calls, mut out, mut arena) = (Calls::new(), Transmit::new(), Arena::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let wait = conn.poll_timeout().map(|at| (at - now()).max(Duration::from_millis(1)));
        stream.set_read_timeout(wait)?;
        let mut input = match stream.read(&mut buffer) {
            Ok(len @ 1..) => &buffer[..len],
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => &[],
            end => return end.map(drop),
        };
        loop {
            let polled = conn.poll_event(&mut input, now());
            if let Ok(Some(event)) = polled {
                act(&mut conn, &mut calls, event, &mut arena);
                continue;
            }
            conn.poll_transmit(&mut out, now());
            let idle = out.is_empty();
            out.chunks().try_for_each(|chunk| stream.write_all(chunk))?;
            out.clear();
            if let Err(error) = polled {
                leave(&mut stream)?;
                return Err(io::Error::other(error));
            }
            if idle {
                break;
            }
        }
    }
}

/// Lets the last output arrive: a socket that is closed while input still arrives is reset.
fn leave(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (until, mut buffer) = (Clock::now() + Duration::from_secs(1), [0; 4 << 10]);
    while Clock::now() < until && matches!(stream.read(&mut buffer), Ok(1..)) {}
    Ok(())
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:50051".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("serving {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || serve(stream).inspect_err(|error| eprintln!("{error}")));
    }
    Ok(())
}
