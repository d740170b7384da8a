//! The attacks of the field, by name. `over` below 0 stays one under the limit, from 0 on goes past it.

use grpc_proto::{Limits, TimedOut, Violation};

use super::writer::*;
use super::{ATTACKED, Expected, either, lists};

/// The names of all scripts.
pub(crate) const NAMES: &[&str] = &[
    "rapid-reset",
    "made-you-reset-zero",
    "made-you-reset-overflow",
    "made-you-reset-priority",
    "continuation-flood",
    "continuation-empty",
    "block-too-long",
    "hpack-bomb",
    "hpack-fields",
    "hpack-garbage",
    "empty-name",
    "ping-flood",
    "settings-entries",
    "settings-flood",
    "settings-window",
    "settings-frame-size",
    "empty-data",
    "tiny-data",
    "tiny-messages",
    "stream-window",
    "connection-window",
    "window-overflow",
    "window-zero",
    "window-flood",
    "even-stream",
    "descending-stream",
    "idle-data",
    "frame-after-end",
    "frame-too-large",
    "unknown-frames",
    "priority-churn",
    "length-claim",
    "upper-case",
    "padding",
    "interleaved-block",
    "push-promise",
    "silence",
    "sends-nothing",
    "garbage-preface",
    "connection-overrun",
    "data-after-end",
    "never-reads",
    "never-goes-on",
];

