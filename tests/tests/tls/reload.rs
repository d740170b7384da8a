// One text for each adapter: the module around it says which one `adapter` is. Certificates are replaced under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use grpc_service::Host;

/// Connections that carry the load, each of them with a call every [`GAP`]: a thousand calls a second.
const CONNECTIONS: u64 = 8;
const GAP: Duration = Duration::from_millis(8);
/// Calls between two replacements.
const CALLS_A_ROUND: u64 = 250;
/// Calls after which a connection gives way to a new one, so that handshakes happen at any time.
const CALLS_A_CONNECTION: u64 = 40;

/// Calls that somebody else makes meanwhile.
#[derive(Default)]
struct Load {
    calls: AtomicU64,
    handshakes: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    /// Calls over connections of its own until the load is over.
    async fn carry(&self, target: &str, tls: &ClientTls, host: &Rc<dyn Host>) -> Result<(), Status> {
        let mut next = host.now();
        while !self.is_over.load(Ordering::Relaxed) {
            let greeter = GreeterClient::new(connect(target).tls(tls.clone()).await.map_err(CallError::into_status)?);
            self.handshakes.fetch_add(1, Ordering::Relaxed);
            for _ in 0..CALLS_A_CONNECTION {
                hello(&greeter, "").await?;
                self.calls.fetch_add(1, Ordering::Relaxed);
                // A closed loop: a call that is late delays the next one.
                next = (next + GAP).max(host.now());
                host.timer(next).await;
            }
        }
        Ok(())
    }

    /// Waits for so many calls from now on.
    fn pass(&self, calls: u64) {
        let (until, begun) = (self.calls.load(Ordering::Relaxed) + calls, Instant::now());
        while self.calls.load(Ordering::Relaxed) < until {
            assert!(begun.elapsed() < Duration::from_secs(60), "the calls do not go on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The load on a thread of its own, which returns what its calls failed with.
fn start_load(load: Arc<Load>, target: String, tls: ClientTls) -> std::thread::JoinHandle<Vec<Status>> {
    std::thread::spawn(move || {
        run(async move {
            let (host, failed) = (AdapterHost::new(), Rc::new(std::cell::RefCell::new(Vec::new())));
            let under_way = Rc::new(std::cell::Cell::new(CONNECTIONS));
            for _ in 0..CONNECTIONS {
                let (load, target, tls) = (Arc::clone(&load), target.clone(), tls.clone());
                let (own, failed) = (Rc::clone(&host), Rc::clone(&failed));
                let under_way = Rc::clone(&under_way);
                host.spawn(Box::pin(async move {
                    if let Err(status) = load.carry(&target, &tls, &own).await {
                        failed.borrow_mut().push(status);
                    }
                    under_way.set(under_way.get() - 1);
                }));
            }
            while under_way.get() > 0 {
                host.timer(host.now() + GAP).await;
            }
            failed.take()
        })
    })
}

#[test]
fn certificates_are_replaced_under_load_and_no_call_fails() {
    let authorities: Vec<Authority> = (0..11).map(|_| Authority::new()).collect();
    let certificate = |round: usize| authorities[round].sign(&["localhost"]);
    let trusting =
        |round: usize| ClientTls::with_roots(&authorities[round].roots()).expect("roots");
    let first = certificate(0);
    let server = ServerTls::from_pem(&first.chain, &first.key).expect("a certificate");
    let workers = serve(WorkerOptions::default().tls(server.clone()));
    let target = format!("https://localhost:{}", workers.address().port());

    let all: Vec<u8> = authorities.iter().flat_map(|authority| authority.roots()).collect();
    let load = Arc::new(Load::default());
    let tls = ClientTls::with_roots(&all).expect("roots");
    let carrying = start_load(Arc::clone(&load), target.clone(), tls);
    load.pass(CALLS_A_ROUND);

    let begun = Instant::now();
    let (calls, handshakes) = (load.calls.load(Ordering::Relaxed), &load.handshakes);
    let shaken = handshakes.load(Ordering::Relaxed);
    let mut shown = 0;
    for round in 1..=10 {
        let new = certificate(round);
        if round == 5 {
            let broken = &new.chain[..new.chain.len() / 2];
            let error = server.replace_certificate(broken, &new.key).expect_err("cut in two");
            assert!(error.to_string().contains("certificate"), "{error}");
            let other = certificate(round).key;
            let error = server.replace_certificate(&new.chain, &other).expect_err("another's key");
            assert!(error.to_string().contains("key"), "{error}");
        } else {
            server.replace_certificate(&new.chain, &new.key).expect("a certificate");
            shown = round;
        }
        run(call(&target, Some(&trusting(shown)))).expect("the new certificate is shown");
        let stale = trusting(if shown == round { round - 1 } else { round });
        let error = run(call(&target, Some(&stale))).expect_err("it is another authority's");
        assert!(error.message().contains("UnknownIssuer"), "{error:?}");
        load.pass(CALLS_A_ROUND);
    }
    let took = begun.elapsed();
    let calls = load.calls.load(Ordering::Relaxed) - calls;
    let shaken = handshakes.load(Ordering::Relaxed) - shaken;
    println!("{calls} calls and {shaken} handshakes in {took:?}");
    assert!(shaken >= 10, "the load shakes hands, too: {shaken}");

    load.is_over.store(true, Ordering::Relaxed);
    let failed = carrying.join().expect("the load does not panic");
    assert!(failed.is_empty(), "{failed:?}");
    workers.stop(Duration::from_secs(5));
}
