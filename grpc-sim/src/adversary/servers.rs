//! Hostile servers: what they answer to the two calls that a client has made, on streams
//! [`ATTACKED`] and [`PROBE`](super::PROBE).

use grpc_proto::{Limits, TimedOut, Violation};

use super::writer::*;
use super::{ATTACKED, Expected, either, lists};

/// The names of all scripts but those of [`either`] and [`lists`].
pub(super) const NAMES: &[&str] = &[
    "server-push-on",
    "server-push-promise",
    "server-opens-stream",
    "server-idle-stream",
    "server-early-data",
    "server-two-heads",
    "server-informational-end",
    "server-informational-many",
    "server-stream-overrun",
    "server-data-after-end",
    "server-list-too-large",
    "server-garbage-block",
    "server-window-zero",
    "server-frame-too-large",
    "server-padding",
    "server-stalls",
    "server-silence",
];

/// Writes a script; `None` if there is none of this name.
pub(super) fn write(name: &str, over: i8, limits: &Limits, out: &mut Writer) -> Option<Expected> {
    let past = over >= 0;
    let ends = |rule| if past { Expected::Ends(rule) } else { Expected::Serves };
    let breaks = |rule| if past { Expected::Breaks(rule) } else { Expected::Serves };
    Some(match name {
        "server-push-on" => {
            out.setting(2, u32::from(past));
            ends(Violation::EnablePushByServer)
        }
        "server-push-promise" => {
            out.frame(5, END_HEADERS, ATTACKED, &[0, 0, 0, 2]);
            Expected::Ends(Violation::PushPromise)
        }
        "server-opens-stream" => {
            out.response(if past { 2 } else { ATTACKED }, false);
            ends(Violation::StreamFromServer)
        }
        "server-idle-stream" => {
            out.response(if past { 1001 } else { ATTACKED }, false);
            ends(Violation::FrameOnIdleStream)
        }
        "server-early-data" => {
            if !past {
                out.response(ATTACKED, false);
            }
            out.frame(DATA, 0, ATTACKED, &[]);
            breaks(Violation::DataBeforeHeaders)
        }
        "server-two-heads" => {
            out.response(ATTACKED, false);
            match past {
                true => {
                    let block = Writer::list(&[&[(b"grpc-status", b"0")]]);
                    out.frame(HEADERS, END_HEADERS, ATTACKED, &block);
                }
                false => out.trailers(ATTACKED),
            }
            breaks(Violation::HeadersWithoutEnd)
        }
        "server-informational-end" => {
            let block = Writer::list(&[&[(b":status", b"103")]]);
            let flags = END_HEADERS | if past { END_STREAM } else { 0 };
            out.frame(HEADERS, flags, ATTACKED, &block);
            breaks(Violation::InformationalWithEnd)
        }
        "server-informational-many" => {
            let block = Writer::list(&[&[(b":status", b"100")]]);
            for _ in 0..50 {
                out.frame(HEADERS, END_HEADERS, ATTACKED, &block);
            }
            Expected::Serves
        }
        "server-stream-overrun" => {
            // Small windows open as far as the prefix of a message.
            let window = limits.stream_window.max(5);
            if window > 100_000
                || limits.max_receive_message < window
                || limits.connection_window <= window
            {
                return write("server-informational-many", over, limits, out);
            }
            out.response(ATTACKED, false);
            out.fill_window(ATTACKED, window, past);
            breaks(Violation::StreamWindowOverrun)
        }
        "server-data-after-end" => {
            out.response(ATTACKED, true);
            out.frame(DATA, 0, ATTACKED, &[0]);
            // The client may have closed its direction, or reset the stream, by then.
            Expected::MayEnd(Violation::FrameOnClosedStream)
        }
        "server-list-too-large" => {
            let size = limits.max_header_list_size as usize;
            if size > 16_000 && past {
                // More than one frame holds: a copy of a large entry takes a byte.
                return bomb(limits, out);
            }
            let value = vec![b'v'; size.min(8000)];
            let more = if past { &[(&b"x-long"[..], &value[..])][..] } else { &[] };
            let block = Writer::list(&[RESPONSE, more]);
            out.frame(HEADERS, END_HEADERS, ATTACKED, &block);
            breaks(Violation::FieldListTooLarge)
        }
        "server-garbage-block" => {
            let block: &[u8] = match over {
                -1 => &[0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f],
                0 => &[0xff, 0xff, 0x7f],
                _ => &[0x80],
            };
            out.frame(HEADERS, END_HEADERS, ATTACKED, block);
            Expected::EndsCompression
        }
        "server-window-zero" => {
            out.window_update(if over > 0 { 0 } else { ATTACKED }, u32::from(!past));
            match over {
                0 => Expected::Breaks(Violation::WindowUpdateOfZero),
                _ => ends(Violation::WindowUpdateOfZero),
            }
        }
        "server-frame-too-large" => {
            if limits.max_frame_size > 20_000 {
                return write("server-informational-many", over, limits, out);
            }
            let len = limits.max_frame_size + u32::from(past);
            out.frame(0xfa, 0, 0, &vec![0; len as usize]);
            ends(Violation::FrameTooLarge)
        }
        "server-padding" => {
            out.response(ATTACKED, false);
            if limits.stream_window < 10 {
                return Some(Expected::Serves);
            }
            let padding = if past { 10 } else { 9 };
            out.frame(DATA, 8, ATTACKED, &[padding, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            ends(Violation::PaddingTooLong)
        }
        "server-stalls" => {
            if limits.stream_window < 7 || limits.max_receive_message < 10 {
                return write("server-informational-many", over, limits, out);
            }
            // A message that never ends, or has nothing but its length.
            out.response(ATTACKED, false);
            out.frame(DATA, 0, ATTACKED, &[0, 0, 0, 0, 10, 7, 7][..if past { 7 } else { 5 }]);
            Expected::Stalls(Violation::ReceiveStalled)
        }
        "server-silence" => {
            out.clear();
            Expected::TimesOut(TimedOut::Settings, limits.settings_timeout)
        }
        _ => {
            let listed = lists::answer(name, over, limits, out);
            return listed.or_else(|| either::write(name, over, limits, out));
        }
    })
}

/// An entry of a hundred bytes and as many copies as the list has no room for, a byte each.
fn bomb(limits: &Limits, out: &mut Writer) -> Option<Expected> {
    if limits.header_table_size < 4096 {
        // There is no table for the entry.
        return write("server-informational-many", 0, limits, out);
    }
    let mut block = vec![0x3f, 0xe1, 0x1f];
    Writer::literal(&mut block, b":status", b"200");
    block.push(0x40);
    for _ in 0..2 {
        block.push(100);
        block.extend_from_slice(&[b'x'; 100]);
    }
    let copies = limits.max_header_list_size as usize / 232 + 1;
    block.extend(std::iter::repeat_n(0xbe, copies.min(10_000)));
    out.frame(HEADERS, END_HEADERS, ATTACKED, &block);
    Some(Expected::Breaks(Violation::FieldListTooLarge))
}
