//! Messages that lie whole beside each other in one DATA frame, taken out together.
//!
//! ```text
//!   DATA: [prefix, bytes][prefix, bytes][prefix, bytes][prefix, by
//!          └─ an event ─┘└──── poll_messages, as is ──┘└─ what is split: events
//! ```

use super::message::{Message, PREFIX, Payload};
use super::{CallKey, Connection, Framing, Role};
use crate::time::Instant;

/// A run of whole messages as they stand on the wire: each with its prefix, one after the other.
///
/// Iterating takes them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages<'i> {
    bytes: &'i [u8],
    count: usize,
}

impl<'i> Messages<'i> {
    /// All bytes of the run, prefixes included: what the messages took of the stream's window together.
    #[inline]
    pub fn as_bytes(&self) -> &'i [u8] {
        self.bytes
    }

    /// How many messages are left.
    #[inline]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'i> Iterator for Messages<'i> {
    type Item = Message<'i>;

    #[inline]
    fn next(&mut self) -> Option<Message<'i>> {
        let (&[flags, a, b, c, d], rest) = self.bytes.split_first_chunk::<PREFIX>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes([a, b, c, d]) as usize)?;
        (self.bytes, self.count) = (rest, self.count - 1);
        Some(Message { payload: Payload::Borrowed(bytes), compressed: flags == 1 })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Messages<'_> {}

impl<R: Role> Connection<R> {
    /// The messages that [`poll_event`](Self::poll_event) would return next if they are of this call, whole in `input` and
    /// in the DATA frame that the last event came from; advances `input` past them. At most one frame's payload
    /// ([`Limits::max_frame_size`](crate::Limits::max_frame_size)).
    ///
    /// Call it when a message of `call` has come, before anything else is done with the connection. Where
    /// `poll_event` would return something else, or nothing, this returns no messages: whether it is called never
    /// changes what comes, in what order, or what is sent. Under manual credit each message is granted as one that came
    /// by an event is ([`Message::wire_len`]).
    #[inline]
    pub fn poll_messages<'i>(
        &mut self,
        call: CallKey,
        input: &mut &'i [u8],
        now: Instant,
    ) -> Messages<'i> {
        let data = self.session.peek_data_of(call, input, now);
        if data.len() < PREFIX || self.pending_end.is_some() {
            return Messages::default();
        }
        let limits = self.session.limits();
        let (limit, manual) = (limits.max_receive_message, limits.manual_credit);
        let record = &self.calls[call.index()];
        if record.http_status != 0 || !record.framing.is_between() {
            return Messages::default();
        }
        let (len, count) = Framing::whole(data, limit, record.may_decompress);
        if count == 0 {
            return Messages::default();
        }
        let bytes = self.session.take_data(input, len);
        if !manual {
            self.session.consume(call, len as u32);
        }
        Messages { bytes, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_comes_apart_into_its_messages() {
        let bytes = [&[0, 0, 0, 0, 2, 7, 8][..], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 1, 9]].concat();
        let run = Messages { bytes: &bytes, count: 3 };
        assert_eq!((run.len(), run.is_empty(), run.as_bytes()), (3, false, &bytes[..]));
        let message =
            |payload, compressed| Message { payload: Payload::Borrowed(payload), compressed };
        let expected = [message(&[7, 8][..], false), message(&[], true), message(&[9], false)];
        assert!(run.eq(expected));
        let mut rest = run;
        assert_eq!((rest.next().is_some(), rest.len()), (true, 2));
        assert_eq!(rest.by_ref().count(), 2);
        assert!(rest.is_empty() && Messages::default().next().is_none());
    }
}