/// Writes a script; `None` if there is none of this name.
pub(super) fn write(name: &str, over: i8, limits: &Limits, out: &mut Writer) -> Option<Expected> {
    let past = over >= 0;
    // One below the limit, or the limit itself and one more.
    let count = |limit: u32| if past { limit as usize + 1 + over as usize } else { limit as usize };
    let ends = |rule| if past { Expected::Ends(rule) } else { Expected::Serves };
    const CALM: u32 = 11;
    const PROTOCOL_ERROR: u32 = 1;
    Some(match name {
        "rapid-reset" => {
            for _ in 0..count(limits.reset_burst) {
                let stream = out.next_stream();
                out.request(stream, false);
                out.reset(stream);
            }
            // Where the network cuts between a request and its reset, the call may run, and its reset takes no token.
            if past { Expected::MayEnd(Violation::TooManyResets) } else { Expected::Serves }
        }
        "made-you-reset-zero" | "made-you-reset-overflow" | "made-you-reset-priority" => {
            if limits.max_concurrent_streams < 50 {
                // Refused streams earn no WINDOW_UPDATE: another limit would be met first.
                return write("priority-churn", over, limits, out);
            }
            for _ in 0..if past { count(limits.reset_burst) } else { 3 } {
                let stream = out.next_stream();
                out.request(stream, false);
                match name {
                    "made-you-reset-zero" => out.window_update(stream, 0),
                    "made-you-reset-overflow" => out.window_update(stream, 0x7fff_ffff),
                    _ => out.frame(PRIORITY, 0, stream, &[0; 4]),
                }
            }
            match (past, name) {
                (true, _) => Expected::Ends(Violation::TooManyResets),
                (false, "made-you-reset-zero") => Expected::Resets(PROTOCOL_ERROR),
                (false, "made-you-reset-overflow") => Expected::Resets(3),
                (false, _) => Expected::Resets(6),
            }
        }
        "continuation-flood" | "continuation-empty" => {
            let stream = out.next_stream();
            let block = Writer::block(&[]);
            out.frame(HEADERS, END_STREAM, stream, &block[..1]);
            let frames = count(continuations(limits));
            for n in 0..frames {
                let last = n + 1 == frames;
                let part = match name {
                    _ if last => &block[block.len().min(frames)..],
                    "continuation-flood" => &block[n + 1..n + 2],
                    _ => &[],
                };
                let part = if last && name == "continuation-empty" { &block[1..] } else { part };
                out.frame(CONTINUATION, if last { END_HEADERS } else { 0 }, stream, part);
            }
            ends(Violation::TooManyContinuations)
        }
        "block-too-long" => {
            let stream = out.next_stream();
            out.frame(HEADERS, END_STREAM, stream, &vec![0; 16_384]);
            for _ in 0..continuations(limits) {
                out.frame(CONTINUATION, 0, stream, &vec![0; 16_384]);
            }
            out.frame(CONTINUATION, 0, stream, &[]);
            let bound =
                2 * u64::from(limits.max_header_list_size) + u64::from(limits.max_frame_size);
            match bound < 16_384 * (1 + u64::from(continuations(limits))) {
                true => Expected::Ends(Violation::FieldBlockTooLong),
                false => Expected::Ends(Violation::TooManyContinuations),
            }
        }
        "hpack-bomb" => {
            if limits.header_table_size < 4096 {
                return write("rapid-reset", over, limits, out);
            }
            let stream = out.next_stream();
            let mut block = Writer::block(&[]);
            block.splice(1..1, [0x3f, 0xe1, 0x1f]);
            // One large entry, then a byte a copy of it.
            block.push(0x40);
            let entry = [b'x'; 100];
            block.push(100);
            block.extend_from_slice(&entry);
            block.push(100);
            block.extend_from_slice(&entry);
            let copies = limits.max_header_list_size as usize / 232 + 1;
            block.extend(std::iter::repeat_n(0xbe, copies.min(10_000)));
            out.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
            Expected::Breaks(Violation::FieldListTooLarge)
        }
        "hpack-fields" => {
            let stream = out.next_stream();
            let fixed = 6;
            let fields = (limits.max_header_fields as usize - fixed + usize::from(past)).min(1500);
            let more = vec![(&b"a"[..], &b""[..]); fields];
            let block = Writer::block(&more);
            if fields * 33 + 400 > limits.max_header_list_size as usize {
                return write("rapid-reset", over, limits, out);
            }
            out.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
            if past { Expected::Resets(CALM) } else { Expected::Serves }
        }
        "hpack-garbage" => {
            let stream = out.next_stream();
            let block: &[u8] = match over {
                // A string of 4 GiB; an index of none; an integer without end.
                -1 => &[0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f],
                0 => &[0xff, 0xff, 0x7f],
                _ => &[0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            };
            out.frame(HEADERS, END_HEADERS, stream, block);
            Expected::EndsCompression
        }
        "empty-name" => {
            let stream = out.next_stream();
            out.frame(HEADERS, END_HEADERS | END_STREAM, stream, &Writer::block(&[(b"", b"x")]));
            Expected::Resets(PROTOCOL_ERROR)
        }
        "ping-flood" => {
            if limits.min_ping_interval.is_zero() {
                return write("priority-churn", over, limits, out);
            }
            // The first is free, two more are strikes.
            for n in 0..if past { 4 } else { 3 } {
                out.frame(PING, 0, 0, &[n; 8]);
            }
            ends(Violation::TooManyPings)
        }
        "settings-entries" => {
            let entries: Vec<u8> = [0, 0xaa, 0, 0, 0, 0].repeat(count(limits.max_settings_entries));
            out.frame(SETTINGS, 0, 0, &entries);
            ends(Violation::TooManySettings)
        }
        "settings-flood" => {
            for _ in 0..3 * limits.max_pending_replies {
                out.frame(SETTINGS, 0, 0, &[]);
            }
            Expected::Serves
        }
        "settings-window" => {
            let window: u32 = if past { 0x8000_0000 } else { 0x7fff_ffff };
            let [a, b, c, d] = window.to_be_bytes();
            out.frame(SETTINGS, 0, 0, &[0, 4, a, b, c, d]);
            ends(Violation::InitialWindowOutOfRange)
        }
        "settings-frame-size" => {
            let size: u32 = if past { 16_383 } else { 16_384 };
            let [a, b, c, d] = size.to_be_bytes();
            out.frame(SETTINGS, 0, 0, &[0, 5, a, b, c, d]);
            ends(Violation::MaxFrameSizeOutOfRange)
        }
        "empty-data" => {
            let stream = out.next_stream();
            out.request(stream, false);
            for _ in 0..count(limits.max_empty_data) {
                out.frame(DATA, 0, stream, &[]);
            }
            ends(Violation::TooManyEmptyData)
        }
        "tiny-data" => {
            if limits.stream_window < 300 || limits.max_receive_message < 200 {
                return write("priority-churn", over, limits, out);
            }
            let stream = out.next_stream();
            out.request(stream, false);
            for byte in [0, 0, 0, 0, 200].into_iter().chain([7; 200]) {
                out.frame(DATA, 0, stream, &[byte]);
            }
            out.frame(DATA, END_STREAM, stream, &[]);
            Expected::Serves
        }
        "tiny-messages" => {
            // As many messages as the window has room for, of no bytes or a few, that nobody takes.
            let len = (over + 1) as usize;
            let window = limits.stream_window.min(100_000) as usize;
            if window < 5 + len || (limits.max_receive_message as usize) < len {
                return write("priority-churn", over, limits, out);
            }
            let stream = out.next_stream();
            out.call(stream, b"/sim.World/Ignore", false);
            let message = [&[0, 0, 0, 0, len as u8][..], &vec![7; len]].concat();
            let most = window.min(65_535) / message.len();
            for part in message.repeat(most).chunks(16_384) {
                out.frame(DATA, 0, stream, part);
            }
            Expected::Serves
        }
        "stream-window" => {
            let window = limits.stream_window;
            if !(5..=100_000).contains(&window)
                || limits.max_receive_message < window
                || limits.connection_window <= window
            {
                return write("connection-window", over, limits, out);
            }
            let stream = out.next_stream();
            out.request(stream, false);
            out.fill_window(stream, window, past);
            if past { Expected::Resets(3) } else { Expected::Serves }
        }
        "connection-window" => {
            // All that the connection's window has room for, cut off by resets.
            let frames = limits.connection_window as usize / 16_384;
            if !past
                || frames > 70
                || limits.stream_window < 16_384
                || limits.max_receive_message < 20_000
                || limits.max_concurrent_streams < 70
                || limits.opens_per_transmit < 32
            {
                return write("priority-churn", over, limits, out);
            }
            let mut body = vec![0; 16_384];
            body[..5].copy_from_slice(&[0, 0, 0, 0x45, 0x00]);
            for _ in 0..frames {
                let stream = out.next_stream();
                out.request(stream, false);
                out.frame(DATA, 0, stream, &body);
                out.reset(stream);
            }
            return Some(Expected::Serves).filter(|_| limits.reset_burst > 100).or_else(|| {
                out.clear();
                *out = Writer::default();
                write("priority-churn", over, limits, out)
            });
        }
        "window-overflow" => {
            out.window_update(0, if past { 0x7fff_ffff } else { 0x7fff_ffff - 65_535 });
            ends(Violation::WindowOverflow)
        }
        "window-zero" => {
            out.window_update(0, u32::from(!past));
            ends(Violation::WindowUpdateOfZero)
        }
        "window-flood" => {
            for _ in 0..if past { 101 } else { 100 } {
                out.window_update(0, 1);
            }
            ends(Violation::TooManyWindowUpdates)
        }
        "even-stream" => {
            out.request(if past { 2 } else { 1 }, true);
            out.next_stream();
            ends(Violation::EvenStreamFromClient)
        }
        "descending-stream" => {
            out.next_stream();
            out.next_stream();
            let last = out.next_stream();
            out.request(last, true);
            // A stream that was skipped is closed: too late to say anything on it.
            out.request(3, true);
            Expected::Ends(Violation::IdentifierNotRising)
        }
        "idle-data" => {
            if past {
                out.frame(DATA, 0, 1, &[0]);
            }
            ends(Violation::FrameOnIdleStream)
        }
        "frame-after-end" => {
            if limits.max_empty_data < 2 {
                return write("priority-churn", over, limits, out);
            }
            // The handler's answer must not have gone out: both come in one write.
            let stream = out.next_stream();
            out.request(stream, false);
            out.frame(DATA, 0, stream, &[]);
            out.reset(stream);
            out.frame(DATA, 0, stream, &[]);
            Expected::Resets(5)
        }
        "frame-too-large" => {
            let len = (limits.max_frame_size + u32::from(past)).to_be_bytes();
            if limits.max_frame_size > 20_000 {
                return write("priority-churn", over, limits, out);
            }
            out.raw(&len[1..]);
            out.raw(&[0xfa, 0, 0, 0, 0, 0]);
            out.raw(&vec![0; limits.max_frame_size as usize]);
            ends(Violation::FrameTooLarge)
        }
        "unknown-frames" => {
            for kind in 10..200 {
                out.frame(kind, 0xff, u32::from(kind), &[kind; 20]);
            }
            Expected::Serves
        }
        "priority-churn" => {
            for stream in (1..2000).step_by(2) {
                out.frame(PRIORITY, 0, stream, &[0x80, 0, 0, 0, 255]);
            }
            Expected::Serves
        }
        "length-claim" => {
            if limits.stream_window < 5 {
                return write("priority-churn", over, limits, out);
            }
            let stream = out.next_stream();
            out.request(stream, false);
            out.frame(DATA, 0, stream, &[0, 0xff, 0xff, 0xff, 0xff]);
            Expected::Serves
        }
        "upper-case" => {
            let stream = out.next_stream();
            out.frame(HEADERS, END_HEADERS | END_STREAM, stream, &Writer::block(&[(b"X-Up", b"")]));
            Expected::Resets(PROTOCOL_ERROR)
        }
        "padding" => {
            let stream = out.next_stream();
            out.request(stream, false);
            let padding = if past { 10 } else { 9 };
            out.frame(DATA, 8, stream, &[padding, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            if limits.stream_window < 10 {
                Expected::Resets(3).filter_past(past, Violation::PaddingTooLong)
            } else {
                ends(Violation::PaddingTooLong)
            }
        }
        "interleaved-block" => {
            let stream = out.next_stream();
            let block = Writer::block(&[]);
            out.frame(HEADERS, END_STREAM, stream, &block[..5]);
            if past {
                out.frame(PING, 0, 0, &[0; 8]);
            }
            out.frame(CONTINUATION, END_HEADERS, stream, &block[5..]);
            ends(Violation::ContinuationExpected)
        }
        "push-promise" => {
            out.frame(5, END_HEADERS, 1, &[0, 0, 0, 2]);
            Expected::Ends(Violation::PushPromise)
        }
        "silence" => {
            out.clear();
            out.raw(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..if past { 24 } else { 10 }]);
            match past {
                true => Expected::TimesOut(TimedOut::Settings, limits.settings_timeout),
                false => Expected::TimesOut(TimedOut::Preface, limits.preface_timeout),
            }
        }
        "sends-nothing" => {
            out.clear();
            Expected::TimesOut(TimedOut::Preface, limits.preface_timeout)
        }
        "garbage-preface" => {
            out.clear();
            match over {
                0 => out.raw(b"GET / HTTP/1.1\r\nhost: sim\r\n\r\n"),
                _ => out.raw(b"PRI * HTTP/2.1\r\n\r\n"),
            }
            match over {
                0 => Expected::Ends(Violation::Http1Request),
                _ => Expected::Ends(Violation::BadPreface),
            }
        }
        "connection-overrun" => {
            // More than the window in one write, on streams whose own windows have room.
            let frames = limits.connection_window as usize / 16_384 + 1;
            let each = (limits.stream_window as usize).min(49_152) / 16_384;
            let streams = if each == 0 { 0 } else { frames.div_ceil(each) };
            if streams == 0
                || streams > 30
                || limits.max_concurrent_streams < 30
                || limits.max_receive_message < 100_000
                || limits.opens_per_transmit < 32
            {
                return write("priority-churn", over, limits, out);
            }
            let mut body = vec![0; 16_384];
            for _ in 0..streams {
                let stream = out.next_stream();
                out.request(stream, false);
                body[..5].copy_from_slice(&[0, 0, 1, 0x80, 0]);
                for _ in 0..each {
                    out.frame(DATA, 0, stream, &body);
                    body[..5].fill(0);
                }
            }
            // What is given back in between may be enough, if the bytes come bit by bit.
            Expected::MayEnd(Violation::ConnectionWindowOverrun)
        }
        "data-after-end" => {
            // The handler is still at work: the stream is half closed, and resets alone.
            let stream = out.next_stream();
            out.call(stream, b"/sim.World/Stall", true);
            out.frame(DATA, 0, stream, &[0]);
            Expected::Breaks(Violation::FrameOnClosedStream)
        }
        "never-reads" => {
            // The answer waits for a window that never opens.
            let stream = out.next_stream();
            out.setting(4, 0);
            out.call(stream, b"/sim.World/Stall", !past);
            Expected::Stalls(Violation::SendStalled)
        }
        "never-goes-on" => {
            if limits.stream_window < 7 || limits.max_receive_message < 10 {
                return write("priority-churn", over, limits, out);
            }
            let stream = out.next_stream();
            out.request(stream, false);
            out.frame(DATA, 0, stream, &[0, 0, 0, 0, 10, 7, 7][..if past { 7 } else { 5 }]);
            Expected::Stalls(Violation::ReceiveStalled)
        }
        _ => {
            if let Some(expected) = lists::request(name, over, out) {
                return Some(expected);
            }
            if matches!(name, "initial-window" | "stream-window-overflow" | "continuation-alone") {
                debug_assert_eq!(out.peek_stream(), ATTACKED);
                let stream = out.next_stream();
                out.request(stream, false);
            }
            return either::write(name, over, limits, out);
        }
    })
}

/// CONTINUATION frames of one block that are let through: as many as were set, and more where the longest list takes more
/// and a quarter as many again.
fn continuations(limits: &Limits) -> u32 {
    let fitting = limits.max_header_list_size / limits.max_frame_size + 1;
    limits.max_continuations.max(fitting + fitting / 4)
}

impl Expected {
    fn filter_past(self, past: bool, rule: Violation) -> Self {
        if past { Expected::Ends(rule) } else { self }
    }
}
