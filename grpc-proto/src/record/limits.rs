//! The limits of a connection, by number.

use alloc::vec::Vec;
use core::time::Duration;

use super::wire::put_number;
use crate::config::Limits;

/// The value of one limit, in place.
pub(super) enum Slot<'l> {
    Number(&'l mut u32),
    Flag(&'l mut bool),
    Span(&'l mut Duration),
    MaybeSpan(&'l mut Option<Duration>),
}

/// Shows every limit with its number. A limit keeps its number for good; a new one takes the next.
pub(super) fn each(limits: &mut Limits, mut show: impl FnMut(u8, Slot<'_>)) {
    // Without `..`: a limit that is added must be added here.
    let Limits {
        max_concurrent_streams,
        stream_window,
        max_window,
        connection_window,
        max_frame_size,
        header_table_size,
        encoder_table_size,
        max_header_list_size,
        max_header_fields,
        max_continuations,
        max_receive_message,
        max_send_message,
        assembly_budget,
        send_mark,
        send_budget,
        max_queued_calls,
        transmit_budget,
        opens_per_transmit,
        max_pending_replies,
        max_settings_entries,
        max_empty_data,
        reset_burst,
        reset_rate,
        manual_credit,
        pool_bytes,
        trim_after,
        settings_hold,
        preface_timeout,
        settings_timeout,
        settings_ack_timeout,
        max_idle,
        max_age,
        drain_grace,
        send_stall_timeout,
        progress_timeout,
        keepalive,
        keepalive_timeout,
        keepalive_without_calls,
        min_ping_interval,
    } = limits;
    show(1, Slot::Number(max_concurrent_streams));
    show(2, Slot::Number(stream_window));
    show(3, Slot::Number(connection_window));
    show(4, Slot::Number(max_frame_size));
    show(5, Slot::Number(header_table_size));
    show(6, Slot::Number(encoder_table_size));
    show(7, Slot::Number(max_header_list_size));
    show(8, Slot::Number(max_header_fields));
    show(9, Slot::Number(max_continuations));
    show(10, Slot::Number(max_receive_message));
    show(11, Slot::Number(max_send_message));
    show(12, Slot::Number(assembly_budget));
    show(13, Slot::Number(send_mark));
    show(14, Slot::Number(send_budget));
    show(15, Slot::Number(max_queued_calls));
    show(16, Slot::Number(transmit_budget));
    show(17, Slot::Number(opens_per_transmit));
    show(18, Slot::Number(max_pending_replies));
    show(19, Slot::Number(max_settings_entries));
    show(20, Slot::Number(max_empty_data));
    show(21, Slot::Number(reset_burst));
    show(22, Slot::Number(reset_rate));
    show(23, Slot::Flag(manual_credit));
    show(24, Slot::Number(pool_bytes));
    show(25, Slot::Span(trim_after));
    show(26, Slot::Span(preface_timeout));
    show(27, Slot::Span(settings_timeout));
    show(28, Slot::Span(settings_ack_timeout));
    show(29, Slot::MaybeSpan(max_idle));
    show(30, Slot::MaybeSpan(max_age));
    show(31, Slot::MaybeSpan(drain_grace));
    show(32, Slot::Span(send_stall_timeout));
    show(33, Slot::Span(progress_timeout));
    show(34, Slot::MaybeSpan(keepalive));
    show(35, Slot::Span(keepalive_timeout));
    show(36, Slot::Flag(keepalive_without_calls));
    show(37, Slot::Span(min_ping_interval));
    show(38, Slot::Number(max_window));
    show(39, Slot::Span(settings_hold));
}

/// How many there are, then each with its number.
pub(super) fn put(out: &mut Vec<u8>, limits: &Limits) {
    let mut limits = limits.clone();
    let mut count = 0;
    each(&mut limits, |_, _| count += 1);
    put_number(out, count);
    each(&mut limits, |number, slot| {
        out.push(number);
        match slot {
            Slot::Number(value) => put_number(out, (*value).into()),
            Slot::Flag(value) => out.push((*value).into()),
            Slot::Span(value) => put_span(out, *value),
            Slot::MaybeSpan(value) => {
                out.push(value.is_some().into());
                if let Some(value) = *value {
                    put_span(out, value);
                }
            }
        }
    });
}

/// Whole seconds, then nanoseconds.
fn put_span(out: &mut Vec<u8>, span: Duration) {
    put_number(out, span.as_secs());
    put_number(out, span.subsec_nanos().into());
}
