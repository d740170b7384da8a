// One text for each adapter: the module around it says which one `adapter` is. Handshakes that come to no end.

/// Handshakes that are begun, if the descriptors suffice. The tests of both adapters run at the same time.
const STALLED: usize = 3000;
/// Descriptors of both ends of other tests, and of what the server has not accepted or closed yet.
const OTHERS: usize = 1500;

/// Lets the process open as many files as the system allows, and returns how many that are.
fn raise_descriptor_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one struct that they are given.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

#[test]
fn thousands_of_handshakes_without_end_do_not_disturb_a_neighbour() {
    let allowed = raise_descriptor_limit().saturating_sub(2 * OTHERS) / 2;
    // The last one is silent.
    let count = STALLED.min(allowed.max(100)) / 4 * 4;
    if count < STALLED {
        println!("{count} handshakes in the place of {STALLED}: raise the limit of open files (ulimit -Hn)");
    }
    let (server, client) = pair();
    let workers = serve(WorkerOptions::default().tls(server.handshakes(64)));
    let (address, port) = (workers.address(), workers.address().port());
    let target = format!("https://localhost:{port}");
    run(async {
        let neighbour = connect(target.as_str()).tls(client.clone()).await.expect("served");
        let neighbour = GreeterClient::new(neighbour);
        let mut stalled = Vec::new();
        for round in 0..count {
            let mut stream = TcpStream::connect(address).expect("it listens");
            // Those that stop within a record, those that dribble, and those that say nothing.
            if round % 2 == 0 {
                stream.write_all(&[22, 3, 1, 2]).expect("the front of a record");
            }
            stream.set_nonblocking(true).expect("a mode");
            stalled.push(stream);
            if round % 50 == 0 {
                for dribbling in stalled.iter_mut().step_by(4) {
                    // It may have been ended.
                    let _ = dribbling.write(&[0]);
                }
                let begun = Instant::now();
                hello(&neighbour, "").await.expect("it is served");
                assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            }
        }
        // A handshake that goes on gets its place, too.
        assert!(call(&target, Some(&client)).await.is_ok());
        // All are ended but the newest, which are within the limit.
        let timed_out = std::io::ErrorKind::WouldBlock;
        let is_open = |stream: &mut TcpStream| {
            // An alert may come before the end.
            let mut ended = stream.read(&mut [0; 64]);
            while matches!(ended, Ok(1..)) {
                ended = stream.read(&mut [0; 64]);
            }
            matches!(&ended, Err(error) if error.kind() == timed_out)
        };
        let begun = Instant::now();
        let mut open = usize::MAX;
        while open > 64 && begun.elapsed() < Duration::from_secs(20) {
            hello(&neighbour, "").await.expect("it is served");
            open = stalled.iter_mut().map(|stream| usize::from(is_open(stream))).sum();
        }
        assert!((32..=64).contains(&open), "{open} are open");
        assert!(is_open(stalled.last_mut().expect("thousands")), "the newest waits");
    });
    workers.stop(Duration::from_secs(5));
}
