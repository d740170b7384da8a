//! Attacks that both a client and a server can make: on the connection, in either role.

use grpc_proto::{Limits, Violation};

use super::writer::*;
use super::{ATTACKED, Expected};

/// The names of hostile clients' scripts.
pub(super) const NAMES: &[&str] = &[
    "stream-zero",
    "on-stream",
    "frame-length",
    "ack-payload",
    "ack-twice",
    "push-range",
    "initial-window",
    "stream-window-overflow",
    "continuation-alone",
    "goaway-raised",
    "first-frame",
];

/// The same, as hostile servers' scripts.
pub(super) const NAMES_OF_SERVERS: &[&str] = &[
    "server-stream-zero",
    "server-on-stream",
    "server-frame-length",
    "server-ack-payload",
    "server-ack-twice",
    "server-push-range",
    "server-initial-window",
    "server-stream-window-overflow",
    "server-continuation-alone",
    "server-goaway-raised",
    "server-first-frame",
];

const ENABLE_PUSH: u8 = 2;
const INITIAL_WINDOW_SIZE: u8 = 4;
const GOAWAY: u8 = 7;

/// Writes a script; `None` if there is none of this name. Those that are about a stream find
/// [`ATTACKED`] open.
pub(super) fn write(name: &str, over: i8, limits: &Limits, out: &mut Writer) -> Option<Expected> {
    let past = over >= 0;
    let ends = |rule| if past { Expected::Ends(rule) } else { Expected::Serves };
    Some(match name {
        "stream-zero" => {
            let kind = [DATA, HEADERS, RST_STREAM][usize::from((over + 1) as u8)];
            out.frame(kind, 0, 0, &[0; 4]);
            Expected::Ends(Violation::FrameOnStreamZero)
        }
        "on-stream" => {
            let (kind, payload): (u8, &[u8]) = match over {
                -1 => (SETTINGS, &[]),
                0 => (PING, &[0; 8]),
                _ => (GOAWAY, &[0; 8]),
            };
            out.frame(kind, 0, ATTACKED, payload);
            Expected::Ends(Violation::FrameOnStream)
        }
        "frame-length" => {
            let (kind, payload): (u8, &[u8]) = match over {
                -1 => (SETTINGS, &[0; 5]),
                0 => (PING, &[0; 7]),
                _ => (WINDOW_UPDATE, &[0; 5]),
            };
            out.frame(kind, 0, 0, payload);
            Expected::Ends(Violation::FrameLength)
        }
        "ack-payload" => {
            out.frame(SETTINGS, 1, 0, &[0; 6][..if past { 6 } else { 1 }]);
            Expected::Ends(Violation::SettingsAckWithPayload)
        }
        "ack-twice" => {
            if past {
                out.frame(SETTINGS, 1, 0, &[]);
            }
            ends(Violation::UnexpectedSettingsAck)
        }
        "push-range" => {
            let value = if past { 2 + over as u32 } else { 0 };
            out.setting(ENABLE_PUSH, value);
            ends(Violation::EnablePushOutOfRange)
        }
        "initial-window" => {
            // The largest window, and then an initial one that takes it further.
            out.window_update(ATTACKED, 0x7fff_ffff - 65_535);
            out.setting(INITIAL_WINDOW_SIZE, if past { 0x7fff_ffff } else { 65_535 });
            ends(Violation::InitialWindowOverflow)
        }
        "stream-window-overflow" => {
            out.window_update(ATTACKED, 0x7fff_ffff - if past { 0 } else { 65_535 });
            if past { Expected::Breaks(Violation::WindowOverflow) } else { Expected::Serves }
        }
        "continuation-alone" => {
            out.frame(CONTINUATION, if past { END_HEADERS } else { 0 }, ATTACKED, &[]);
            Expected::Ends(Violation::ContinuationUnexpected)
        }
        "goaway-raised" => {
            let last = |stream: u32| [stream.to_be_bytes(), [0; 4]].concat();
            out.frame(GOAWAY, 0, 0, &last(7));
            out.frame(GOAWAY, 0, 0, &last(if past { 9 } else { 7 }));
            ends(Violation::GoAwayRaised)
        }
        "first-frame" => {
            out.restart();
            match over {
                -1 => out.frame(PING, 0, 0, &[0; 8]),
                0 => out.window_update(0, 1),
                _ => out.frame(SETTINGS, 1, 0, &[]),
            }
            Expected::Ends(Violation::FirstFrameNotSettings)
        }
        _ => return write_of_server(name, over, limits, out),
    })
}

fn write_of_server(name: &str, over: i8, limits: &Limits, out: &mut Writer) -> Option<Expected> {
    let name = name.strip_prefix("server-").filter(|name| NAMES.contains(name))?;
    write(name, over, limits, out)
}
