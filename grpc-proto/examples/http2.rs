//! Plain HTTP/2 over blocking sockets, with [`grpc_proto::http2`] alone: no gRPC, no runtime.
//!
//! ```text
//! cargo run -p grpc-proto --example http2 -- serve 127.0.0.1:8080
//! cargo run -p grpc-proto --example http2 -- get http://127.0.0.1:8080/any/path
//! ```
//!
//! The server answers every request with 200 and a few kilobytes; `curl --http2-prior-knowledge`, `nghttp` and
//! `h2load` are served. The client fetches from any server that speaks HTTP/2 with prior knowledge, as `nghttpd
//! --no-tls` does.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant as Clock};
use std::{env, io, process, thread};

use grpc_proto::hpack::{FieldList, Token};
use grpc_proto::http2::fields::Part;
use grpc_proto::http2::{Event, Session, Side, StreamKey};
use grpc_proto::{Config, ConnectionError, Instant, Transmit};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let outcome = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", addr] => serve(addr),
        ["get", url] => get(url),
        _ => Err("usage: http2 serve ADDR | http2 get http://HOST:PORT/PATH".into()),
    };
    if let Err(error) = outcome {
        eprintln!("{error}");
        process::exit(1);
    }
}

/// The most time that a closed connection waits for the peer to close its side.
const LINGER: Duration = Duration::from_secs(1);

/// A session and the socket that it speaks through.
struct Link {
    session: Session,
    socket: TcpStream,
    started: Clock,
    /// What was read and not understood yet.
    input: Vec<u8>,
    out: Transmit,
}

