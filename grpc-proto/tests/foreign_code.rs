//! Code of the program's that runs within the verbs of a connection, and panics there or does not do what it said: the
//! connection is as it was before, and goes on.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use grpc_arena::{Encode, SizeCache};
use grpc_proto::record::{Broken, Options, Reader, Recorder};
use grpc_proto::{
    ApiMisuse, CallHead, CallKey, Client, Config, Connection, Instant, Limits, SendError, Transmit,
};

/// What a message does instead of writing what it announced.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    PanicsFirst,
    PanicsWithin,
    PanicsInLength,
    WritesLess,
    WritesMore,
    WritesNothing,
    /// Removes what was queued before.
    Clears,
    ClearsAndPanics,
}

use Fault::*;

/// A message of so many bytes, and what is wrong with it.
struct Faulty(usize, Option<Fault>);

impl Encode for Faulty {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        if self.1 == Some(PanicsInLength) {
            resume_unwind(Box::new("its length"));
        }
        self.0
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        let written = match self.1 {
            None => self.0,
            Some(PanicsFirst | WritesNothing | PanicsInLength) => 0,
            Some(PanicsWithin | WritesLess) => self.0 / 2,
            Some(WritesMore) => self.0 + 1,
            Some(Clears | ClearsAndPanics) => {
                out.clear();
                0
            }
        };
        out.resize(out.len() + written, b'm');
        if matches!(self.1, Some(PanicsFirst | PanicsWithin | ClearsAndPanics)) {
            resume_unwind(Box::new("its bytes"));
        }
    }
}

/// A client whose peer's SETTINGS have come, with a call.
fn client(limits: Limits) -> (Connection<Client>, CallKey) {
    let mut conn = Connection::new(&Config::new(limits).unwrap(), 0, Instant::ZERO);
    let mut input: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    conn.poll_event(&mut input, Instant::ZERO).unwrap();
    let call = conn.call(&CallHead::new("/a.B/C", "x"), None, Instant::ZERO).unwrap();
    output(&mut conn);
    (conn, call)
}

/// What is sent now: the payloads of DATA frames, and the types of all frames but WINDOW_UPDATE.
fn output(conn: &mut Connection<Client>) -> (Vec<u8>, Vec<u8>) {
    let mut out = Transmit::new();
    conn.poll_transmit(&mut out, Instant::ZERO);
    let bytes: Vec<u8> = out.chunks().flatten().copied().collect();
    let (mut rest, mut data, mut types) = (&bytes[..], Vec::new(), Vec::new());
    if rest.starts_with(b"PRI") {
        rest = &rest[24..];
    }
    while let [a, b, c, kind, ..] = *rest {
        let (frame, after) = rest.split_at(9 + u32::from_be_bytes([0, a, b, c]) as usize);
        rest = after;
        if kind != 8 {
            types.push(kind);
        }
        if kind == 0 {
            data.extend_from_slice(&frame[9..]);
        }
    }
    (data, types)
}

/// Messages of `m` as they are framed.
fn framed(lens: &[usize]) -> Vec<u8> {
    let message = |&len: &usize| [&[0][..], &(len as u32).to_be_bytes(), &vec![b'm'; len]].concat();
    lens.iter().flat_map(message).collect()
}

/// Sends a message that is at fault; whether that was a panic, and what was returned.
fn try_send(conn: &mut Connection<Client>, call: CallKey, message: &Faulty) -> Option<SendError> {
    catch_unwind(AssertUnwindSafe(|| conn.send(call, message))).ok().and_then(Result::err)
}

#[test]
fn a_message_that_panics_or_lies_is_not_sent_and_the_call_goes_on() {
    for fault in [PanicsFirst, PanicsWithin, PanicsInLength, WritesLess, WritesMore, WritesNothing]
    {
        // Large ones take from the budget beyond the mark, and have a buffer of their own.
        for len in [20, 40_000, 200_000] {
            for before in [&[][..], &[3], &[3, 400]] {
                let (mut conn, call) = client(Limits::default());
                before.iter().for_each(|&len| conn.send(call, &Faulty(len, None)).unwrap());
                let held = conn.can_send(call);
                let error = try_send(&mut conn, call, &Faulty(len, Some(fault)));
                let misuse = SendError::Misuse(ApiMisuse::EncodedLength);
                let panics = matches!(fault, PanicsFirst | PanicsWithin | PanicsInLength);
                let is_full = len == 200_000 && !before.is_empty();
                match error {
                    None => assert!(panics, "{fault:?}"),
                    Some(SendError::Full) => assert!(is_full),
                    Some(error) => assert_eq!((panics, error), (false, misuse), "{fault:?}"),
                }
                assert_eq!(conn.can_send(call), held);
                conn.send(call, &Faulty(7, None)).unwrap();
                conn.end(call).unwrap();
                let expected = framed(&[before, &[7]].concat());
                let (data, types) = output(&mut conn);
                assert_eq!(data, expected, "{fault:?} of {len} behind {before:?}");
                assert!(types.iter().all(|&kind| kind == 0), "{types:?}");
            }
        }
    }
}

