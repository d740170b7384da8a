//! One direction of a connection: an ordered byte queue like TCP's, with faults.
//!
//! ```text
//!   writer --write--> | buffer: segments, each with its time | --deliver--> receive buffer --> reader
//!                       ^ space() is what is left of `buffer`                ^ `receive_max`
//! ```

use std::collections::VecDeque;

use crate::entropy::mix;
use crate::scenario::{Cut, PipePlan};

/// Bytes under way in one direction. Nothing is lost, doubled or reordered, except that a reset
/// loses what was not delivered.
#[derive(Debug)]
pub(crate) struct Pipe {
    plan: PipePlan,
    seed: u64,
    bytes: Vec<u8>,
    start: usize,
    segments: VecDeque<(u64, usize)>,
    /// Ends of frames in the writer's stream, for cuts around them.
    boundaries: VecDeque<u64>,
    written: u64,
    delivered: u64,
    last_at: u64,
    /// Nothing is delivered before this.
    stalled_until: u64,
    /// Bandwidths below the planned one, each with its end.
    clogs: Vec<(u32, u64)>,
    fin: Option<u64>,
    fin_delivered: bool,
    cuts: u64,
    /// When the next delivery is scheduled.
    armed: u64,
}

/// What a delivery did.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) bytes: usize,
    pub(crate) eof: bool,
    /// When to deliver again.
    pub(crate) next: Option<u64>,
}

impl Pipe {
    pub(crate) fn new(plan: PipePlan, seed: u64) -> Self {
        Pipe {
            plan,
            seed,
            bytes: Vec::new(),
            start: 0,
            segments: VecDeque::new(),
            boundaries: VecDeque::new(),
            written: 0,
            delivered: 0,
            last_at: 0,
            stalled_until: 0,
            clogs: Vec::new(),
            fin: None,
            fin_delivered: false,
            cuts: 0,
            armed: u64::MAX,
        }
    }

    /// Notes where a frame of the writer's ends.
    pub(crate) fn note_boundary(&mut self, at: u64) {
        if self.plan.cut == Cut::Frames {
            self.boundaries.push_back(at);
        }
    }

    /// Bytes that a write would take now.
    pub(crate) fn space(&self) -> usize {
        if self.fin.is_some() {
            return 0;
        }
        let under_way = (self.written - self.delivered) as usize;
        let space = match self.plan.buffer {
            0 => usize::MAX,
            buffer => (buffer as usize).saturating_sub(under_way),
        };
        match self.plan.write_max {
            0 => space,
            most => space.min(most as usize),
        }
    }

    /// Takes bytes, at most [`space`](Self::space) of them; returns when the first is due.
    pub(crate) fn write(&mut self, data: &[u8], now: u64) -> u64 {
        if self.start > 1 << 16 && self.start * 2 > self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(data);
        let bandwidth = self.bandwidth(now);
        let mut rest = data.len();
        while rest > 0 {
            let len = self.next_cut(rest);
            let sending = match bandwidth {
                0 => 0,
                per_ms => len as u64 * 1_000_000 / u64::from(per_ms),
            };
            let base = self.last_at.max(now + u64::from(self.plan.delay_us) * 1000);
            self.last_at = base + sending;
            self.segments.push_back((self.last_at, len));
            self.written += len as u64;
            rest -= len;
        }
        self.due().unwrap_or(now)
    }

    fn next_cut(&mut self, rest: usize) -> usize {
        self.cuts += 1;
        let random = mix(self.seed, self.cuts);
        match self.plan.cut {
            Cut::Whole => rest,
            Cut::Every(bytes) => rest.min(bytes.max(1) as usize),
            Cut::Random(most) => rest.min(1 + (random % u64::from(most.max(1))) as usize),
            Cut::Frames => {
                while self.boundaries.front().is_some_and(|&end| end + 1 < self.written + 1) {
                    self.boundaries.pop_front();
                }
                // One before, at, or one after the end of the next frame.
                let end = self.boundaries.front().copied().unwrap_or(u64::MAX);
                let wanted = (end - self.written).saturating_add(random % 3).saturating_sub(1);
                if wanted >= end - self.written {
                    self.boundaries.pop_front();
                }
                rest.min(wanted.clamp(1, 1 << 40) as usize)
            }
        }
    }

    fn due(&self) -> Option<u64> {
        let next = self.segments.front().map(|&(at, _)| at);
        let next = next.or(self.fin.filter(|_| !self.fin_delivered));
        next.map(|at| at.max(self.stalled_until))
    }

    /// Moves what is due to the reader, as far as its buffer takes it.
    pub(crate) fn deliver(&mut self, now: u64, into: &mut Vec<u8>) -> Delivered {
        let mut result = Delivered::default();
        if now < self.stalled_until {
            result.next = self.due();
            return result;
        }
        while let Some(&(at, len)) = self.segments.front() {
            if at > now {
                break;
            }
            if self.plan.receive_max > 0 && into.len() >= self.plan.receive_max as usize {
                // The reader asks again when it has read.
                return result;
            }
            self.segments.pop_front();
            into.extend_from_slice(&self.bytes[self.start..self.start + len]);
            self.start += len;
            self.delivered += len as u64;
            result.bytes += len;
        }
        if self.segments.is_empty()
            && let Some(at) = self.fin
            && at <= now
            && !self.fin_delivered
        {
            self.fin_delivered = true;
            result.eof = true;
        }
        result.next = self.due();
        result
    }

