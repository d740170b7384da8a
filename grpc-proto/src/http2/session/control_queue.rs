//! Control frames that wait to be sent, before anything else.

use alloc::vec::Vec;

use super::Side;
use crate::config::Limits;
use crate::http2::error_code::ErrorCode;
use crate::http2::frame::{self, flag, kind};
use crate::http2::settings;

/// Frames that are not of a stream's turn, in the order in which they leave.
#[derive(Debug)]
pub(super) struct ControlQueue {
    bytes: Vec<u8>,
    /// Frames among them that answer the peer, and that it could ask for without end.
    replies: u32,
    /// A server's SETTINGS are held back, and nothing is sent before them.
    holds_settings: bool,
}

impl ControlQueue {
    /// What a connection begins with: SETTINGS, a client's behind the preface; a server's may be held back.
    pub(super) fn new(side: Side, limits: &Limits) -> Self {
        let mut bytes = Vec::new();
        if side == Side::Client {
            bytes.extend_from_slice(frame::PREFACE);
        }
        let holds_settings = side == Side::Server && !limits.settings_hold.is_zero();
        if !holds_settings {
            settings::put_ours(&mut bytes, limits, side == Side::Client);
        }
        ControlQueue { bytes, replies: 0, holds_settings }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Frames that answer the peer.
    #[inline]
    pub(super) fn replies(&self) -> u32 {
        self.replies
    }

    /// Moves all frames to `out`.
    #[inline]
    pub(super) fn pull(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
        self.bytes.clear();
        self.replies = 0;
    }

    /// Queues SETTINGS that are held back; returns whether they were.
    pub(super) fn release_settings(&mut self, limits: &Limits) -> bool {
        let was_held = core::mem::take(&mut self.holds_settings);
        if was_held {
            debug_assert!(self.bytes.is_empty(), "SETTINGS are the first frame");
            settings::put_ours(&mut self.bytes, limits, false);
        }
        was_held
    }

    /// The peer does not speak HTTP/2: drops what waits, held SETTINGS included.
    pub(super) fn clear(&mut self) {
        self.holds_settings = false;
        self.bytes.clear();
    }

    /// Queues bytes that are no frame, for a peer that does not speak HTTP/2, in the place of what waits.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.clear();
        self.bytes.extend_from_slice(bytes);
    }

    // --- Replies ---

    /// Acknowledges SETTINGS.
    pub(super) fn ack_settings(&mut self) {
        self.replies += 1;
        frame::put_header(&mut self.bytes, 0, kind::SETTINGS, flag::ACK, 0);
    }

    /// Answers PING.
    pub(super) fn ack_ping(&mut self, payload: [u8; 8]) {
        self.replies += 1;
        frame::put_ping(&mut self.bytes, true, payload);
    }

    /// Resets a stream that has no slot.
    pub(super) fn reset(&mut self, id: u32, code: ErrorCode) {
        self.replies += 1;
        frame::put_reset(&mut self.bytes, id, code);
    }

    // --- What we say by ourselves ---

    /// Queues PING.
    pub(super) fn ping(&mut self, payload: [u8; 8]) {
        frame::put_ping(&mut self.bytes, false, payload);
    }

    /// Queues GOAWAY.
    pub(super) fn goaway(&mut self, last: u32, code: ErrorCode, debug: &str) {
        frame::put_goaway(&mut self.bytes, last, code, debug);
    }

    /// Queues SETTINGS with a new SETTINGS_INITIAL_WINDOW_SIZE.
    pub(super) fn initial_window(&mut self, size: u32) {
        settings::put_initial_window(&mut self.bytes, size);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives memory back that waiting frames do not need.
    pub(super) fn trim(&mut self) {
        self.bytes.shrink_to(0);
    }
}
