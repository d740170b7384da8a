//! TLS in both roles: a session against any bytes, and a conversation whose records are changed on their way.
//!
//! Keys are drawn for each run, so a run of the same bytes differs in ciphertext and in nothing that is checked.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::task::{Context, Waker};

use grpc_proto::{ConnectionError, Instant, Transmit};
use grpc_service::{Endpoint, OUT_MARK};
use grpc_tls::{ClientTls, Opened, ServerTls, Session, TlsEndpoint, TlsError, TlsPeer, rustls};

use crate::tape::Tape;

/// What a session may hold: a message of the handshake over several records (64 KiB in rustls), and a record.
const MOST: usize = (64 << 10) + 2 * (18 << 10);
/// Bytes that each side of a conversation says: two full records and a bit.
const SAID: usize = 40_000;

/// Even first bytes: any bytes at one end. Odd ones: a conversation, and what is done to its records.
pub fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    match tape.byte() {
        choice if choice & 1 == 0 => garbage(choice & 2 == 0, tape),
        _ => mutated(tape),
    }
}

/// A server's certificate for `localhost`, and a client that trusts it.
fn pair() -> &'static (ServerTls, ClientTls, rustls::RootCertStore, Signed) {
    static PAIR: OnceLock<(ServerTls, ClientTls, rustls::RootCertStore, Signed)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let server = ServerTls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let client = ClientTls::with_roots(chain.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let key = own.signing_key.serialize_der();
        (server, client, roots, Signed { chain: own.cert.der().clone(), key })
    })
}

struct Signed {
    chain: rustls::pki_types::CertificateDer<'static>,
    key: Vec<u8>,
}

/// A session by itself, of one role.
fn session(serves: bool) -> Session {
    let (_, _, roots, own) = pair();
    let provider = || rustls::crypto::ring::default_provider().into();
    if serves {
        let key = rustls::pki_types::PrivateKeyDer::try_from(own.key.clone()).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.chain.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Session::server(config.into()).unwrap()
    } else {
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Session::client(config.into(), "localhost".try_into().unwrap()).unwrap()
    }
}

/// A session reads what is left of the tape, whole and in pieces: it fails in both cases or in none, says no plaintext,
/// and holds no more than a record.
fn garbage(serves: bool, mut tape: Tape<'_>) {
    let piece = usize::from(tape.byte()) + 1;
    // The part of a header at the end is looked at or not, as it comes.
    let bytes = until_last_header(tape.take(usize::MAX));
    let whole = read(serves, bytes, usize::MAX);
    let cut = read(serves, bytes, piece);
    assert_eq!(whole.is_err(), cut.is_err(), "whole: {whole:?}, in pieces of {piece}: {cut:?}");
}

/// Without the part of a record's header at the end.
fn until_last_header(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some(header) = rest.first_chunk::<5>() {
        let record = 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
        match rest.get(record..) {
            Some(behind) => rest = behind,
            None => return bytes,
        }
    }
    &bytes[..bytes.len() - rest.len()]
}

fn read(serves: bool, bytes: &[u8], piece: usize) -> Result<(), TlsError> {
    let (mut session, mut out) = (session(serves), Vec::new());
    let deliver = &mut |_: &[u8]| -> bool { panic!("nobody has the keys") };
    session.open(&mut &mut [][..], &mut out, deliver)?;
    let mut copy = bytes.to_vec();
    for part in copy.chunks_mut(piece.min(bytes.len().max(1))) {
        let mut input = part;
        let opened = session.open(&mut input, &mut out, deliver);
        if let Err(error) = opened {
            let again = session.open(&mut &mut [][..], &mut Vec::new(), deliver);
            assert_eq!(again, Err(error.clone()), "an error is final");
            return Err(error);
        }
        assert_eq!(opened, Ok(Opened::Drained));
        assert!(input.is_empty(), "input is left though nothing was asked to stop");
        assert!(session.heap_bytes() <= MOST, "{} bytes", session.heap_bytes());
        assert!(!session.is_established());
    }
    // The answers: a client's or a server's part of a handshake, or an alert.
    assert!(out.len() < 64 << 10, "{} bytes are sent", out.len());
    Ok(())
}

/// An endpoint that says `SAID` bytes and keeps what it receives.
struct Talker {
    to_say: Vec<u8>,
    received: Vec<u8>,
    ended: bool,
}

impl Talker {
    fn new(salt: u8) -> Self {
        Talker { to_say: text(salt), received: Vec::new(), ended: false }
    }
}

fn text(salt: u8) -> Vec<u8> {
    (0..SAID).map(|place| salt ^ (place % 251) as u8).collect()
}

impl Endpoint for Talker {
    fn drive(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        _: &mut Context<'_>,
        _: Instant,
    ) -> Result<(), ConnectionError> {
        self.received.extend_from_slice(std::mem::take(input));
        out.append_with(|out| out.append(&mut self.to_say));
        if self.ended { Err(ConnectionError::Closed(None)) } else { Ok(()) }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn note_delivery(&mut self, _: Instant) {}

    fn close_read(&mut self, _: Instant) {
        self.ended = true;
    }

    fn shutdown(&mut self, _: Instant) {}

    fn abort(&mut self, _: Instant) {
        self.ended = true;
    }

    fn is_drained(&self) -> bool {
        false
    }

    fn is_trimmed(&self) -> bool {
        false
    }
}

type Start = Box<dyn FnOnce(Result<&TlsPeer, &TlsError>) -> Option<Talker>>;

/// One end of a conversation.
struct End {
    tls: TlsEndpoint<Talker, Start>,
    inbox: Vec<u8>,
    over: bool,
}

impl End {
    fn new(make: impl FnOnce(Start) -> TlsEndpoint<Talker, Start>, salt: u8) -> Self {
        let start: Start = Box::new(move |peer| peer.is_ok().then(|| Talker::new(salt)));
        End { tls: make(start), inbox: Vec::new(), over: false }
    }

