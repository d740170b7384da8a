//! SETTINGS (RFC 9113 §6.5): what the peer asks of us.

use alloc::vec::Vec;

use super::flow::{DEFAULT_WINDOW, MAX_WINDOW};
use super::frame::{self, kind};
use super::violation::Violation;
use crate::config::Limits;

/// Identifiers of RFC 9113 §6.5.2.
pub mod id {
    #![allow(missing_docs)]
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    pub const ENABLE_PUSH: u16 = 0x2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
}

/// Settings that bind us; the defaults hold until the peer's first SETTINGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Largest dynamic table that our encoder may use.
    pub header_table_size: u32,
    /// Streams that we may have open at once.
    pub max_concurrent_streams: u32,
    /// Window that a stream of ours starts with.
    pub initial_window_size: u32,
    /// Largest frame payload that we may send.
    pub max_frame_size: u32,
    /// Largest field list that the peer takes; advisory.
    pub max_header_list_size: u32,
}

/// Streams that are opened before the peer's SETTINGS say how many it takes: what RFC 9113 §6.5.2
/// recommends as the least limit, so that none of them is refused.
const ASSUMED_STREAMS: u32 = 100;

impl Default for PeerSettings {
    fn default() -> Self {
        PeerSettings {
            header_table_size: 4096,
            max_concurrent_streams: ASSUMED_STREAMS,
            initial_window_size: DEFAULT_WINDOW,
            max_frame_size: 16_384,
            max_header_list_size: u32::MAX,
        }
    }
}

impl PeerSettings {
    /// Applies one entry; validated before anything changes, unknown identifiers ignored (§6.5.2).
    pub(crate) fn apply(&mut self, id: u16, value: u32) -> Result<(), Violation> {
        match id {
            id::HEADER_TABLE_SIZE => self.header_table_size = value,
            id::ENABLE_PUSH if value > 1 => return Err(Violation::EnablePushOutOfRange),
            id::MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
            id::INITIAL_WINDOW_SIZE if value > MAX_WINDOW => {
                return Err(Violation::InitialWindowOutOfRange);
            }
            id::INITIAL_WINDOW_SIZE => self.initial_window_size = value,
            id::MAX_FRAME_SIZE if !(16_384..1 << 24).contains(&value) => {
                return Err(Violation::MaxFrameSizeOutOfRange);
            }
            id::MAX_FRAME_SIZE => self.max_frame_size = value,
            id::MAX_HEADER_LIST_SIZE => self.max_header_list_size = value,
            _ => {}
        }
        Ok(())
    }
}

/// Appends SETTINGS that change nothing but the window of streams.
pub(crate) fn put_initial_window(out: &mut Vec<u8>, size: u32) {
    frame::put_header(out, 6, kind::SETTINGS, 0, 0);
    out.extend_from_slice(&id::INITIAL_WINDOW_SIZE.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
}

/// Appends our SETTINGS, and the WINDOW_UPDATE that opens the connection's window.
///
/// Values that are the default of RFC 9113 are left out.
pub(crate) fn put_ours(out: &mut Vec<u8>, limits: &Limits, client: bool) {
    let entries = [
        (id::HEADER_TABLE_SIZE, limits.header_table_size, limits.header_table_size != 4096),
        (id::ENABLE_PUSH, 0, client),
        (id::MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams, !client),
        (id::INITIAL_WINDOW_SIZE, limits.stream_window, limits.stream_window != DEFAULT_WINDOW),
        (id::MAX_FRAME_SIZE, limits.max_frame_size, limits.max_frame_size != 16_384),
        (id::MAX_HEADER_LIST_SIZE, limits.max_header_list_size, true),
    ];
    let chosen = entries.iter().filter(|&&(_, _, send)| send);
    frame::put_header(out, 6 * chosen.clone().count(), kind::SETTINGS, 0, 0);
    for (id, value, _) in chosen {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
    if limits.connection_window > DEFAULT_WINDOW {
        frame::put_window_update(out, 0, limits.connection_window - DEFAULT_WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(client: bool, change: impl FnOnce(&mut Limits)) -> Vec<u8> {
        let mut limits = Limits::default();
        change(&mut limits);
        let mut out = Vec::new();
        put_ours(&mut out, &limits, client);
        out
    }

    /// Length, entries and the WINDOW_UPDATE, octet by octet.
    #[test]
    fn what_is_the_default_of_the_rfc_is_not_sent_and_all_else_is() {
        let header = |entries: u8| [0, 0, 6 * entries, 4, 0, 0, 0, 0, 0];
        let list = [0, 6, 0, 0, 0x40, 0];
        let opened = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0x0f, 0, 1];
        assert_eq!(
            ours(true, |_| {}),
            [&header(2)[..], &[0, 2, 0, 0, 0, 0], &list, &opened].concat()
        );
        assert_eq!(
            ours(false, |_| {}),
            [&header(2)[..], &[0, 3, 0, 0, 0, 100], &list, &opened].concat()
        );
        let changed = ours(false, |limits| {
            limits.header_table_size = 4095;
            limits.stream_window = 65_536;
            limits.max_frame_size = 16_385;
            limits.connection_window = 65_535;
        });
        let entries: &[&[u8]] = &[
            &[0, 1, 0, 0, 0x0f, 0xff],
            &[0, 3, 0, 0, 0, 100],
            &[0, 4, 0, 1, 0, 0],
            &[0, 5, 0, 0, 0x40, 1],
            &list,
        ];
        assert_eq!(changed, [&header(5)[..], &entries.concat()].concat());
        let larger = ours(true, |limits| limits.connection_window = 65_536);
        assert_eq!(larger[larger.len() - 13..], [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn each_setting_takes_the_values_of_its_range_and_changes_itself_alone() {
        let applied = |id, value| {
            let mut settings = PeerSettings::default();
            settings.apply(id, value).map(|()| settings)
        };
        let default = PeerSettings::default();
        for value in [0, 1, 70_000, u32::MAX] {
            let new = applied(id::HEADER_TABLE_SIZE, value).unwrap();
            assert_eq!(new, PeerSettings { header_table_size: value, ..default });
            let new = applied(id::MAX_CONCURRENT_STREAMS, value).unwrap();
            assert_eq!(new, PeerSettings { max_concurrent_streams: value, ..default });
            let new = applied(id::MAX_HEADER_LIST_SIZE, value).unwrap();
            assert_eq!(new, PeerSettings { max_header_list_size: value, ..default });
            assert_eq!(applied(0x99, value).unwrap(), default);
        }
        for value in [0, 1, 0x7fff_ffff] {
            let new = applied(id::INITIAL_WINDOW_SIZE, value).unwrap();
            assert_eq!(new, PeerSettings { initial_window_size: value, ..default });
        }
        for value in [16_384, 16_385, (1 << 24) - 1] {
            let new = applied(id::MAX_FRAME_SIZE, value).unwrap();
            assert_eq!(new, PeerSettings { max_frame_size: value, ..default });
        }
        for value in [0, 1] {
            assert!(applied(id::ENABLE_PUSH, value).is_ok());
        }
        for (id, value) in [
            (id::INITIAL_WINDOW_SIZE, 0x8000_0000),
            (id::MAX_FRAME_SIZE, 16_383),
            (id::MAX_FRAME_SIZE, 1 << 24),
            (id::ENABLE_PUSH, 2),
        ] {
            assert!(applied(id, value).is_err(), "{id} {value}");
        }
    }
}
