//! What must hold between the two ends of a connection, whatever drives them.

use grpc_proto::Limits;
use grpc_proto::http2::{Session, Side, StreamView};

use crate::monitor::Monitor;

/// The end across from one.
pub(crate) fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

/// Streams that all may be walked over at each turn.
const FEW: usize = 16;

/// Whether what walks over all streams is to look at a connection of so many: of many, now and then is often enough.
pub(crate) fn is_looked_at(streams: usize, turn: u64) -> bool {
    streams <= FEW || turn.is_multiple_of((streams / FEW) as u64 + 1)
}

/// Granted = consumed + under way + what may still be sent, from one end to the other: says what does not add up.
pub(crate) fn windows_differ(
    monitor: &Monitor,
    side: Side,
    from: &Session,
    to: &Session,
) -> Option<String> {
    let back = other(side);
    let expected = |stream, window| {
        window - monitor.data_under_way(side, stream) - monitor.credit_under_way(back, stream)
    };
    if !monitor.has_spoken(back) {
        return None;
    }
    let sender = from.send_window();
    let wanted = expected(0, to.recv_window());
    if sender != wanted {
        return Some(format!("from {side:?}: may send {sender}, is let {wanted}"));
    }
    let (held, target) = (to.recv_held(), to.connection_window());
    if to.recv_window() + i64::from(held) > i64::from(target.max(65_535)) {
        return Some(format!("from {side:?}: exceeds its window of {target}"));
    }
    // SETTINGS that only one end counts with yet.
    let unread = i64::from(to.recv_base()) - i64::from(from.peer_settings().initial_window_size);
    // Of many streams, those of one end are not walked over for each of the other's.
    let mut sorted: Vec<StreamView> = Vec::new();
    if from.occupied() > FEW {
        sorted.extend(to.streams());
        sorted.sort_unstable_by_key(|stream| stream.id);
    }
    let find = |id| match from.occupied() > FEW {
        true => sorted.binary_search_by_key(&id, |stream| stream.id).ok().map(|at| sorted[at]),
        false => to.streams().find(|other| other.id == id),
    };
    for sending in from.streams() {
        if sending.id == 0 || sending.state.is_closed() {
            continue;
        }
        let Some(receiving) = find(sending.id) else { continue };
        if !receiving.state.can_receive() {
            continue;
        }
        let wanted = expected(sending.id, receiving.recv_window);
        if sending.send_window + unread != wanted {
            return Some(format!(
                "stream {} from {side:?}: may send {} + {unread}, is let {wanted}",
                sending.id, sending.send_window
            ));
        }
    }
    None
}

/// An encoder and the decoder of its peer at rest: says how their tables differ.
pub(crate) fn tables_differ(encodes: &Session, decodes: &Session) -> Option<String> {
    let (encoder, decoder) = (encodes.encoder(), decodes.decoder());
    if !encoder.is_settled() {
        return None;
    }
    if encoder.table_size() != decoder.table_size() || encoder.table_len() != decoder.table_len() {
        return Some(format!(
            "the encoder of the {:?} has {} entries, its peer's decoder {}",
            encodes.side(),
            encoder.table_len(),
            decoder.table_len()
        ));
    }
    let same = encoder.table_entries().eq(decoder.table_entries());
    (!same).then(|| format!("the entries of the {:?}'s table differ", encodes.side()))
}

/// An end that holds more than its limits allow. A server's calls are bounded by its limit, so
/// [`Limits::memory_bound`] holds for it too, beside what its handlers have queued.
pub fn holds_too_much(heap: usize, session: &Session) -> Option<String> {
    let (limits, slots) = (session.limits(), session.slots() as u64);
    let queued = slots * (u64::from(limits.send_mark) + (64 << 10)) + u64::from(limits.send_budget);
    let mut bound = memory_bound(limits, slots);
    if session.side() == Side::Server {
        bound = bound.min(limits.memory_bound() + queued);
    }
    (heap as u64 > bound)
        .then(|| format!("the {:?} holds {heap} bytes of {bound}", session.side()))
        .or_else(|| counts_wrongly(session))
}

/// What a connection says that it holds, against what its streams hold.
fn counts_wrongly(session: &Session) -> Option<String> {
    let (usage, mut held, mut queued, mut is_empty) = (session.usage(), 0, 0, true);
    for stream in session.streams() {
        held += stream.held as usize;
        queued += stream.queued;
        is_empty &= stream.queued == 0;
    }
    let right = usage.received == held && usage.queued >= queued && is_empty == (usage.queued == 0);
    (!right).then(|| format!("streams hold {held} bytes and have {queued} queued: {usage:?}"))
}

/// Messages that wait for handlers, beyond what their windows allow: read and unread ones, in vectors that double. The
/// place of each call that there has been keeps a little for the next one.
pub(crate) fn waits_too_much(waiting: usize, session: &Session) -> Option<String> {
    let (limits, slots) = (session.limits(), session.slots() as u64);
    let window = u64::from(limits.stream_window.max(limits.max_window).max(65_535));
    let exceeding = u64::from(limits.assembly_budget - session.assembly_left());
    let places = session.stats().streams_opened.min(limits.max_concurrent_streams.into());
    let bound = slots * 4 * window + (places << 13) + 2 * exceeding;
    let text = || format!("{waiting} bytes of {bound} wait for the handlers of {slots} calls");
    (waiting as u64 > bound).then(text)
}

/// The most heap bytes that a connection may hold under `limits`, payload handles not counted.
///
/// ```text
///   fixed parts and queues                                        64 KiB
///   HPACK tables with their indexes                               4 × (decoder + encoder)
///   one field block being gathered, and one frame                 3 × list + frame
///   a slot: record, queues, list in each direction                slots × (2 KiB + 2 × list)
///   assemblies: the widest window each, budget for what exceeds   slots × window + budget, twice
///                                                                 (a vector doubles)
///   send queues: the mark each, the budget for what exceeds       slots × mark + send budget
///   pools                                                         pool
/// ```
fn memory_bound(limits: &Limits, slots: u64) -> u64 {
    let wide = u64::from;
    let list = wide(limits.max_header_list_size);
    let message = wide(limits.max_receive_message);
    let window = wide(limits.stream_window.max(limits.max_window));
    (64 << 10)
        + 4 * (wide(limits.header_table_size) + wide(limits.encoder_table_size))
        + 3 * list
        + wide(limits.max_frame_size)
        + slots * ((2 << 10) + 2 * list)
        + 2 * (slots * window.min(message + 5) + wide(limits.assembly_budget))
        + slots * (wide(limits.send_mark) + (64 << 10))
        + wide(limits.send_budget)
        + wide(limits.pool_bytes)
}