    /// Whether a delivery at `at` is still to be scheduled.
    pub(crate) fn arm(&mut self, at: u64) -> bool {
        let sooner = at < self.armed;
        self.armed = self.armed.min(at);
        sooner
    }

    /// The delivery that was scheduled for now happens.
    pub(crate) fn disarm(&mut self, now: u64) {
        if self.armed <= now {
            self.armed = u64::MAX;
        }
    }

    /// The writer sends no more: the reader sees the end after everything that is under way.
    pub(crate) fn finish(&mut self, now: u64) -> u64 {
        let at = self.last_at.max(now + u64::from(self.plan.delay_us) * 1000);
        self.fin.get_or_insert(at);
        self.due().unwrap_or(now)
    }

    /// The connection is reset: what was not delivered is lost, and the reader sees the end at once.
    pub(crate) fn reset(&mut self) {
        self.segments.clear();
        self.bytes.clear();
        self.start = 0;
        self.delivered = self.written;
        self.fin = Some(0);
        self.fin_delivered = true;
    }

    /// Delivers nothing before `until`.
    pub(crate) fn stall(&mut self, until: u64) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// Takes so many bytes a millisecond until then; the narrowest of several clogs counts.
    pub(crate) fn clog(&mut self, bandwidth: u32, until: u64) {
        self.clogs.push((bandwidth, until));
    }

    /// The bandwidth, in bytes a millisecond; 0 has no bound.
    fn bandwidth(&mut self, now: u64) -> u32 {
        self.clogs.retain(|&(_, until)| until > now);
        let clogged = self.clogs.iter().map(|&(bandwidth, _)| bandwidth);
        clogged.chain([self.plan.bandwidth]).filter(|&bandwidth| bandwidth > 0).min().unwrap_or(0)
    }

    /// Whether nothing is under way, the end neither.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty() && (self.fin.is_none() || self.fin_delivered)
    }

    /// Whether the writer's end was closed.
    pub(crate) fn is_finished(&self) -> bool {
        self.fin.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(pipe: &mut Pipe) -> Vec<u8> {
        let (mut out, mut now) = (Vec::new(), 0);
        loop {
            let done = pipe.deliver(now, &mut out);
            match done.next {
                Some(next) => now = next,
                None => return out,
            }
        }
    }

    #[test]
    fn whatever_the_cuts_the_bytes_arrive_in_order() {
        let data: Vec<u8> = (0..5000u32).map(|n| (n * 7) as u8).collect();
        for cut in [Cut::Whole, Cut::Every(1), Cut::Random(50), Cut::Frames] {
            let mut pipe = Pipe::new(PipePlan { cut, delay_us: 5, ..PipePlan::default() }, 1);
            for end in [9, 30, 39, 1000, 4999] {
                pipe.note_boundary(end);
            }
            for part in data.chunks(700) {
                pipe.write(part, 0);
            }
            assert_eq!(drain(&mut pipe), data, "{cut:?}");
        }
    }

    #[test]
    fn a_full_buffer_takes_no_more_until_something_is_delivered() {
        let plan = PipePlan { buffer: 10, ..PipePlan::default() };
        let mut pipe = Pipe::new(plan, 1);
        assert_eq!(pipe.space(), 10);
        pipe.write(&[1; 10], 0);
        assert_eq!(pipe.space(), 0);
        pipe.deliver(0, &mut Vec::new());
        assert_eq!(pipe.space(), 10);
    }

    #[test]
    fn clogs_that_overlap_end_each_at_its_time_and_leave_the_bandwidth_that_was_planned() {
        const MS: u64 = 1_000_000;
        let mut pipe = Pipe::new(PipePlan { bandwidth: 1000, ..PipePlan::default() }, 1);
        pipe.clog(10, 5 * MS);
        pipe.clog(100, 9 * MS);
        assert_eq!([0, 5, 9].map(|ms| pipe.bandwidth(ms * MS)), [10, 100, 1000]);
    }

    #[test]
    fn a_reset_loses_the_tail_and_a_close_does_not() {
        let mut pipe = Pipe::new(PipePlan { delay_us: 1, ..PipePlan::default() }, 1);
        pipe.write(b"tail", 0);
        pipe.finish(0);
        let mut into = Vec::new();
        assert!(!pipe.deliver(999, &mut into).eof);
        assert!(pipe.deliver(1000, &mut into).eof);
        assert_eq!(into, b"tail");
        let mut pipe = Pipe::new(PipePlan { delay_us: 1, ..PipePlan::default() }, 1);
        pipe.write(b"tail", 0);
        pipe.reset();
        assert_eq!(drain(&mut pipe), b"");
    }
}
