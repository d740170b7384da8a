//! Rule 35: windows that follow what a round trip carries, measured by PINGs, in both roles.

use grpc_proto::{Client, Limits, Reason, Role, Server, Violation};

use crate::harness::{Bench, cancelled, client_with, server, server_with};
use crate::wire::*;

/// What both roles do as the receiver of a stream.
trait Receiver {
    /// Opens stream 1, on which the peer may send.
    fn begin(&mut self);
    fn receive(&mut self, bytes: Vec<u8>);
}

impl Receiver for Bench<Server> {
    fn begin(&mut self) {
        self.open(1, 0);
        self.sent();
    }

    fn receive(&mut self, bytes: Vec<u8>) {
        self.feed(bytes);
        self.expect_open();
    }
}

impl Receiver for Bench<Client> {
    fn begin(&mut self) {
        self.open();
        self.feed(headers(1, 0, &response()));
        self.sent();
    }

    fn receive(&mut self, bytes: Vec<u8>) {
        self.feed(bytes);
        self.expect_open();
    }
}

/// Windows that may grow from 64 KiB to four times that; the connection's begins there too.
fn growing(limits: &mut Limits) {
    limits.stream_window = 65_536;
    limits.connection_window = 65_536;
    limits.max_window = 262_144;
}

/// Whole messages of about 16 KiB each in a frame of their own, `bytes` in all.
fn burst(stream: u32, bytes: usize) -> Vec<u8> {
    let frames = std::iter::repeat_n(16_384, bytes / 16_384).chain([bytes % 16_384]);
    frames
        .filter(|&len| len > 0)
        .flat_map(|len| data(stream, 0, &message(&vec![7; len - 5])))
        .collect()
}

/// The PING among what was sent, and that nothing stands behind it and the connection's credit before it.
#[track_caller]
fn ping_behind_credit(sent: &[Sent]) -> [u8; 8] {
    let at = sent.iter().position(|frame| matches!(frame, Sent::Ping(_)));
    let at = at.unwrap_or_else(|| panic!("no PING in {sent:?}"));
    assert!(matches!(sent[at - 1], Sent::WindowUpdate { stream: 0, .. }), "{sent:?}");
    match sent[at] {
        Sent::Ping(payload) if !sent[at + 1..].iter().any(|f| matches!(f, Sent::Ping(_))) => {
            payload
        }
        _ => panic!("more than one PING in {sent:?}"),
    }
}

fn ping_ack(payload: [u8; 8]) -> Vec<u8> {
    frame(PING, ACK, 0, &payload)
}

fn has_ping(sent: &[Sent]) -> bool {
    sent.iter().any(|frame| matches!(frame, Sent::Ping(_)))
}

#[test]
fn rule_35_windows_are_fixed_and_no_ping_estimates_them_unless_a_cap_says_so() {
    server(|bench| {
        let call = bench.open(1, 0);
        // More than the connection's window once over, and the stream's many times.
        for _ in 0..70 {
            bench.feed(data(1, 0, &message(&[7; 16_000])));
            let opened: u32 = bench
                .sent()
                .iter()
                .map(|frame| match frame {
                    Sent::WindowUpdate { increment, .. } => *increment,
                    other => panic!("{other:?}"),
                })
                .sum();
            assert!(opened <= (1 << 20) + 65_535);
        }
        bench.conn.release(call);
    });
}

#[test]
fn rule_35_the_ping_goes_out_behind_a_window_update_however_small_it_is() {
    fn case<R: Role>(bench: &mut Bench<R>)
    where
        Bench<R>: Receiver,
    {
        bench.begin();
        // Far from half a window: without the PING nothing would be said.
        bench.receive(burst(1, 100));
        let sent = bench.sent();
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!(sent[0], Sent::WindowUpdate { stream: 0, increment: 100 });
        ping_behind_credit(&sent);
    }
    server_with(growing, case);
    client_with(growing, case);
}

#[test]
fn rule_35_a_ping_waits_until_there_is_credit_to_give() {
    server_with(growing, |bench| {
        bench.begin();
        let frame = burst(1, 100);
        bench.receive(frame[..9].to_vec());
        assert_eq!(bench.sent(), [], "a frame header alone has given nothing back");
        bench.receive(frame[9..].to_vec());
        ping_behind_credit(&bench.sent());
    });
}

