use alloc::vec::Vec;

use super::*;

const START: Instant = Instant::from_millis(1000);

fn estimate(stream_window: u32, connection_window: u32, max_window: u32) -> Estimate {
    let mut limits = Limits::default();
    (limits.stream_window, limits.connection_window) = (stream_window, connection_window);
    limits.max_window = max_window;
    Estimate::new(&limits)
}

/// One sample of `bytes` on one stream, with a round trip of `millis`, as soon as one is due.
fn sample(estimate: &mut Estimate, now: &mut Instant, bytes: u32, millis: u64) -> Option<u32> {
    if let Phase::Resting(until) = estimate.phase {
        *now = (*now).max(until);
    }
    estimate.on_data(bytes, *now);
    assert!(estimate.is_due(), "{estimate:?}");
    estimate.on_stream(bytes);
    estimate.on_sent(*now);
    *now = *now + Duration::from_millis(millis);
    estimate.on_ack(MAX_WINDOW, *now)
}

#[test]
fn without_a_cap_above_the_window_nothing_is_sampled() {
    for cap in [0, 1, 65_534, 65_535] {
        let mut estimate = estimate(65_535, 1 << 20, cap);
        estimate.on_settled();
        estimate.on_data(1 << 20, START);
        assert!(!estimate.is_on() && !estimate.is_due());
        assert_eq!((estimate.stream_window(), estimate.connection_window()), (65_535, 1 << 20));
    }
}

#[test]
fn nothing_is_sampled_before_our_settings_are_acknowledged_or_for_empty_data() {
    let mut estimate = estimate(65_535, 1 << 20, 1 << 20);
    estimate.on_data(1, START);
    assert!(!estimate.is_due());
    estimate.on_settled();
    estimate.on_data(0, START);
    assert!(!estimate.is_due());
    estimate.on_data(1, START);
    assert!(estimate.is_due());
}

/// A window that was opened for a message grows by as much as all do, and the peer holds it against 2³¹ − 1.
#[test]
fn no_window_grows_past_the_largest_there_is() {
    for (room, grown) in [(65_534, None), (65_535, Some(131_070))] {
        let mut estimate = estimate(65_535, 65_535, 500_000);
        estimate.on_settled();
        estimate.on_data(65_535, START);
        estimate.on_stream(65_535);
        estimate.on_sent(START);
        assert_eq!(estimate.on_ack(room, START + Duration::from_millis(100)), grown);
    }
}

#[test]
fn a_window_that_is_used_up_in_each_round_trip_doubles_up_to_the_cap_and_is_then_left_alone() {
    let mut estimate = estimate(65_535, 65_535, 500_000);
    let mut now = START;
    for grown in [131_070, 262_140, 500_000] {
        estimate.on_settled();
        let window = estimate.stream_window();
        assert_eq!(sample(&mut estimate, &mut now, window, 100), Some(grown));
        assert_eq!(estimate.connection_window(), grown, "one stream can use all it is let");
    }
    estimate.on_settled();
    assert!(!estimate.is_on());
}

#[test]
fn two_thirds_of_a_window_are_most_of_it() {
    for (bytes, grown) in [(59_999, None), (60_000, Some(180_000))] {
        let mut estimate = estimate(90_000, 1 << 20, 1 << 20);
        estimate.on_settled();
        assert_eq!(sample(&mut estimate, &mut START.clone(), bytes, 100), grown);
    }
}

#[test]
fn what_came_while_the_ping_was_out_counts_and_what_came_before_the_sample_does_not() {
    let mut estimate = estimate(90_000, 1 << 20, 1 << 20);
    estimate.on_data(50_000, START);
    estimate.on_settled();
    estimate.on_data(20_000, START);
    estimate.on_stream(20_000);
    estimate.on_sent(START);
    estimate.on_data(40_000, START);
    estimate.on_stream(60_000);
    assert_eq!(estimate.on_ack(MAX_WINDOW, START + Duration::from_millis(50)), Some(180_000));
    assert_eq!(estimate.total, 60_000);
}

#[test]
fn bytes_that_take_longer_do_not_widen_a_window() {
    let mut estimate = estimate(65_535, 65_535, 1 << 24);
    let mut now = START;
    estimate.on_settled();
    assert!(sample(&mut estimate, &mut now, 65_535, 100).is_some());
    estimate.on_settled();
    // Twice the bytes in twice the time: a queue has grown, and a bit of noise is no more speed either.
    assert_eq!(sample(&mut estimate, &mut now, 131_070, 200), None);
    assert_eq!(sample(&mut estimate, &mut now, 131_070, 161), None);
    assert_eq!(sample(&mut estimate, &mut now, 131_070, 159), Some(262_140));
}

#[test]
fn many_streams_that_share_a_round_trip_widen_the_window_of_the_connection_alone() {
    let mut estimate = estimate(65_535, 90_000, 1 << 20);
    estimate.on_settled();
    estimate.on_data(60_000, START);
    estimate.on_stream(600);
    estimate.on_sent(START);
    assert_eq!(estimate.on_ack(MAX_WINDOW, START + Duration::from_millis(100)), None);
    assert_eq!((estimate.stream_window(), estimate.connection_window()), (65_535, 180_000));
    // Nothing has to be acknowledged first.
    estimate.on_data(1, START + Duration::from_millis(100));
    assert!(estimate.is_due());
}

#[test]
fn samples_that_change_nothing_rest_twice_as_long_up_to_ten_seconds() {
    let mut estimate = estimate(65_535, 1 << 20, 1 << 20);
    estimate.on_settled();
    let mut now = START;
    let mut rests = Vec::new();
    for _ in 0..9 {
        assert_eq!(sample(&mut estimate, &mut now, 1000, 1), None);
        let Phase::Resting(until) = estimate.phase else { panic!("{estimate:?}") };
        rests.push((until - now).as_millis());
        estimate.on_data(1000, Instant::from_nanos(until.as_nanos() - 1));
        assert!(!estimate.is_due());
    }
    assert_eq!(rests, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    // What widens a window ends the rest.
    assert_eq!(sample(&mut estimate, &mut now, 65_535, 1), Some(131_070));
    assert_eq!(sample_rest(&mut estimate, &mut now), Duration::from_millis(100));
}

fn sample_rest(estimate: &mut Estimate, now: &mut Instant) -> Duration {
    estimate.on_settled();
    assert_eq!(sample(estimate, now, 1000, 1), None);
    estimate.rest
}

#[test]
fn a_ping_that_is_not_acknowledged_leaves_everything_as_it_is() {
    let mut estimate = estimate(65_535, 1 << 20, 1 << 20);
    estimate.on_settled();
    estimate.on_data(65_535, START);
    estimate.on_sent(START);
    for n in 1..1000 {
        estimate.on_data(u32::MAX, START + Duration::from_secs(n));
        estimate.on_settled();
        assert!(estimate.is_out() && !estimate.is_due());
    }
    assert_eq!(estimate.stream_window(), 65_535);
}

#[test]
fn a_round_trip_of_no_time_and_windows_of_any_size_do_no_harm() {
    for window in [0, 1, 5, (1 << 31) - 2] {
        let mut estimate = estimate(window, 65_535, (1 << 31) - 1);
        let mut now = START;
        while estimate.is_on() {
            estimate.on_settled();
            if estimate.is_on() {
                let before = estimate.stream_window();
                let grown = sample(&mut estimate, &mut now, before.max(1), 0);
                assert!(grown.is_some_and(|grown| grown > before), "{estimate:?}");
            }
        }
        assert_eq!(estimate.stream_window(), (1 << 31) - 1);
    }
}
