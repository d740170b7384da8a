//! The streams of a connection: by slot, by key and by identifier, and how those ended that are gone.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::Side;
use super::recently_closed::RecentlyClosed;
use crate::http2::state::{Cause, State};
use crate::http2::stream::Stream;
use crate::http2::stream_key::{IdTable, StreamKey};

/// The last identifier that a client could use, and never does: its connection drains before its identifiers end.
const LAST_ID: u32 = 0x7fff_ffff;

/// Slots with their streams, and the identifiers that were given out.
#[derive(Debug)]
pub(super) struct StreamTable {
    side: Side,
    slots: Vec<Stream>,
    vacant: Vec<u32>,
    /// Slots that are taken.
    occupied: u32,
    /// Of the next stream; counts over all slots, so that keys stay unique when the slab is trimmed.
    next_generation: u32,
    ids: IdTable,
    next_id: u32,
    /// The peer's last stream that was served or may be: what GOAWAY names.
    last_peer_id: u32,
    /// The peer's last stream, those above our GOAWAY included.
    newest_peer_id: u32,
    /// Streams of ours that count against the peer's limit.
    open_on_wire: u32,
    recently_closed: RecentlyClosed,
}

impl StreamTable {
    pub(super) fn new(side: Side) -> Self {
        StreamTable {
            side,
            slots: Vec::new(),
            vacant: Vec::new(),
            occupied: 0,
            next_generation: 0,
            ids: IdTable::new(),
            next_id: 1,
            last_peer_id: 0,
            newest_peer_id: 0,
            open_on_wire: 0,
            recently_closed: RecentlyClosed::default(),
        }
    }

    // --- Slots ---

    /// The stream of a key, unless its slot is another one's by now.
    #[inline]
    pub(super) fn get(&self, key: StreamKey) -> Option<&Stream> {
        let stream = self.slots.get(key.index())?;
        (stream.occupied && stream.generation == key.generation()).then_some(stream)
    }