impl Link {
    fn new(side: Side, socket: TcpStream) -> Outcome<Self> {
        socket.set_nodelay(true)?;
        let entropy = u64::from(socket.local_addr()?.port());
        let session = Session::new(side, &Config::default(), entropy, Instant::ZERO);
        let (input, out) = (Vec::new(), Transmit::new());
        Ok(Link { session, socket, started: Clock::now(), input, out })
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    /// Runs the connection to its end, and closes the socket so that the peer can read all that was written.
    fn run(
        &mut self,
        on_event: impl FnMut(&mut Session, Event, &[u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        let outcome = self.serve(on_event);
        // What ended the connection is said to the peer in a GOAWAY, which is the last output.
        let written = self.write();
        let lingered = self.linger();
        outcome.and(written).and(lingered)
    }

    /// Hands every event to `on_event`, with the bytes that an event of DATA takes, until the connection is drained.
    fn serve(
        &mut self,
        mut on_event: impl FnMut(&mut Session, Event, &[u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        loop {
            let now = self.now();
            let mut rest = &self.input[..];
            while let Some(event) = self.session.poll(&mut rest, now)? {
                let data = match event {
                    Event::Data(_) => self.session.take_data(&mut rest, usize::MAX),
                    _ => &[],
                };
                on_event(&mut self.session, event, data)?;
            }
            let understood = self.input.len() - rest.len();
            self.input.drain(..understood);
            self.write()?;
            if self.session.is_drained() {
                return Ok(());
            }
            // Input is left only where output had to be pulled first.
            if self.input.is_empty() && !self.read()? {
                self.session.close_read();
            }
        }
    }

    /// Half-closes the socket, and reads for a second at most what still comes: a socket that is closed with input unread
    /// answers with a TCP reset, which may destroy the last output before the peer has read it. The last frames of the
    /// peer are held to the rules like those before.
    fn linger(&mut self) -> Outcome<()> {
        let _ = self.socket.shutdown(Shutdown::Write);
        let until = Clock::now() + LINGER;
        let mut buffer = [0; 16 << 10];
        loop {
            let left = until.saturating_duration_since(Clock::now());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return Ok(());
            }
            match self.socket.read(&mut buffer) {
                Ok(len @ 1..) if self.session.error().is_none() => {
                    self.input.extend_from_slice(&buffer[..len]);
                    let now = self.now();
                    let mut rest = &self.input[..];
                    while self.session.poll(&mut rest, now)?.is_some() {}
                    let understood = self.input.len() - rest.len();
                    self.input.drain(..understood);
                    // Nothing may be written any more. To pull makes room for more input.
                    self.session.poll_transmit(&mut self.out, now);
                    self.out.clear();
                }
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return Ok(()),
            }
        }
    }

    fn write(&mut self) -> Outcome<()> {
        loop {
            let now = self.now();
            self.session.poll_transmit(&mut self.out, now);
            if self.out.is_empty() {
                return Ok(());
            }
            for chunk in self.out.chunks() {
                self.socket.write_all(chunk)?;
            }
            self.out.clear();
        }
    }

    /// Reads once, or until the session's next timer; `false` at the end.
    fn read(&mut self) -> Outcome<bool> {
        let wait =
            self.session.poll_timeout().map(|at| (at - self.now()).max(Duration::from_millis(1)));
        self.socket.set_read_timeout(wait)?;
        let mut buffer = [0; 16 << 10];
        match self.socket.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(len) => {
                self.input.extend_from_slice(&buffer[..len]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(_) => Ok(false),
        }
    }
}

fn serve(addr: &str) -> Outcome<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    for socket in listener.incoming() {
        let socket = socket?;
        thread::spawn(move || {
            let outcome =
                Link::new(Side::Server, socket).and_then(|mut link| link.run(serve_event));
            match outcome {
                Err(error) if !is_plain_end(&*error) => eprintln!("connection: {error}"),
                _ => {}
            }
        });
    }
    Ok(())
}

/// Whether the peer has just closed the connection, as peers do.
fn is_plain_end(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ConnectionError::Closed(_)))
}

/// Answers a request once it is complete.
fn serve_event(session: &mut Session, event: Event, data: &[u8]) -> Outcome<()> {
    match event {
        Event::Headers { stream, part: Part::Request, fields, end_stream, .. } => {
            let is_head = fields.find(Token::Method).is_some_and(|method| method.value == b"HEAD");
            session.recycle_fields(fields);
            if end_stream {
                answer(session, stream, is_head)?;
            }
        }
        // Trailers, or the last of a body: a request of HEAD has neither.
        Event::Headers { stream, .. } | Event::End(stream) => answer(session, stream, false)?,
        Event::Data(stream) => session.consume(stream, data.len() as u32),
        Event::Reset(stream, _) => session.release(stream),
        _ => {}
    }
    Ok(())
}

const LINES: usize = 400;

fn answer(session: &mut Session, stream: StreamKey, is_head: bool) -> Outcome<()> {
    let body = "plain HTTP/2\n".repeat(LINES);
    let mut head = session.take_fields();
    head.push(b":status", b"200");
    head.push(b"content-type", b"text/plain");
    head.push(b"content-length", body.len().to_string().as_bytes());
    session.respond(stream, head)?;
    // What does not fit the peer's windows waits in the session until they open.
    if !is_head {
        session.write(stream, body.as_bytes())?;
    }
    session.finish(stream, None)?;
    session.release(stream);
    Ok(())
}

fn get(url: &str) -> Outcome<()> {
    let rest = url.strip_prefix("http://").ok_or("only http:// is spoken here")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut link = Link::new(Side::Client, TcpStream::connect(authority)?)?;
    let head: FieldList = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", authority),
        (":path", if path.is_empty() { "/" } else { path }),
        ("user-agent", "grpc-proto-http2"),
    ]
    .into_iter()
    .collect();
    let request = link.session.open(head, Instant::ZERO)?;
    link.session.finish(request, None)?;
    // One request is all: the connection drains behind it. What the server sends until it closes is still checked.
    link.session.shutdown(Instant::ZERO);
    let mut stdout = io::stdout().lock();
    link.run(|session, event, data| {
        match event {
            Event::Headers { part: Part::Response, status, fields, .. } => {
                eprintln!("{status} {fields:?}");
            }
            Event::Data(stream) => {
                stdout.write_all(data)?;
                session.consume(stream, data.len() as u32);
            }
            Event::End(stream) => session.release(stream),
            Event::Reset(_, reason) => return Err(reason.into()),
            _ => {}
        }
        Ok(())
    })
}