#[test]
fn a_large_message_that_panics_or_lies_leaves_the_send_budget_whole() {
    for fault in [PanicsWithin, WritesLess] {
        let (mut limits, len) = (Limits::default(), 300_000);
        limits.send_budget = len as u32;
        let (mut conn, call) = client(limits);
        let other = conn.call(&CallHead::new("/a.B/C", "x"), None, Instant::ZERO).unwrap();
        output(&mut conn);
        for _ in 0..10 {
            assert_ne!(try_send(&mut conn, call, &Faulty(len, Some(fault))), Some(SendError::Full));
        }
        assert_eq!(conn.send(other, &Faulty(len, None)), Ok(()), "all of the budget is there");
        assert_eq!(conn.send(call, &Faulty(len, None)), Err(SendError::Full));
    }
}

#[test]
fn a_message_that_removes_earlier_ones_ends_its_call_alone() {
    for fault in [Clears, ClearsAndPanics] {
        for ends in [false, true] {
            let (mut conn, call) = client(Limits::default());
            let other = conn.call(&CallHead::new("/a.B/C", "x"), None, Instant::ZERO).unwrap();
            output(&mut conn);
            conn.send(call, &Faulty(3, None)).unwrap();
            conn.send(other, &Faulty(5, None)).unwrap();
            let error = try_send(&mut conn, call, &Faulty(20, Some(fault)));
            let misuse = SendError::Misuse(ApiMisuse::EncodedLength);
            assert_eq!(error, (fault == Clears).then_some(misuse));
            let next = if ends { conn.end(call) } else { conn.send(call, &Faulty(7, None)) };
            assert_eq!(next, Err(SendError::Ended));
            conn.end(other).unwrap();
            let (data, mut types) = output(&mut conn);
            types.sort_unstable();
            // DATA of the other call and its end, RST_STREAM of this one.
            assert_eq!((data, types.last()), (framed(&[5]), Some(&3)), "{types:?}");
            conn.cancel(call);
            assert!(conn.call(&CallHead::new("/a.B/C", "x"), None, Instant::ZERO).is_ok());
        }
    }
}

/// Panics in its second call of `encode`: the first is for the recording.
struct PanicsSecond(Cell<u32>);

impl Encode for PanicsSecond {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        3
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) {
        self.0.set(self.0.get() + 1);
        if self.0.get() == 2 {
            resume_unwind(Box::new("its bytes"));
        }
        out.extend_from_slice(b"mmm");
    }
}

/// A client that is recorded, with a call, and its recording.
fn recorded() -> (Recorder<Client>, CallKey, Rc<RefCell<Vec<u8>>>) {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let tape = Rc::clone(&bytes);
    let sink = Box::new(move |more: &[u8]| tape.borrow_mut().extend_from_slice(more));
    let (config, options) = (Config::default(), Options::default());
    let mut conn = Recorder::recording(&config, 0, Instant::ZERO, &options, sink);
    let call = conn.call(&CallHead::new("/a.B/C", "x"), None, Instant::ZERO).unwrap();
    (conn, call, bytes)
}

/// Reads all of a recording, up to where it breaks off or ends.
fn read(bytes: &[u8]) -> Result<usize, Broken> {
    let (mut reader, mut count) = (Reader::new(bytes).unwrap(), 0);
    loop {
        match reader.next_record() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return Ok(count),
            Err(error) => return Err(error.broken),
        }
    }
}

#[test]
fn a_recording_ends_where_a_message_cannot_be_replayed() {
    let send: [(&str, &dyn Encode, bool); 4] = [
        ("panics for the recording", &Faulty(3, Some(PanicsWithin)), true),
        ("panics for the connection", &PanicsSecond(Cell::new(0)), false),
        ("lies to both", &Faulty(3, Some(WritesLess)), false),
        ("clears both", &Faulty(3, Some(Clears)), false),
    ];
    for (what, message, goes_on) in send {
        let (mut conn, call, bytes) = recorded();
        let sent = catch_unwind(AssertUnwindSafe(|| conn.send(call, message)));
        assert_ne!(sent.ok(), Some(Ok(())), "{what}");
        if what != "clears both" {
            conn.send(call, &Faulty(7, None)).unwrap();
        }
        assert_eq!(conn.is_recording(), goes_on, "{what}");
        drop(conn);
        // What was written is whole records; one that goes on has its end too.
        let records = read(&bytes.borrow());
        assert!(records.is_ok() || !goes_on, "{what}: {records:?}");
    }
}

#[test]
fn a_sink_that_panics_is_called_no_more_and_the_connection_goes_on() {
    for nth in 1..8 {
        let calls = Rc::new(Cell::new(0));
        let count = Rc::clone(&calls);
        let sink = Box::new(move |_: &[u8]| {
            count.set(count.get() + 1);
            if count.get() == nth {
                resume_unwind(Box::new("the disk is full"));
            }
        });
        let (config, options) = (Config::default(), Options::default());
        let begin = || Recorder::<Client>::recording(&config, 0, Instant::ZERO, &options, sink);
        let Ok(mut conn) = catch_unwind(AssertUnwindSafe(begin)) else { continue };
        let head = CallHead::new("/a.B/C", "x");
        let mut call = None;
        for _ in 0..10 {
            let called = AssertUnwindSafe(|| conn.call(&head, None, Instant::ZERO));
            call = catch_unwind(called).ok().and_then(Result::ok).or(call);
        }
        let call = call.expect("one of them went well");
        assert_eq!((calls.get(), conn.is_recording()), (nth, false));
        conn.send(call, &Faulty(7, None)).unwrap();
    }
}