#[test]
fn rule_35_a_window_that_is_used_up_in_a_round_trip_doubles_up_to_its_cap() {
    fn case<R: Role>(bench: &mut Bench<R>)
    where
        Bench<R>: Receiver,
    {
        bench.begin();
        let mut now = 1000;
        for (window, grown) in [(65_536u32, 131_072), (131_072, 262_144)] {
            bench.set_millis(now);
            bench.receive(burst(1, window as usize));
            let sent = bench.sent();
            let payload = ping_behind_credit(&sent);
            assert!(sent.contains(&Sent::WindowUpdate { stream: 0, increment: window }));
            assert!(sent.contains(&Sent::WindowUpdate { stream: 1, increment: window }));
            now += 100;
            bench.set_millis(now);
            bench.receive(ping_ack(payload));
            let sent = bench.sent();
            let more = Sent::WindowUpdate { stream: 0, increment: grown - window };
            assert_eq!(sent, [Sent::Settings(vec![(4, grown)]), more]);
            bench.receive(settings_ack());
            assert_eq!(bench.conn.session().recv_base(), grown);
        }
        // As large as it may be: nothing is measured any more.
        for _ in 0..2 {
            now += 100;
            bench.set_millis(now);
            bench.receive(burst(1, 262_144));
            assert!(!has_ping(&bench.sent()));
        }
        bench.expect_open();
    }
    server_with(growing, case);
    client_with(growing, case);
}

#[test]
fn rule_35_the_larger_window_holds_for_open_streams_and_new_ones_and_not_a_byte_more() {
    for (stream, past) in [(1, 0), (1, 1), (3, 0), (3, 1), (5, 0), (5, 1)] {
        server_with(
            |limits| {
                growing(limits);
                limits.connection_window = 1 << 20;
                limits.manual_credit = true;
            },
            |bench| {
                let calls = [bench.open(1, 0), bench.open(3, 0)];
                bench.sent();
                bench.receive(burst(1, 65_536));
                let payload = ping_behind_credit(&bench.sent());
                bench.conn.grant(calls[0], 65_536);
                bench.receive(ping_ack(payload));
                let sent = bench.sent();
                assert!(sent.contains(&Sent::Settings(vec![(4, 131_072)])), "{sent:?}");
                // The peer has read our SETTINGS: it may count with them before its acknowledgement is here.
                bench.open(5, 0);
                let events = bench.feed(burst(stream, 131_072));
                assert_eq!(events.len(), 8);
                let events = bench.feed(data(stream, 0, &vec![0; past]));
                if past > 0 {
                    let overrun = Reason::PeerMisbehaved(Violation::StreamWindowOverrun);
                    assert_eq!(cancelled(&events), &overrun);
                } else {
                    assert_eq!(events, []);
                }
                bench.receive(settings_ack());
            },
        );
    }
}

#[test]
fn rule_35_a_window_that_is_not_the_limit_stays() {
    fn case<R: Role>(bench: &mut Bench<R>)
    where
        Bench<R>: Receiver,
    {
        bench.begin();
        let mut now = 1000;
        for _ in 0..20 {
            bench.set_millis(now);
            // A third of the window in each round trip.
            bench.receive(burst(1, 21_845));
            let sent = bench.sent();
            now += 100;
            bench.set_millis(now);
            if has_ping(&sent) {
                bench.receive(ping_ack(ping_behind_credit(&sent)));
                assert_eq!(bench.sent(), []);
            }
        }
        assert_eq!(bench.conn.session().stream_window(), 65_536);
        assert_eq!(bench.conn.session().connection_window(), 65_536);
    }
    server_with(growing, case);
    client_with(growing, case);
}

#[test]
fn rule_35_many_streams_widen_the_connections_window_and_not_their_own() {
    server_with(growing, |bench| {
        for n in 0..8 {
            bench.open(2 * n + 1, 0);
        }
        bench.sent();
        bench.set_millis(1000);
        bench.receive((0..8).flat_map(|n| burst(2 * n + 1, 8192)).collect());
        let payload = ping_behind_credit(&bench.sent());
        bench.set_millis(1100);
        bench.receive(ping_ack(payload));
        assert_eq!(bench.sent(), [Sent::WindowUpdate { stream: 0, increment: 65_536 }]);
    });
}

#[test]
fn rule_35_one_ping_at_most_is_out_and_none_while_nothing_comes() {
    fn case<R: Role>(bench: &mut Bench<R>)
    where
        Bench<R>: Receiver,
    {
        bench.begin();
        bench.receive(burst(1, 1000));
        let payload = ping_behind_credit(&bench.sent());
        for n in 1..50 {
            bench.set_millis(1000 * n);
            bench.receive(burst(1, 100));
            assert!(!has_ping(&bench.sent()), "the first is still out");
        }
        bench.receive(ping_ack(payload));
        for n in 50..1000 {
            bench.set_millis(1000 * n);
            bench.receive(Vec::new());
            assert_eq!(bench.sent(), [], "nothing comes");
        }
        bench.receive(burst(1, 1000));
        assert_ne!(ping_behind_credit(&bench.sent()), payload, "each has a payload of its own");
    }
    let quiet = |limits: &mut Limits| {
        growing(limits);
        limits.progress_timeout = std::time::Duration::from_secs(3600);
    };
    server_with(quiet, case);
    client_with(quiet, case);
}

