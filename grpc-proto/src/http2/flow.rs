//! Flow-control windows (RFC 9113 §5.2, §6.9).

/// Window beyond the end of a message that is being assembled: a peer that pads its frames, by at most 256
/// bytes each, could not send the last of them otherwise. It is beside the assembly budget.
pub(crate) const PADDING_ROOM: u32 = 1024;
/// The largest window, 2³¹ − 1.
pub const MAX_WINDOW: u32 = (1 << 31) - 1;
/// The window that a connection and its streams start with.
pub const DEFAULT_WINDOW: u32 = 65_535;

/// What the peer lets us send: may go below zero when SETTINGS shrink it (RFC 9113 §6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendWindow(i64);

impl SendWindow {
    pub(crate) const fn new(bytes: u32) -> Self {
        SendWindow(bytes as i64)
    }

    /// Bytes that may be sent now.
    pub(crate) const fn available(self) -> u32 {
        if self.0 > 0 { self.0 as u32 } else { 0 }
    }

    /// Opens the window by a WINDOW_UPDATE; `false` if that takes it past 2³¹ − 1.
    #[must_use]
    pub(crate) fn open(&mut self, bytes: u32) -> bool {
        self.0 += i64::from(bytes);
        self.0 <= i64::from(MAX_WINDOW)
    }

    /// Applies a changed SETTINGS_INITIAL_WINDOW_SIZE; `false` if that takes it past 2³¹ − 1.
    #[must_use]
    pub(crate) fn shift(&mut self, old: u32, new: u32) -> bool {
        self.0 += i64::from(new) - i64::from(old);
        self.0 <= i64::from(MAX_WINDOW)
    }

    /// Takes `bytes` that are being sent; the caller has asked [`SendWindow::available`].
    pub(crate) fn consume(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.available());
        self.0 -= i64::from(bytes);
    }

    /// The window with its sign.
    pub(crate) const fn signed(self) -> i64 {
        self.0
    }
}

/// What we let the peer send on one stream or on the connection, and what of it is not given back yet.
///
/// ```text
///   |<------------------- target ------------------->|
///   | held (received, not released) | window | credit |
/// ```
///
/// `window` is what the peer knows it may still send. Credit is what a WINDOW_UPDATE would add to
/// bring the sum back to the target. Derived, never stored, so it cannot drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecvWindow {
    window: i64,
    held: u32,
}

impl RecvWindow {
    pub(crate) const fn new(bytes: u32) -> Self {
        RecvWindow { window: bytes as i64, held: 0 }
    }

    /// Takes a received frame's flow-controlled length; `false` if the peer overran the window.
    #[must_use]
    pub(crate) fn receive(&mut self, bytes: u32) -> bool {
        self.window -= i64::from(bytes);
        self.held = self.held.saturating_add(bytes);
        self.window >= 0
    }

    /// Follows a change of the initial window that the peer has acknowledged; may go below zero.
    pub(crate) fn shift(&mut self, old: u32, new: u32) {
        self.window += i64::from(new) - i64::from(old);
    }

