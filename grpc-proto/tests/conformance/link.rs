//! What carries the bytes between a case and the connection under test: memory, or a TCP connection of the
//! loopback interface with the case at one end and the connection at the other.
//!
//! Only bytes go through the link. Time stays an argument, so that cases which wait for timers run over a
//! socket as every other one does, and nothing depends on how fast the machine is.
//!
//! ```text
//!   case ──► cuts ──► channel ──► writer thread ──► TCP ──► read, any length ──► poll_event
//!   case ◄── frames ◄─ channel ◄── reader thread ◄── TCP ◄── write, in part ◄─── poll_transmit
//! ```

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use grpc_proto::Transmit;

use crate::harness::Random;

/// Longest wait for bytes that are on their way: a test that fails must not hang.
const PATIENCE: Duration = Duration::from_secs(20);

pub enum Link {
    Memory,
    Socket(Socket),
}

/// Both ends of one TCP connection. Two threads keep the case's end moving, so that neither end waits for the
/// other however much is under way.
pub struct Socket {
    /// The end of the connection under test.
    near: TcpStream,
    /// Pieces for the writer thread; taken away to say that there are no more.
    to_write: Option<Sender<Vec<u8>>>,
    read: Receiver<Vec<u8>>,
    threads: [JoinHandle<()>; 2],
    /// Lengths of the buffers that are offered to the operating system.
    lengths: Random,
}

impl Socket {
    pub fn connect(seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the loopback");
        let far = TcpStream::connect(listener.local_addr().expect("an address")).expect("a peer");
        let (near, _) = listener.accept().expect("a connection");
        for end in [&near, &far] {
            end.set_nodelay(true).expect("an option of TCP");
        }
        near.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (to_write, pieces) = channel::<Vec<u8>>();
        let (arrived, read) = channel();
        let (mut reading, mut writing) = (far.try_clone().expect("a second handle"), far);
        let threads = [
            thread::spawn(move || {
                for piece in pieces {
                    writing.write_all(&piece).expect("a peer that reads");
                }
                let _ = writing.shutdown(Shutdown::Write);
            }),
            thread::spawn(move || {
                let mut buf = [0; 16 << 10];
                while let Ok(len @ 1..) = reading.read(&mut buf) {
                    let _ = arrived.send(buf[..len].to_vec());
                }
            }),
        ];
        Socket { near, to_write: Some(to_write), read, threads, lengths: Random(seed) }
    }

    /// Leaves a piece to the thread that writes.
    pub fn write(&self, piece: &[u8]) {
        let to_write = self.to_write.as_ref().expect("an end that is not closed");
        to_write.send(piece.to_vec()).expect("a thread that writes");
    }

    /// Reads what has arrived of `left` bytes that are under way: at least one.
    pub fn arrived(&mut self, left: usize) -> Vec<u8> {
        let mut buf = vec![0; self.lengths.up_to(left)];
        let len = self.near.read(&mut buf).expect("bytes that are under way");
        assert!(len > 0, "the peer has not closed its end");
        buf.truncate(len);
        buf
    }

    /// Sends all of `out`, as the operating system takes it, and returns what the peer has read.
    pub fn carry(&mut self, out: &mut Transmit) -> Vec<u8> {
        let mut len = 0;
        while !out.is_empty() {
            let chunk = out.chunks().next().expect("bytes that are not written");
            let most = self.lengths.up_to(chunk.len());
            let taken = self.near.write(&chunk[..most]).expect("a peer that reads");
            len += taken;
            out.advance(taken);
        }
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            bytes.extend(self.read.recv_timeout(PATIENCE).expect("bytes that are under way"));
        }
        assert_eq!(bytes.len(), len, "the peer has read what was sent");
        bytes
    }

    /// Closes both ends; nothing more than what was looked at has been sent.
    pub fn close(mut self) {
        self.to_write = None;
        let [writer, reader] = self.threads;
        writer.join().expect("everything was written");
        let mut rest = [0; 1];
        assert_eq!(self.near.read(&mut rest).ok(), Some(0), "everything was read");
        let _ = self.near.shutdown(Shutdown::Write);
        reader.join().expect("everything was read");
        assert_eq!(self.read.try_iter().count(), 0, "and everything was looked at");
    }
}