    /// As [`get`](Self::get).
    #[inline]
    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        let stream = self.slots.get_mut(key.index())?;
        (stream.occupied && stream.generation == key.generation()).then_some(stream)
    }

    /// What is in a slot, if the slot has memory.
    #[inline]
    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut Stream> {
        self.slots.get_mut(slot as usize)
    }

    /// The key of the stream in a slot.
    #[inline]
    pub(super) fn key_of(&self, slot: u32) -> StreamKey {
        StreamKey::new(slot, self[slot].generation)
    }

    /// Slots that have memory, taken or not.
    #[inline]
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Slots that are taken.
    #[inline]
    pub(super) fn occupied(&self) -> u32 {
        self.occupied
    }

    /// The streams whose slots are taken, and their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Stream)> {
        (0..).zip(&self.slots).filter(|(_, stream)| stream.occupied)
    }

    /// As [`iter`](Self::iter).
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Stream)> {
        (0..).zip(&mut self.slots).filter(|(_, stream)| stream.occupied)
    }

    /// Gives a slot to a new stream with these windows; `id` is 0 for one of ours, which gets its identifier later.
    #[inline]
    pub(super) fn occupy(&mut self, id: u32, recv_window: u32, send_window: u32) -> StreamKey {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Stream::vacant());
            self.slots.len() as u32 - 1
        });
        let generation = self.next_generation;
        self[slot].occupy(generation, id, recv_window, send_window);
        self.next_generation = generation.wrapping_add(1);
        self.occupied += 1;
        if id != 0 {
            self.ids.insert(id, slot);
        }
        StreamKey::new(slot, generation)
    }

    /// Frees a slot that both the wire and the application are done with; returns whether they are.
    #[inline]
    pub(super) fn vacate_if_done(&mut self, slot: u32) -> bool {
        let stream = &mut self[slot];
        // Of what could wait to be sent, the end of a stream leaves a reset alone.
        let is_done = stream.released && stream.state().is_closed() && stream.reset.is_none();
        if !stream.occupied || !is_done {
            return false;
        }
        stream.occupied = false;
        self.vacant.push(slot);
        self.occupied -= 1;
        true
    }

    // --- Identifiers ---

    /// The slot of an identifier whose stream is not closed.
    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<u32> {
        self.ids.find(id)
    }

    /// How many streams may still be opened before identifiers end.
    #[inline]
    pub(super) fn ids_left(&self) -> u32 {
        LAST_ID.saturating_sub(self.next_id) / 2
    }

    /// Whether another stream of ours may be opened under the peer's limit.
    #[inline]
    pub(super) fn may_open(&self, limit: u32) -> bool {
        self.open_on_wire < limit && self.next_id < LAST_ID
    }

    /// Gives a stream of ours its identifier; its HEADERS must follow at once.
    #[inline]
    pub(super) fn assign_id(&mut self, slot: u32) {
        let id = self.next_id;
        self.next_id += 2;
        self.open_on_wire += 1;
        self.ids.insert(id, slot);
        self[slot].id = id;
    }

    /// Whether the peer's identifier is that of a new stream.
    #[inline]
    pub(super) fn is_new(&self, id: u32) -> bool {
        self.side == Side::Server && id > self.newest_peer_id
    }

    /// The peer has used a new identifier; it is not to be served if our GOAWAY has excluded it.
    #[inline]
    pub(super) fn on_new_id(&mut self, id: u32, is_excluded: bool) {
        self.newest_peer_id = id;
        if !is_excluded {
            self.last_peer_id = id;
        }
    }

    /// The peer's last stream that was served or may be: what GOAWAY names.
    pub(super) fn last_peer_id(&self) -> u32 {
        self.last_peer_id
    }

    /// Whether no frame has been seen on a stream yet (RFC 9113 §5.1.1); after our GOAWAY that is not known of the peer's.
    #[inline]
    pub(super) fn is_idle(&self, id: u32, goaway_sent: bool) -> bool {
        match (self.side, id.is_multiple_of(2)) {
            (Side::Server, false) => id > self.newest_peer_id && !goaway_sent,
            (Side::Client, false) => id >= self.next_id,
            (_, true) => true,
        }
    }

    /// The state of a stream that has no slot, as far as it is remembered.
    pub(super) fn state_without_slot(&self, id: u32, goaway_sent: bool) -> State {
        match self.is_idle(id, goaway_sent) {
            true => State::Idle,
            false => State::Closed(self.recently_closed.cause_of(id, self.newest_peer_id)),
        }
    }

    /// The wire is done with a stream that has an identifier: it is forgotten but for how it ended.
    #[inline]
    pub(super) fn close_id(&mut self, slot: u32, cause: Cause) {
        let stream = &self[slot];
        let (id, waits_for_reset) = (stream.id, stream.reset.is_some());
        self.ids.remove(id);
        // Until its RST_STREAM is sent, a stream takes its place under the peer's limit.
        if !waits_for_reset {
            self.on_left_wire();
        }
        self.recently_closed.add(id, cause);
    }

    /// A stream of ours counts against the peer's limit no more.
    #[inline]
    pub(super) fn on_left_wire(&mut self) {
        if self.side == Side::Client {
            self.open_on_wire -= 1;
        }
    }

    /// Remembers how a stream ended that has no slot.
    pub(super) fn note_closed(&mut self, id: u32, cause: Cause) {
        self.recently_closed.set(id, cause);
    }

    // --- Memory ---

    /// Gives all memory of streams back; none is open.
    pub(super) fn trim(&mut self) {
        debug_assert_eq!(self.occupied, 0);
        self.slots = Vec::new();
        self.vacant = Vec::new();
        self.ids.shrink();
    }

    /// Whether all memory of streams was given back.
    pub(super) fn is_trimmed(&self) -> bool {
        self.slots.capacity() == 0
    }

    /// Heap bytes, payload handles of the application not counted.
    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Stream>()
            + self.slots.iter().map(Stream::heap_bytes).sum::<usize>()
            + self.vacant.capacity() * size_of::<u32>()
            + self.ids.heap_bytes()
            + self.recently_closed.heap_bytes()
    }

    /// Goes on as if all identifiers below `id` had been used.
    #[cfg(test)]
    pub(super) fn skip_to_id(&mut self, id: u32) {
        self.next_id = id;
    }
}

impl Index<u32> for StreamTable {
    type Output = Stream;

    #[inline]
    fn index(&self, slot: u32) -> &Stream {
        &self.slots[slot as usize]
    }
}

impl IndexMut<u32> for StreamTable {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Stream {
        &mut self.slots[slot as usize]
    }
}
