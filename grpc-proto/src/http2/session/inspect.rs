//! Looking at a session from outside: what tests, tools and the simulator's oracles compare.

use super::Session;
use crate::hpack;
use crate::http2::state::State;
use crate::http2::stream::{Pending, Prepared};
use crate::http2::stream_key::StreamKey;

/// One stream as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamView {
    /// Its slot, the index of its key.
    pub index: usize,
    /// Its identifier; 0 before it has one.
    pub id: u32,
    /// Its state of RFC 9113 §5.1.
    pub state: State,
    /// What we may still send on it; below zero after SETTINGS have shrunk it.
    pub send_window: i64,
    /// What the peer may still send on it.
    pub recv_window: i64,
    /// Bytes received and not given back.
    pub held: u32,
    /// What the window may exceed its base by.
    pub reserved: u32,
    /// What of that is taken from the assembly budget: all but the room for padding, 1 KiB.
    pub budgeted: u32,
    /// What its message waits for of the assembly budget.
    pub wanted: u32,
    /// Bytes that wait to be sent.
    pub queued: usize,
    /// Whether the application waits to hear of room.
    pub wants_room: bool,
    /// Whether its last event was given out.
    pub is_reported: bool,
}

impl Session {
    /// The streams whose slots are taken.
    pub fn streams(&self) -> impl Iterator<Item = StreamView> {
        self.streams.iter().map(|(slot, stream)| StreamView {
            index: slot as usize,
            id: stream.id,
            state: stream.state(),
            send_window: stream.send.signed(),
            recv_window: stream.recv.window(),
            held: stream.recv.held(),
            reserved: stream.reserved,
            budgeted: super::receive_budget::budgeted(stream.reserved),
            wanted: if stream.awaits_budget { stream.wanted(self.base_window()) } else { 0 },
            queued: stream.queue.len(),
            wants_room: stream.wants_room,
            is_reported: stream.reported,
        })
    }

    /// Whether the peer's SETTINGS have come, the first sign that it speaks HTTP/2.
    pub fn settings_received(&self) -> bool {
        self.reader.settings_received()
    }

    /// Slots that have memory, taken or not.
    pub fn slots(&self) -> usize {
        self.streams.slots() as usize
    }

    /// What we may still send on the connection.
    pub fn send_window(&self) -> i64 {
        self.send_window.signed()
    }

    /// What the peer may still send on the connection.
    pub fn recv_window(&self) -> i64 {
        self.recv_window.window()
    }

    /// Bytes received on the connection and not given back.
    pub fn recv_held(&self) -> u32 {
        self.recv_window.held()
    }

    /// The initial window that the peer's DATA is measured by: ours, once it was acknowledged.
    pub fn recv_base(&self) -> u32 {
        self.receive_budget.initial_window()
    }

    /// The window that streams are to have: [`crate::Limits::stream_window`], or what it has grown to.
    pub fn stream_window(&self) -> u32 {
        self.estimate.stream_window()
    }

    /// The window that the connection is to have.
    pub fn connection_window(&self) -> u32 {
        self.estimate.connection_window()
    }

    /// What is left of [`crate::Limits::assembly_budget`].
    pub fn assembly_left(&self) -> u32 {
        self.receive_budget.left()
    }

    /// What is taken of [`crate::Limits::send_budget`].
    pub fn send_outstanding(&self) -> u32 {
        self.send_budget.outstanding()
    }

    /// The encoder of our field blocks.
    pub fn encoder(&self) -> &hpack::Encoder {
        self.blocks.encoder()
    }

    /// The decoder of the peer's field blocks.
    pub fn decoder(&self) -> &hpack::Decoder {
        self.blocks.decoder()
    }

    /// Whether a stream still waits to send a request from the template that is prepared at this place.
    pub(crate) fn is_template_awaited(&self, template: Prepared) -> bool {
        let waits =
            |head: &Pending| matches!(head, Pending::Template { place, .. } if *place == template);
        self.streams.iter().any(|(_, stream)| waits(&stream.head))
    }

    /// Whether the stream is open here and nothing of it has left.
    pub fn is_unsent(&self, key: StreamKey) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.id == 0)
    }
}
