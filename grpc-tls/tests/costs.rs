//! What the layer copies, allocates and holds, by the count of an allocator.

mod common;
#[allow(unreachable_pub)] // it is of another crate
#[path = "../../tests/src/counting.rs"]
mod counting;

use common::*;
use counting::{Counting, live, peak, reset_peak, taken};
use grpc_service::{Endpoint, OUT_MARK};
use grpc_tls::{Session, rustls};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RECORD: usize = 16 << 10;
/// Header, content type and tag of TLS 1.3.
const OVERHEAD: usize = 5 + 1 + 16;
const ROUNDS: usize = 50;

/// Two sessions, the client's and the server's, whose handshake is complete.
fn sessions() -> (Session, Session) {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let authority = Authority::new();
    let own = authority.sign(&["localhost"]);
    let provider = || rustls::crypto::ring::default_provider().into();
    let chain = vec![CertificateDer::from_pem_slice(&own.chain).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&own.key).unwrap();
    let mut server = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority.roots()).unwrap()).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    server.alpn_protocols = vec![b"h2".to_vec()];
    client.alpn_protocols = server.alpn_protocols.clone();
    let mut client = Session::client(client.into(), "localhost".try_into().unwrap()).unwrap();
    let mut server = Session::server(server.into()).unwrap();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let nothing = &mut |_: &[u8]| -> bool { panic!("nobody has said anything") };
    client.open(&mut &mut [][..], &mut to_server, nothing).unwrap();
    while !to_server.is_empty() || !to_client.is_empty() {
        let mut said = std::mem::take(&mut to_server);
        server.open(&mut &mut said[..], &mut to_client, nothing).unwrap();
        let mut said = std::mem::take(&mut to_client);
        client.open(&mut &mut said[..], &mut to_server, nothing).unwrap();
    }
    assert!(client.is_established() && server.is_established());
    (client, server)
}

/// Allocations of `act`, and the most memory that it held at a time beyond what was there before.
fn counted(act: impl FnOnce()) -> (u64, usize) {
    let (before, bytes) = (taken(), live());
    reset_peak();
    act();
    (taken() - before, (peak() - bytes) as usize)
}

#[test]
fn what_is_received_is_copied_by_rustls_once_and_not_by_us() {
    let (mut client, mut server) = sessions();
    let body = vec![7; RECORD];
    for records in [1, 4] {
        for round in 0..ROUNDS {
            let mut wire = Vec::with_capacity(records * (RECORD + OVERHEAD));
            let chunks = std::iter::repeat_n(&body[..], records);
            client.seal(chunks, &mut wire).unwrap();
            let (mut out, mut received) = (Vec::new(), 0);
            let mut input = &mut wire[..];
            let (allocations, most) = counted(|| {
                let deliver = &mut |plaintext: &[u8]| {
                    received += plaintext.len();
                    true
                };
                server.open(&mut input, &mut out, deliver).unwrap();
            });
            assert_eq!((received, input.len(), out.len()), (records * RECORD, 0, 0));
            if round == 0 {
                continue;
            }
            // The plaintext of one record at a time, in memory of rustls.
            assert_eq!(allocations, records as u64, "one a record");
            assert!((RECORD..RECORD + 512).contains(&most), "{most} bytes: one copy of a record");
            // A copy of ours would have to lie somewhere.
            assert_eq!(server.heap_bytes(), 0, "no buffer of ours");
        }
    }
}

#[test]
fn a_record_in_pieces_becomes_whole_in_a_buffer_that_stays() {
    let (mut client, mut server) = sessions();
    let body = vec![7; RECORD];
    for round in 0..ROUNDS {
        let (mut wire, mut out, mut received) = (Vec::new(), Vec::new(), 0);
        client.seal([&body[..]].into_iter(), &mut wire).unwrap();
        let (allocations, _) = counted(|| {
            for mut piece in wire.chunks_mut(1000) {
                let deliver = &mut |plaintext: &[u8]| {
                    received += plaintext.len();
                    true
                };
                server.open(&mut piece, &mut out, deliver).unwrap();
            }
        });
        assert_eq!(received, RECORD);
        assert!(round == 0 || allocations == 1, "{allocations}: one of rustls");
        assert!(server.heap_bytes() <= 2 * (RECORD + OVERHEAD), "{} bytes", server.heap_bytes());
    }
    server.trim();
    assert_eq!(server.heap_bytes(), 0);
}