    /// Gives `bytes` back that were received and are done with.
    pub(crate) fn release(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.held, "released {bytes} of {}", self.held);
        self.held = self.held.saturating_sub(bytes);
    }

    /// What a WINDOW_UPDATE may add under `target`, and records it as sent; `None` while that is not worth a frame.
    ///
    /// Worth it is half the target, or anything at all once the peer has less than half a target left:
    /// a message in progress can then always be finished.
    pub(crate) fn take_credit(&mut self, target: u32) -> Option<u32> {
        let credit = self.credit(target);
        let half = i64::from(target / 2);
        if credit <= 0 || (credit < half && self.window > half) {
            return None;
        }
        self.window += credit;
        Some(credit as u32)
    }

    /// As [`RecvWindow::take_credit`], however small it is.
    pub(crate) fn take_all_credit(&mut self, target: u32) -> Option<u32> {
        let credit = self.credit(target);
        if credit <= 0 {
            return None;
        }
        self.window += credit;
        Some(credit as u32)
    }

    /// Whether [`RecvWindow::take_all_credit`] would give something.
    pub(crate) fn has_any_credit(&self, target: u32) -> bool {
        self.credit(target) > 0
    }

    /// Whether [`RecvWindow::take_credit`] would give something.
    pub(crate) fn has_credit(&self, target: u32) -> bool {
        let credit = self.credit(target);
        let half = i64::from(target / 2);
        credit > 0 && (credit >= half || self.window <= half)
    }

    fn credit(&self, target: u32) -> i64 {
        i64::from(target.min(MAX_WINDOW)) - self.window - i64::from(self.held)
    }

    /// Bytes received and not released.
    pub(crate) const fn held(self) -> u32 {
        self.held
    }

    /// What may be held before the peer is given more: what is held, and what it may still send.
    pub(crate) const fn open_to(self) -> u32 {
        let open = self.window + self.held as i64;
        if open > 0 { open as u32 } else { 0 }
    }

    /// What the peer may still send.
    pub(crate) const fn window(self) -> i64 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_send_window_may_go_below_zero_and_come_back() {
        let mut window = SendWindow::new(100);
        window.consume(100);
        assert!(window.shift(100, 10));
        assert_eq!((window.signed(), window.available()), (-90, 0));
        assert!(window.open(91));
        assert_eq!(window.available(), 1);
    }

    #[test]
    fn opening_past_the_largest_window_is_an_overflow() {
        let mut window = SendWindow::new(MAX_WINDOW - 1);
        assert!(window.open(1));
        assert!(!window.open(1));
    }

    proptest! {
        /// Granted = consumed + in flight + held, whatever the order of frames and releases.
        #[test]
        fn credit_is_conserved(steps in proptest::collection::vec((0u32..5000, 0u32..5000), 1..200)) {
            let target = 10_000;
            let mut ours = RecvWindow::new(target);
            let mut theirs = SendWindow::new(target);
            for (send, release) in steps {
                let send = send.min(theirs.available());
                theirs.consume(send);
                prop_assert!(ours.receive(send));
                ours.release(release.min(ours.held()));
                if let Some(credit) = ours.take_credit(target) {
                    prop_assert!(theirs.open(credit));
                }
                prop_assert_eq!(ours.window(), theirs.signed());
                prop_assert!(ours.window() + i64::from(ours.held()) <= i64::from(target));
            }
            ours.release(ours.held());
            if let Some(credit) = ours.take_credit(target) {
                prop_assert!(theirs.open(credit));
            }
            prop_assert!(theirs.available() > target / 2);
        }
    }

    /// Worth a frame is half a target, or anything once the peer has half a target or less.
    #[test]
    fn credit_is_given_where_it_is_worth_a_frame_and_not_before() {
        for target in [0, 1, 2, 5, 10, 11] {
            for received in 0..=10 {
                for released in 0..=received {
                    let mut window = RecvWindow::new(10);
                    assert!(window.receive(received));
                    window.release(released);
                    let (left, held) = (i64::from(10 - received), i64::from(received - released));
                    let credit = i64::from(target) - left - held;
                    let half = i64::from(target / 2);
                    let given = credit > 0 && (credit >= half || left <= half);
                    assert_eq!(window.has_credit(target), given, "{target} {received} {released}");
                    let taken = window.take_credit(target);
                    assert_eq!(taken, given.then_some(credit as u32));
                    let after = left + if given { credit } else { 0 };
                    assert_eq!((window.window(), i64::from(window.held())), (after, held));
                }
            }
        }
    }

    #[test]
    fn a_target_beyond_the_largest_window_is_that() {
        let mut window = RecvWindow::new(0);
        assert_eq!(window.take_credit(u32::MAX), Some(MAX_WINDOW));
        assert_eq!(window.window(), i64::from(MAX_WINDOW));
        assert_eq!(window.take_credit(u32::MAX), None);
    }

    #[test]
    fn a_frame_within_the_window_is_taken_and_one_byte_more_is_an_overrun() {
        let mut window = RecvWindow::new(10);
        assert!(window.receive(4));
        assert!(window.receive(6));
        assert!(window.receive(0));
        assert!(!window.receive(1));
        window.shift(10, 15);
        assert_eq!((window.window(), window.held()), (4, 11));
        window.shift(15, 3);
        assert_eq!(window.window(), -8);
    }

    #[test]
    fn a_send_window_takes_what_settings_and_updates_leave_below_the_largest() {
        for (open, old, new, fits) in [
            (0, 10, 20, true),
            (0, 20, 10, true),
            (MAX_WINDOW - 100, 100, 100, true),
            (MAX_WINDOW - 100, 100, 101, false),
            (MAX_WINDOW - 100, 100, 0, true),
        ] {
            let mut window = SendWindow::new(100);
            assert!(window.open(open));
            assert_eq!(window.shift(old, new), fits);
            let wanted = 100 + i64::from(open) + i64::from(new) - i64::from(old);
            assert_eq!(window.signed(), wanted);
            assert_eq!(i64::from(window.available()), wanted);
        }
    }
}
