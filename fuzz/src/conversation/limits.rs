//! Limits that a conversation is held under: a few sets in which different ones are reached.

use std::time::Duration;

use grpc_proto::Limits;

/// The limits that a byte chooses. Bit 7 leaves credit to the application.
pub fn limits(choice: u8) -> Limits {
    let mut limits = Limits::default();
    limits.max_concurrent_streams = 20;
    limits.max_receive_message = 100_000;
    limits.assembly_budget = 300_000;
    limits.manual_credit = choice & 0x80 != 0;
    match choice % 6 {
        // Reading is never stopped.
        0 => {
            limits.max_pending_replies = u32::MAX;
            limits.opens_per_transmit = u32::MAX;
        }
        // Everything is small.
        1 => {
            limits.max_concurrent_streams = 2;
            limits.stream_window = 0;
            limits.max_receive_message = 2000;
            limits.assembly_budget = 4000;
            limits.header_table_size = 64;
            limits.encoder_table_size = 64;
            limits.max_header_list_size = 800;
            limits.max_header_fields = 16;
            limits.max_continuations = 2;
            limits.send_mark = 1;
            limits.send_budget = 100;
            limits.transmit_budget = 1;
            limits.opens_per_transmit = 1;
            limits.max_pending_replies = 1;
            limits.max_settings_entries = 2;
            limits.max_empty_data = 2;
            limits.reset_burst = 2;
            limits.reset_rate = 1;
            limits.max_queued_calls = 2;
            limits.pool_bytes = 0;
        }
        // Timers are short.
        2 => {
            limits.keepalive = Some(Duration::from_secs(10));
            limits.keepalive_timeout = Duration::from_millis(10);
            limits.keepalive_without_calls = true;
            limits.max_idle = Some(Duration::from_millis(20));
            limits.max_age = Some(Duration::from_secs(30));
            limits.drain_grace = Some(Duration::from_millis(50));
            limits.trim_after = Duration::ZERO;
            limits.settings_hold = Duration::from_millis(5);
            limits.send_stall_timeout = Duration::from_millis(500);
            limits.progress_timeout = Duration::from_millis(500);
            limits.min_ping_interval = Duration::from_millis(5);
        }
        // No tables, one message at a time, frames of all sizes.
        3 => {
            limits.header_table_size = 0;
            limits.settings_hold = Duration::ZERO;
            limits.encoder_table_size = 0;
            limits.max_frame_size = (1 << 24) - 1;
            limits.stream_window = 200_000;
            limits.assembly_budget = 0;
            limits.transmit_budget = 100;
            limits.send_mark = 5000;
            limits.send_budget = 0;
        }
        // A large table, hardly any window.
        4 => {
            limits.header_table_size = 1 << 16;
            limits.encoder_table_size = 1 << 16;
            limits.stream_window = 5;
            limits.connection_window = 65_535;
            limits.max_receive_message = 0;
        }
        // Windows grow.
        _ => {
            limits.stream_window = 100;
            limits.connection_window = 65_535;
            limits.max_window = 1 << 20;
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_choice_is_within_the_ranges() {
        for choice in 0..=255 {
            assert!(grpc_proto::Config::new(super::limits(choice)).is_ok(), "{choice}");
        }
    }
}