    /// One turn over the first `bytes` of the inbox; returns what is sent.
    fn turn(&mut self, bytes: usize) -> Vec<u8> {
        let (mut cx, mut out) = (Context::from_waker(Waker::noop()), Transmit::new());
        if self.over {
            self.inbox.clear();
            return Vec::new();
        }
        let shown = bytes.min(self.inbox.len());
        let mut input = &mut self.inbox[..shown];
        let driven = self.tls.drive_in_place(&mut input, &mut out, &mut cx, Instant::ZERO);
        let left = input.len();
        assert!(left == 0 || driven.is_err() || out.len() >= OUT_MARK, "input is left");
        self.inbox.drain(..shown - left);
        self.over = driven.is_err();
        out.chunks().flatten().copied().collect()
    }

    /// What was received is a front of what the other end said; returns its length.
    fn received(&mut self, salt: u8) -> usize {
        let Some(inner) = self.tls.inner() else { return 0 };
        assert!(text(salt).starts_with(&inner.received), "plaintext was forged");
        inner.received.len()
    }
}

/// A conversation whose records the tape changes. Whatever it does, each end receives a front of what the other one has
/// said, and all of it if no record was touched.
fn mutated(mut tape: Tape<'_>) {
    let (server, client, ..) = pair();
    let mut ends = [
        End::new(|start| client.connect("localhost", Instant::ZERO, start).unwrap(), b'c'),
        End::new(|start| server.accept(Instant::ZERO, start).unwrap(), b's'),
    ];
    let (mut touched, mut quiet, mut turns) = (false, 0, 0);
    let mut kept: VecDeque<Vec<u8>> = VecDeque::new();
    while quiet < 2 {
        let mut news = false;
        for from in 0..2 {
            let piece = match tape.byte() {
                0 => usize::MAX,
                piece => usize::from(piece) * 64,
            };
            let said = ends[from].turn(piece);
            for record in records(&said) {
                let sent = change(record, &mut tape, &mut kept, &mut touched);
                ends[1 - from].inbox.extend(sent);
            }
            news |= !said.is_empty() || ends.iter().any(|end| !end.over && !end.inbox.is_empty());
        }
        quiet = if news { 0 } else { quiet + 1 };
        turns += 1;
        assert!(turns < 20_000, "the conversation does not end");
    }
    let [ours, theirs] = &mut ends;
    let received = (ours.received(b's'), theirs.received(b'c'));
    if !touched {
        assert_eq!(received, (SAID, SAID), "{:?} {:?}", ours.tls.error(), theirs.tls.error());
    }
    for end in &mut ends {
        end.tls.close_read(Instant::ZERO);
        end.turn(0);
        assert!(end.over, "an end of input without close_notify ends the connection");
        assert!(end.tls.error().is_some(), "it is an error");
    }
}

/// The records of what an end has said, which are whole.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some(header) = bytes.first_chunk::<5>() {
        let (record, rest) =
            bytes.split_at(5 + usize::from(u16::from_be_bytes([header[3], header[4]])));
        records.push(record.to_vec());
        bytes = rest;
    }
    assert!(bytes.is_empty(), "whole records are sent");
    records
}

/// What is sent in the place of `record`.
fn change(
    mut record: Vec<u8>,
    tape: &mut Tape<'_>,
    kept: &mut VecDeque<Vec<u8>>,
    touched: &mut bool,
) -> Vec<u8> {
    let choice = tape.byte();
    *touched |= choice != 0;
    let place = |tape: &mut Tape<'_>| tape.number() as usize;
    match choice % 10 {
        0 => {}
        1 => {
            let place = place(tape) % record.len();
            record[place] ^= 1 << (tape.byte() % 8);
        }
        2 => {
            // Another type, version or length.
            let place = place(tape) % 5;
            record[place] = tape.byte();
        }
        3 => record.clear(),
        4 => record.extend_from_within(..),
        5 => record.truncate(place(tape) % record.len()),
        6 => {
            // Bytes of the fuzzer's own in front of it.
            let mut own = tape.bytes().to_vec();
            own.append(&mut record);
            record = own;
        }
        7 => {
            // A record of the fuzzer's own, with a correct length.
            let (kind, own) = (tape.byte(), tape.bytes());
            let mut made = vec![kind, 3, 3, 0, own.len() as u8];
            made.extend_from_slice(own);
            made.append(&mut record);
            record = made;
        }
        8 => {
            kept.push_back(std::mem::take(&mut record));
            kept.truncate(8);
        }
        _ => {
            // One that was kept back, of either end: replayed, reordered or reflected.
            if let Some(mut old) = kept.pop_front() {
                record.append(&mut old);
            }
        }
    }
    record
}