#[test]
fn rule_35_pings_that_change_nothing_become_rare() {
    client_with(growing, |bench| {
        bench.begin();
        let mut pings = 0;
        for n in 0..60_000 / 20 {
            bench.set_millis(20 * n);
            bench.receive(burst(1, 50));
            let sent = bench.sent();
            if has_ping(&sent) {
                pings += 1;
                bench.receive(ping_ack(ping_behind_credit(&sent)));
            }
        }
        // After 0.1, 0.2 ... 6.4 seconds, then each ten.
        assert_eq!(pings, 8 + 4);
    });
}

#[test]
fn rule_35_only_the_acknowledgement_of_its_own_ping_ends_a_sample() {
    server_with(
        |limits| {
            growing(limits);
            limits.keepalive = Some(std::time::Duration::from_secs(30));
        },
        |bench| {
            bench.begin();
            bench.receive(burst(1, 65_536));
            let sample = ping_behind_credit(&bench.sent());
            bench.set_millis(30_000);
            bench.feed(b"");
            let sent = bench.sent();
            let [Sent::Ping(keepalive)] = sent[..] else { panic!("no keepalive: {sent:?}") };
            bench.conn.shutdown(bench.now);
            let sent = bench.sent();
            let [Sent::GoAway { .. }, Sent::Ping(drain)] = sent[..] else { panic!("{sent:?}") };
            assert!(sample != keepalive && sample != drain);
            // Neither of the others, nor anything that was never sent, is taken for it.
            bench.receive([ping_ack(keepalive), ping_ack(drain), ping_ack([0; 8])].concat());
            assert_eq!(bench.conn.session().stream_window(), 65_536);
            // And it is taken for neither of them: one keepalive was answered, the next one waits.
            bench.receive(burst(1, 10));
            bench.set_millis(60_000);
            bench.feed(b"");
            bench.sent();
            bench.receive(ping_ack(sample));
            assert_eq!(bench.conn.session().stream_window(), 131_072);
            bench.set_millis(80_000);
            bench.feed(b"");
            let timed_out = grpc_proto::ConnectionError::TimedOut(grpc_proto::TimedOut::Keepalive);
            assert_eq!(bench.error, Some(timed_out));
        },
    );
}

#[test]
fn rule_35_a_peer_that_is_slow_to_acknowledge_settings_is_waited_for() {
    server_with(growing, |bench| {
        bench.begin();
        bench.receive(burst(1, 65_536));
        let payload = ping_behind_credit(&bench.sent());
        bench.set_millis(100);
        bench.receive(ping_ack(payload));
        bench.sent();
        // Hours: the connection goes on under the larger window, and nothing more is measured.
        for n in 1..4 {
            bench.set_millis(3_600_000 * n);
            bench.receive(burst(1, 131_072));
            assert!(!has_ping(&bench.sent()));
        }
        bench.receive(settings_ack());
        bench.receive(burst(1, 131_072));
        assert!(has_ping(&bench.sent()));
    });
}

#[test]
fn rule_35_pings_are_forgiven_by_a_server_that_forgives_two_because_they_follow_its_data() {
    // Both ends are ours: the server counts PINGs as gRFC A8 has it.
    let mut limits = Limits::default();
    growing(&mut limits);
    let estimating = grpc_proto::Config::new(limits).expect("limits");
    let mut now = grpc_proto::Instant::ZERO;
    let mut client = grpc_proto::Connection::<Client>::new(&estimating, 1, now);
    let mut server = grpc_proto::Connection::<Server>::new(&Default::default(), 2, now);
    let head = grpc_proto::CallHead::new("/a/b", "localhost");
    client.call(&head, None, now).expect("a call");
    let mut out = grpc_proto::Transmit::new();
    let mut call = None;
    for _ in 0..6000 {
        now = now + std::time::Duration::from_millis(10);
        if let Some(call) = call {
            server.send_encoded(call, vec![7; 1000].into(), false).expect("room");
        }
        for _ in 0..2 {
            client.poll_transmit(&mut out, now);
            let bytes = out.chunks().collect::<Vec<_>>().concat();
            out.clear();
            let mut input = &bytes[..];
            while let Some(event) = server.poll_event(&mut input, now).expect("no strike") {
                if let grpc_proto::server::Event::Request(key, _) = event {
                    call = Some(key);
                }
            }
            server.poll_transmit(&mut out, now);
            let bytes = out.chunks().collect::<Vec<_>>().concat();
            out.clear();
            let mut input = &bytes[..];
            while client.poll_event(&mut input, now).expect("no strike").is_some() {}
        }
    }
    assert!(server.stats().pings_received >= 10, "{:?}", server.stats());
}
