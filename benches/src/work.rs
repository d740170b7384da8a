//! The work that client programs do, and how they report it.
//!
//! A client program is started as `PROGRAM ADDRESS WORK BODY CONNECTIONS STREAMS MILLISECONDS`. It opens its connections,
//! works for a quarter of the time to warm both ends up, prints `start`, works for the whole time, and prints `stop`
//! with the messages and the processor time of that second part.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The flow-control window of each stream, at both ends and for all contenders. No window grows.
pub const STREAM_WINDOW: u32 = 1 << 20;

/// The connection's window, likewise: more than [`Work`] of sixteen streams can have under way.
pub const CONNECTION_WINDOW: u32 = 32 << 20;

/// What a client does on each of its streams, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Unary calls that echo a body.
    Unary,
    /// One server stream: the client receives messages.
    Download,
    /// One client stream: the client sends messages.
    Upload,
    /// One bidirectional stream: a message is sent when the one before it has come back.
    PingPong,
}

/// Work, and how much of it goes on side by side.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// What is done.
    pub work: Work,
    /// Bytes in each message's one field.
    pub body: usize,
    /// Connections.
    pub connections: u32,
    /// Streams on each connection.
    pub streams: u32,
}

const WORKS: [(Work, &str); 4] = [
    (Work::Unary, "unary"),
    (Work::Download, "server-stream"),
    (Work::Upload, "client-stream"),
    (Work::PingPong, "ping-pong"),
];

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = WORKS.iter().find(|(work, _)| work == self).expect("all have a name");
        f.write_str(name)
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = WORKS.iter().find(|(_, name)| *name == word);
        found.map(|(work, _)| *work).ok_or_else(|| format!("{word} is no work"))
    }
}

impl Job {
    /// The arguments that a client program gets after the address.
    pub fn arguments(&self, time: Duration) -> [String; 5] {
        let Job { work, body, connections, streams } = self;
        [
            work.to_string(),
            body.to_string(),
            connections.to_string(),
            streams.to_string(),
            time.as_millis().to_string(),
        ]
    }

    /// Reads the arguments of this program: the address, the job, and for how long it is measured.
    pub fn from_arguments() -> Result<(String, Self, Duration), String> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [address, work, body, connections, streams, time] = &arguments[..] else {
            return Err("needs ADDRESS WORK BODY CONNECTIONS STREAMS MILLISECONDS".into());
        };
        let number = |word: &str| word.parse::<u32>().map_err(|_| format!("{word} is no number"));
        let job = Job {
            work: work.parse()?,
            body: number(body)? as usize,
            connections: number(connections)?,
            streams: number(streams)?,
        };
        Ok((address.clone(), job, Duration::from_millis(number(time)?.into())))
    }
}

/// How many messages of a job are done; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Done(Rc<Cell<u64>>);

impl Done {
    /// Counts one message.
    pub fn count(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// The messages so far.
    pub fn messages(&self) -> u64 {
        self.0.get()
    }
}

/// The measured part of a job, from its start to its end.
#[derive(Debug)]
pub struct Measured {
    messages: u64,
    cpu: Duration,
}

impl Measured {
    /// Starts to measure, and prints that it does.
    pub fn start(messages: u64) -> Self {
        println!("start");
        Self { messages, cpu: process_time() }
    }

    /// Ends, and prints the figures.
    pub fn stop(self, messages: u64) {
        let cpu = process_time() - self.cpu;
        println!("stop {} {}", messages - self.messages, cpu.as_nanos());
    }
}

/// User and system time of this process so far.
fn process_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    Duration::from(time.expect("every process has this clock"))
}
