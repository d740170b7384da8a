//! The greeter over a blocking socket, with the protocol and the messages alone: no runtime, no `async`.
//!
//! ```text
//! cargo run --release --example blocking -- 127.0.0.1:50051
//! cargo run --release --example greeter -- call 127.0.0.1:50051
//! ```

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant as Clock};

use examples::helloworld::{HelloReply, HelloRequest};
use grpc_arena::{Arena, DecodeLimits, Schema};
use grpc_proto::server::{Event, Server};
use grpc_proto::{CallKey, Code, Config, Connection, Instant, Metadata, Status, Transmit};

/// What is known of a call while its request has not ended: the answer, once its message came.
type Calls = HashMap<CallKey, Result<String, Status>>;

fn answer(request: &[u8], arena: &mut Arena) -> Result<String, Status> {
    arena.reset();
    let request = HelloRequest::decode(request, arena, &DecodeLimits::DEFAULT);
    let request = request.map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    Ok(format!("Hello, {}!", request.name))
}

fn act(conn: &mut Connection<Server>, calls: &mut Calls, event: Event<'_>, arena: &mut Arena) {
    let not_one = || Err(Status::new(Code::Unimplemented, "exactly one message is expected"));
    match event {
        Event::Request(call, head) if head.path() == "/helloworld.Greeter/SayHello" => {
            calls.insert(call, not_one());
        }
        Event::Request(call, _) => {
            let status = Status::new(Code::Unimplemented, "there is only SayHello");
            let _ = conn.finish(call, &status, &Metadata::new());
        }
        Event::Message(call, message) => {
            let reply = answer(message.as_bytes(), arena);
            if let Some(old) = calls.get_mut(&call) {
                *old = if old.is_ok() { not_one() } else { reply };
            }
        }
        Event::End(call) => {
            let mut status = Status::OK;
            match calls.remove(&call) {
                Some(Ok(message)) => {
                    // An error means that the client has gone meanwhile.
                    let reply = HelloReply { message: &message, ..HelloReply::default() };
                    let _ = conn.send(call, &reply);
                }
                Some(Err(refusal)) => status = refusal,
                None => return,
            }
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
    let mut conn = Connection::<Server>::new(&Config::default(), 0, now());
    let (mut calls, mut out, mut arena) = (Calls::new(), Transmit::new(), Arena::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let wait = conn.poll_timeout().map(|at| (at - now()).max(Duration::from_millis(1)));
        stream.set_read_timeout(wait)?;
        let mut input = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => &buffer[..len],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => &[],
            Err(error) => return Err(error),
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
            polled.map_err(io::Error::other)?;
            if idle {
                break;
            }
        }
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:50051".to_owned());
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = stream?;
        std::thread::spawn(move || serve(stream).inspect_err(|error| eprintln!("{error}")));
    }
    Ok(())
}