#[test]
fn what_is_sent_is_gathered_at_most_once() {
    let (mut client, _) = sessions();
    // Chunks, records that they make, and whether they are gathered before rustls seals them.
    let cases: [(&[usize], u64, bool); 5] = [
        (&[RECORD], 1, false),
        (&[4 * RECORD], 4, false),
        (&[RECORD, RECORD], 2, false),
        (&[9, 100, 9, 100], 1, true),
        (&[9, RECORD, 100], 2, true),
    ];
    let mut wire = Vec::with_capacity(8 * RECORD);
    for (lengths, records, gathered) in cases {
        let chunks: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![7; length]).collect();
        client.trim();
        for round in 0..ROUNDS {
            wire.clear();
            let (allocations, most) = counted(|| {
                client.seal(chunks.iter().map(|chunk| &chunk[..]), &mut wire).unwrap();
            });
            let bytes: usize = lengths.iter().sum();
            assert_eq!(wire.len(), bytes + records as usize * OVERHEAD, "records are full");
            assert_eq!(client.heap_bytes() > 0, gathered, "{lengths:?}");
            assert!(client.heap_bytes() <= 2 * RECORD, "{} bytes", client.heap_bytes());
            if round == 0 {
                continue;
            }
            // The buffer that gathers stays: what is left is of rustls.
            assert_eq!(allocations, ALLOCATIONS_OF_SEALING * records, "{lengths:?}");
            assert!(most <= 2 * (RECORD + 512) * records as usize, "{lengths:?}: {most} bytes");
        }
    }
}

/// What rustls 0.23 takes for each record that it seals.
const ALLOCATIONS_OF_SEALING: u64 = 1;

/// The most that a connection holds for TLS at rest, with the state of rustls and the session's ticket, but for the
/// certificates of its peer.
const AT_REST: usize = 12 << 10;
/// The most that this layer holds at any time: the front of a handshake's message over several records, or of one record; a
/// record that waits for room, and one that gathers chunks; the output of a turn before it is sealed. Vectors double.
const MOST: usize = 2 * ((64 << 10) + RECORD + 512) + 2 * RECORD + 2 * RECORD + 2 * OUT_MARK;

#[test]
fn a_connection_with_tls_at_rest_holds_what_the_formula_says() {
    let (server, client) = plain_pair();
    let talker = || Talker { to_send: vec![7; 100_000], ..Talker::default() };
    let mut ends = Vec::new();
    // The tables of configurations, such as the one of tickets, are there after the first.
    for connection in 0..6 {
        let before = live();
        let (mut c, mut s) =
            (client_end(&client, "localhost", talker()), server_end(&server, talker()));
        talk(&mut c, &mut s, || 1000);
        assert_eq!((c.received().len(), s.received().len()), (100_000, 100_000));
        for end in [&mut c, &mut s] {
            let inner = end.tls.inner().unwrap();
            *inner = Talker { trimmed: true, ..Talker::default() };
            end.turn(0);
            assert_eq!(end.tls.heap_bytes(), 0, "nothing of ours");
            (end.inbox, end.out) = (Vec::new(), grpc_proto::Transmit::new());
        }
        let chains: usize = [&c, &s]
            .iter()
            .flat_map(|end| end.peer().unwrap().certificates)
            .map(|certificate| certificate.len())
            .sum();
        let each = (live() - before) as usize / 2;
        println!("connection {connection}: {each} bytes a side, {chains} of certificates");
        assert!(each <= AT_REST + 2 * chains, "{each} bytes");
        ends.push((c, s));
    }
}

#[test]
fn a_peer_makes_a_connection_with_tls_hold_no_more_than_the_formula() {
    let (server, client) = plain_pair();
    let mut most = 0;
    let mut watch = |end: &End| {
        most = most.max(end.tls.heap_bytes());
        assert!(end.tls.heap_bytes() <= MOST, "{} bytes", end.tls.heap_bytes());
    };
    // A message of the handshake that does not end, in full records: refused beyond 64 KiB.
    let mut s = server_end(&server, Talker::default());
    let mut reported = vec![1, 0, 0xff, 0xff];
    while s.outcome.is_none() && reported.len() < 1 << 20 {
        reported.resize(RECORD, 0);
        let mut record = vec![22, 3, 1, (RECORD >> 8) as u8, RECORD as u8];
        record.append(&mut reported);
        for byte in record.chunks(1000) {
            s.inbox.extend_from_slice(byte);
            s.turn(usize::MAX);
            watch(&s);
            if s.outcome.is_some() {
                break;
            }
        }
    }
    assert!(s.peer().is_err());
    // Full records, byte by byte, to an endpoint whose output is full.
    let question = vec![b'q'; 3 * RECORD];
    let amplify = Talker { amplify: 20, ..Talker::default() };
    let say = Talker { to_send: question.clone(), ..Talker::default() };
    let (mut c, mut s) = (client_end(&client, "localhost", say), server_end(&server, amplify));
    let mut quiet = 0;
    while quiet < 2 {
        let said = c.turn(usize::MAX);
        s.inbox.extend(said);
        let bytes = s.inbox.len();
        let answer = s.turn(1);
        watch(&s);
        watch(&c);
        quiet = if bytes == 0 && answer.is_empty() { quiet + 1 } else { 0 };
        c.inbox.extend(answer);
    }
    assert_eq!(c.received().len(), 20 * question.len());
    println!("the most was {most} of {MOST} bytes");
    assert!(most > MOST / 20, "the bound is of the right size");
    s.tls.abort(s.now);
}
