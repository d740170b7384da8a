//! A client of the core and plain sockets alone, without a runtime: the same load for every server, sent at exact times.
//!
//! The program `probe ADDRESS` reads commands from its standard input, a line each, and answers each with `ok` and
//! figures; [`Probe`] speaks to it.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Lines, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use grpc_proto::client::Event;
use grpc_proto::{
    CallHead, CallKey, Client, Code, Config, Connection, Instant, Limits, Payload, Transmit,
};

use crate::exchange::{self, Varying};
use crate::server::LOAD_CORE;
use crate::work;

/// `:path` of the streams that stay open.
const STREAM_PATH: &str = "/streams.Streams/PingPong";
/// Bytes in the field of each message.
const BODY: usize = 100;
/// The type of a SETTINGS frame (RFC 9113 §6.5).
const SETTINGS: u8 = 4;
/// Connections that are opened side by side: fewer than any server lets wait.
const AT_ONCE: usize = 64;
/// Calls in flight on the busy connection.
const IN_FLIGHT: usize = 16;

/// One connection.
struct Line {
    stream: TcpStream,
    connection: Connection<Client>,
    out: Transmit,
    origin: Clock,
}

/// An event of a connection.
enum Reported {
    /// A message has come.
    Message,
    /// A call has ended.
    Ended(CallKey),
}

