use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use proptest::prelude::*;

use super::*;
use crate::Peer;

fn peer(address: &str) -> Peer {
    Peer::from(SocketAddr::new(address.parse().expect("an address"), 1))
}

fn limits(connections: u32, worker: u32, address: u32) -> SharedLimits {
    SharedLimits::new(ServingLimits {
        connections,
        connections_per_worker: worker,
        connections_per_address: address,
        ..ServingLimits::default()
    })
}

#[test]
fn each_limit_admits_so_many_and_refuses_the_next_by_its_name() {
    let shared = limits(3, 2, 9);
    let doors = [Door::new(shared.clone()), Door::new(shared.clone())];
    let first = doors[0].admit(&peer("10.0.0.1")).unwrap();
    let _second = doors[0].admit(&peer("10.0.0.2")).unwrap();
    let refused = doors[0].admit(&peer("10.0.0.3")).unwrap_err();
    assert_eq!(refused, ConnectionLimit::Worker);
    let _third = doors[1].admit(&peer("10.0.0.4")).unwrap();
    assert_eq!(doors[1].admit(&peer("10.0.0.5")).unwrap_err(), ConnectionLimit::Process);
    drop(first);
    assert_eq!(shared.open(), 2);
    let _again = doors[0].admit(&peer("10.0.0.6")).unwrap();
    shared.change(|limits| (limits.connections, limits.connections_per_address) = (9, 1));
    let _other = doors[1].admit(&peer("10.0.0.7")).unwrap();
    let refused = Door::new(shared.clone()).admit(&peer("10.0.0.7")).unwrap_err();
    assert_eq!(refused, ConnectionLimit::Address);
    assert!(refused.to_string().contains("connections_per_address"), "{refused}");
}

#[test]
fn an_address_is_one_of_ipv4_or_a_network_of_64_bits_of_ipv6() {
    let same = [
        ("10.0.0.1", "::ffff:10.0.0.1", true),
        ("10.0.0.1", "10.0.0.2", false),
        ("2001:db8:1:2::3", "2001:db8:1:2:ffff::", true),
        ("2001:db8:1:2::3", "2001:db8:1:3::3", false),
    ];
    for (one, other, is_same) in same {
        let door = Door::new(limits(9, 9, 1));
        let _seat = door.admit(&peer(one)).unwrap();
        assert_eq!(door.admit(&peer(other)).is_err(), is_same, "{one} {other}");
    }
    let door = Door::new(limits(9, 9, 0));
    assert!(door.admit(&Peer::memory()).is_ok(), "it has no address");
}

#[test]
fn as_many_have_to_leave_as_exceed_a_lowered_limit() {
    for (lower, limit) in [
        (limits(2, 9, 9).get(), ConnectionLimit::Process),
        (limits(9, 2, 9).get(), ConnectionLimit::Worker),
        (limits(9, 9, 2).get(), ConnectionLimit::Address),
    ] {
        let shared = limits(9, 9, 9);
        let door = Door::new(shared.clone());
        let mut seats: Vec<_> = (0..5).map(|_| door.admit(&peer("10.0.0.1")).unwrap()).collect();
        assert!(seats.iter().all(|seat| seat.must_leave().is_none()));
        shared.set(lower);
        let leaving: Vec<_> = seats.iter().filter_map(Seat::must_leave).collect();
        assert_eq!(leaving, [limit; 3]);
        assert!(seats.iter().all(|seat| seat.must_leave().is_none()), "once");
        assert!(door.admit(&peer("10.0.0.1")).is_err(), "those that leave are still there");
        seats.truncate(1);
        assert!(door.admit(&peer("10.0.0.1")).is_ok());
    }
}

struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_change_wakes_each_watch_and_is_seen_once() {
    let shared = SharedLimits::default();
    let wakes = Arc::new(Counting(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    let cx = Context::from_waker(&waker);
    let (mut first, mut second) = (shared.watch(), shared.watch());
    assert!(!first.poll_changed(&cx) && !second.poll_changed(&cx) && !first.poll_changed(&cx));
    shared.change(|limits| limits.connections = 1);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    assert!(first.poll_changed(&cx) && second.poll_changed(&cx) && !first.poll_changed(&cx));
    drop(first);
    shared.change(|limits| limits.connections = 2);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 3);
}

proptest! {
    /// Whatever comes, leaves and is lowered: no more are admitted than may be, and nothing is left in the end.
    #[test]
    fn counts_follow_connections(
        steps in proptest::collection::vec((0u8..4, 0u8..4, 0u32..5), 1..100),
    ) {
        let shared = limits(5, 4, 3);
        let doors = [Door::new(shared.clone()), Door::new(shared.clone())];
        let mut seats = Vec::new();
        for (step, who, number) in steps {
            match step {
                0 | 1 => {
                    let (before, most) = (seats.len() as u32, shared.get().connections);
                    let address = format!("10.0.0.{}", who / 2);
                    let seat = doors[usize::from(who % 2)].admit(&peer(&address));
                    prop_assert!(seat.is_err() || before < most);
                    seats.extend(seat);
                }
                2 if !seats.is_empty() => drop(seats.swap_remove(number as usize % seats.len())),
                _ => {
                    shared.set(limits(number + 1, number, u32::from(who)).get());
                    let left = seats.iter().filter(|seat| seat.must_leave().is_some()).count();
                    let staying = shared.lock().open.all() as usize - seats.iter().filter(|seat| seat.is_leaving()).count();
                    prop_assert!(staying <= number as usize + 1 && left <= seats.len());
                }
            }
            prop_assert_eq!(shared.open() as usize, seats.len());
        }
        drop(seats);
        prop_assert_eq!(shared.open(), 0);
        prop_assert!(shared.lock().addresses.is_empty(), "no address is remembered");
    }
}
