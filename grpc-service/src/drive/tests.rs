use std::future::ready;

use grpc_proto::{CallHead, Client, Config, Connection};

use super::*;
use crate::testing::MemoryHost;

/// A transport that nobody is at the other end of.
struct Nowhere;

impl Transport for Nowhere {
    type Reader = Nowhere;
    type Writer = Nowhere;
    type Closer = Nowhere;

    fn split(self) -> (Nowhere, Nowhere, Nowhere) {
        (Nowhere, Nowhere, Nowhere)
    }
}

impl ReadHalf for Nowhere {
    fn read(self, buffer: Vec<u8>) -> impl Future<Output = (Self, io::Result<usize>, Vec<u8>)> {
        ready((self, Ok(0), buffer))
    }
}

impl WriteHalf for Nowhere {
    fn write(self, out: Transmit) -> impl Future<Output = (Self, io::Result<usize>, Transmit)> {
        let written = out.len();
        ready((self, Ok(written), out))
    }
}

impl Close for Nowhere {
    fn close_write(&mut self) {}
    fn close(&mut self) {}
}

/// A client that says all that it has to say, and is idle when it is told so.
struct Talker {
    connection: Connection<Client>,
    idle: bool,
}

impl Endpoint for Talker {
    fn drive(
        &mut self,
        _: &mut &[u8],
        out: &mut Transmit,
        _: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        while self.connection.has_output() {
            self.connection.poll_transmit(out, now);
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn close_read(&mut self, _: Instant) {}
    fn shutdown(&mut self, _: Instant) {}
    fn abort(&mut self, _: Instant) {}

    fn is_drained(&self) -> bool {
        false
    }

    fn is_trimmed(&self) -> bool {
        self.idle
    }
}

#[test]
fn what_busier_times_needed_for_output_goes_back_when_nobody_has_called_for_a_while() {
    let mut connection = Connection::new(&Config::default(), 0, Instant::ZERO);
    let path = format!("/a.B/{}", "m".repeat(1000));
    for _ in 0..100 {
        connection.call(&CallHead::new(&path, "localhost"), None, Instant::ZERO).unwrap();
    }
    let end = Talker { connection, idle: false };
    let host = Rc::new(MemoryHost::new(0));
    let mut line = Line::<_, Nowhere, _>::new(end, Nowhere, Nowhere, Nowhere, host, ());
    let turn = |line: &mut Line<Talker, Nowhere, ()>| {
        line.turn(&Context::from_waker(Waker::noop()), Waker::noop());
    };
    turn(&mut line);
    let (half, out) = line.next_write().expect("something to write");
    let len = out.len();
    line.on_written(half, Ok(len), out);
    turn(&mut line);
    assert!(line.spare.heap_bytes() >= len);
    line.end.idle = true;
    turn(&mut line);
    assert_eq!(line.spare.heap_bytes() + line.filling.heap_bytes(), 0);
}