impl Line {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let config = Config::new(limits()).map_err(io::Error::other)?;
        let connection = Connection::new(&config, 1, Instant::ZERO);
        Ok(Self { stream, connection, out: Transmit::new(), origin: Clock::now() })
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.origin.elapsed().as_nanos() as u64)
    }

    /// Opens a call with one message; `end` half-closes it.
    fn call(&mut self, path: &str, message: &Bytes, end: bool) -> io::Result<CallKey> {
        let (head, now) = (CallHead::new(path, exchange::AUTHORITY), self.now());
        let call = self.connection.call(&head, None, now).map_err(io::Error::other)?;
        let sent = self.connection.send_encoded(call, message.clone(), false);
        sent.map_err(io::Error::other)?;
        if end {
            self.connection.end(call).map_err(io::Error::other)?;
        }
        Ok(call)
    }

    /// Writes all output.
    fn flush(&mut self) -> io::Result<()> {
        loop {
            let now = self.now();
            self.connection.poll_transmit(&mut self.out, now);
            if self.out.is_empty() {
                return Ok(());
            }
            for mut rest in self.out.chunks() {
                while !rest.is_empty() {
                    match self.stream.write(rest) {
                        Ok(written) => rest = &rest[written..],
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            self.out.clear();
        }
    }

    /// Reads once; false if nothing was there.
    fn read(&mut self, buffer: &mut [u8], mut on: impl FnMut(Reported)) -> io::Result<bool> {
        let mut input = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => &buffer[..len],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        loop {
            let now = self.now();
            match self.connection.poll_event(&mut input, now).map_err(io::Error::other)? {
                Some(Event::Headers(_, metadata)) => self.connection.recycle_metadata(metadata),
                Some(Event::Message(_, message)) => {
                    if let Payload::Assembled(buffer) = message.payload {
                        self.connection.recycle(buffer);
                    }
                    on(Reported::Message);
                }
                Some(Event::Status(call, outcome)) => {
                    if outcome.status.code() != Code::Ok {
                        return Err(io::Error::other(format!("{:?}", outcome.status)));
                    }
                    self.connection.recycle_metadata(outcome.trailers);
                    on(Reported::Ended(call));
                }
                Some(_) => {}
                None if input.is_empty() => return Ok(true),
                None => self.flush()?,
            }
        }
    }

    /// Reads until `count` calls have ended, or messages come if `messages`.
    fn wait(&mut self, buffer: &mut [u8], mut count: usize, messages: bool) -> io::Result<()> {
        while count > 0 {
            let counted = |reported: Reported| {
                if matches!(reported, Reported::Message) == messages {
                    count -= 1;
                }
            };
            if !self.read(buffer, counted)? {
                return Err(ErrorKind::TimedOut.into());
            }
            self.flush()?;
        }
        Ok(())
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.stream_window = work::STREAM_WINDOW;
    limits.connection_window = work::CONNECTION_WINDOW;
    limits.max_queued_calls = 1 << 20;
    limits
}

/// The program: holds connections, and executes commands.
struct Holder {
    address: SocketAddr,
    /// The busy one is the first.
    lines: Vec<Line>,
    message: Bytes,
    buffer: Vec<u8>,
}

/// Reads commands until there are no more.
///
/// # Errors
/// A connection that fails, or a command that is none.
pub fn obey(address: SocketAddr) -> io::Result<()> {
    let message = exchange::framed_payload(BODY).split_off(5);
    let (message, buffer) = (exchange::for_good(message), vec![0; 64 << 10]);
    let mut holder = Holder { address, lines: Vec::new(), message, buffer };
    for command in io::stdin().lines() {
        let command = command?;
        let words: Vec<&str> = command.split(' ').collect();
        let number = |index: usize| {
            let number = words.get(index).and_then(|word| word.parse::<usize>().ok());
            number.ok_or_else(|| io::Error::other("a number is missing"))
        };
        let figures = match words[0] {
            "connect" => holder.connect(number(1)?)?,
            "greet" => holder.greet(number(1)?)?,
            "use" => holder.use_all()?,
            "busy" => holder.busy(Duration::from_millis(number(1)? as u64))?,
            "open" => holder.open(number(1)?)?,
            "rate" => holder.rate(number(1)? as f64, Duration::from_millis(number(2)? as u64))?,
            _ => return Err(io::Error::other("no such command")),
        };
        let figures: Vec<String> = figures.iter().map(f64::to_string).collect();
        println!("ok {}", figures.join(" "));
    }
    Ok(())
}

impl Holder {
    /// Opens so many more connections, and waits for the server's SETTINGS on each; returns the seconds that this took.
    fn connect(&mut self, count: usize) -> io::Result<Vec<f64>> {
        let (started, first) = (Clock::now(), self.lines.len());
        while self.lines.len() < first + count {
            let from = self.lines.len();
            for _ in 0..AT_ONCE.min(first + count - from) {
                let mut line = Line::connect(self.address)?;
                line.flush()?;
                self.lines.push(line);
            }
            for line in &mut self.lines[from..] {
                // The acknowledgement of our SETTINGS may come in a second piece, which the first call reads.
                line.read(&mut self.buffer, drop)?;
                line.flush()?;
            }
        }
        Ok(vec![started.elapsed().as_secs_f64()])
    }

    /// Opens so many connections one after the other and closes each; gives the median of the microseconds from before the
    /// connect to the first frame of the server, which is SETTINGS.
    fn greet(&mut self, count: usize) -> io::Result<Vec<f64>> {
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            let started = Clock::now();
            let mut line = Line::connect(self.address)?;
            line.flush()?;
            let mut header = [0; 9];
            line.stream.read_exact(&mut header)?;
            taken.push(started.elapsed().as_secs_f64() * 1e6);
            if header[3] != SETTINGS {
                return Err(io::Error::other("the first frame is not SETTINGS"));
            }
        }
        taken.sort_by(f64::total_cmp);
        let median = taken.get(count / 2).copied();
        median
            .map(|median| vec![median])
            .ok_or_else(|| io::Error::other("no connection was opened"))
    }

    /// Makes a call on each connection.
    fn use_all(&mut self) -> io::Result<Vec<f64>> {
        for line in &mut self.lines {
            line.call(exchange::PATH, &self.message, true)?;
            line.flush()?;
            line.wait(&mut self.buffer, 1, false)?;
        }
        Ok(Vec::new())
    }

    /// Makes calls on the first connection alone; gives their number.
    fn busy(&mut self, time: Duration) -> io::Result<Vec<f64>> {
        let (until, line) = (Clock::now() + time, &mut self.lines[0]);
        for _ in 0..IN_FLIGHT {
            line.call(exchange::PATH, &self.message, true)?;
        }
        let (mut done, mut open) = (0, IN_FLIGHT);
        while open > 0 {
            line.flush()?;
            let mut ended = 0;
            line.read(&mut self.buffer, |reported| {
                ended += usize::from(matches!(reported, Reported::Ended(_)));
            })?;
            (done, open) = (done + ended, open - ended);
            if Clock::now() < until {
                for _ in 0..ended {
                    line.call(exchange::PATH, &self.message, true)?;
                }
                open += ended;
            }
        }
        Ok(vec![done as f64])
    }

    /// Opens so many streams over all connections but the busy one, each of which has had one message back.
    fn open(&mut self, count: usize) -> io::Result<Vec<f64>> {
        let lines = self.lines.len() - 1;
        for (index, line) in self.lines[1..].iter_mut().enumerate() {
            let share = count / lines + usize::from(index < count % lines);
            for _ in 0..share {
                line.call(STREAM_PATH, &self.message, false)?;
            }
            line.flush()?;
            line.wait(&mut self.buffer, share, true)?;
        }
        Ok(Vec::new())
    }

    /// Starts calls on the first connection at random times, `rate` a second on average, whether or not those before
    /// them have ended; gives the 50th, 99th and 99.9th percentile of the microseconds from the time at which a call
    /// was due to its end.
    fn rate(&mut self, rate: f64, time: Duration) -> io::Result<Vec<f64>> {
        let line = &mut self.lines[0];
        line.stream.set_nonblocking(true)?;
        let mut random = Varying::new();
        // The gaps of a Poisson process.
        let mut gap = || {
            let uniform = (random.random() >> 11) as f64 / (1u64 << 53) as f64;
            Duration::from_secs_f64(-(1.0 - uniform).ln() / rate)
        };
        let started = Clock::now();
        let (warm, until) = (time / 4, time + time / 4);
        let mut due = gap();
        // By the place of the call.
        let mut open: Vec<Duration> = Vec::new();
        let (mut waiting, mut taken) = (0, Vec::new());
        while due < until || waiting > 0 {
            let now = started.elapsed();
            if now > until + Duration::from_secs(5) {
                return Err(ErrorKind::TimedOut.into());
            }
            while due <= now && due < until {
                let call = line.call(exchange::PATH, &self.message, true)?;
                if open.len() <= call.index() {
                    open.resize(call.index() + 1, Duration::ZERO);
                }
                open[call.index()] = due;
                waiting += 1;
                due += gap();
            }
            line.flush()?;
            line.read(&mut self.buffer, |reported| {
                if let Reported::Ended(call) = reported {
                    let due = open[call.index()];
                    waiting -= 1;
                    if due >= warm {
                        taken.push((started.elapsed() - due).as_secs_f64() * 1e6);
                    }
                }
            })?;
        }
        taken.sort_by(f64::total_cmp);
        let at = |part: f64| taken.get((taken.len() as f64 * part) as usize).copied();
        let percentiles = [at(0.5), at(0.99), at(0.999)];
        percentiles
            .into_iter()
            .map(|figure| figure.ok_or_else(|| io::Error::other("no call was made")))
            .collect()
    }
}

/// A running `probe`, killed when dropped.
#[derive(Debug)]
pub struct Probe {
    process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Probe {
    /// Starts the program on the core that loads come from.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(program: &str, address: SocketAddr) -> Result<Self, String> {
        let mut process = Command::new("taskset")
            .args(["-c", LOAD_CORE, program, &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("taskset: {error}"))?;
        let commands = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Ok(Self { process, commands, answers })
    }

    /// Executes a command, and returns its figures.
    ///
    /// # Errors
    /// The program has failed, and has printed why.
    pub fn order(&mut self, command: &str) -> Result<Vec<f64>, String> {
        let failed = || format!("fails to {command}");
        writeln!(self.commands, "{command}").map_err(|_| failed())?;
        let answer = self.answers.next().and_then(Result::ok).ok_or_else(failed)?;
        let mut words = answer.split_whitespace();
        if words.next() != Some("ok") {
            return Err(failed());
        }
        words.map(|word| word.parse().map_err(|_| failed())).collect()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
