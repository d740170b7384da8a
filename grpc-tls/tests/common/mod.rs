//! Certificates made for a test, an endpoint that says bytes, and a line between two of them.
#![allow(dead_code)]

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use grpc_proto::{ConnectionError, Instant, Transmit};
use grpc_service::{Endpoint, OUT_MARK};
use grpc_tls::{ClientTls, ServerTls, TlsEndpoint, TlsError, TlsPeer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

/// An authority, and certificates that it has signed, as PEM.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Signed {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn roots(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    pub(crate) fn sign(&self, names: &[&str]) -> Signed {
        self.sign_with(names, |_| {})
    }

    pub(crate) fn sign_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Signed {
        let key = KeyPair::generate().unwrap();
        let dns = names.iter().filter(|name| !name.contains("://")).map(|&name| name.to_owned());
        let mut params = CertificateParams::new(dns.collect::<Vec<_>>()).unwrap();
        for uri in names.iter().filter(|name| name.contains("://")) {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Signed { chain: certificate.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
    }
}

/// A server for `localhost` and a client that trusts it.
pub(crate) fn plain_pair() -> (ServerTls, ClientTls) {
    let authority = Authority::new();
    let own = authority.sign(&["localhost"]);
    let server = ServerTls::from_pem(&own.chain, &own.key).unwrap();
    (server, ClientTls::with_roots(&authority.roots()).unwrap())
}

/// An endpoint that sends `to_send` and keeps what it receives. It takes nothing while its output is full.
#[derive(Default)]
pub(crate) struct Talker {
    pub(crate) to_send: Vec<u8>,
    pub(crate) received: Vec<u8>,
    pub(crate) ended: bool,
    pub(crate) drained: bool,
    /// Bytes that it answers for each byte that it receives.
    pub(crate) amplify: usize,
    /// It has been idle for a while.
    pub(crate) trimmed: bool,
    /// Drained once so many bytes were received.
    pub(crate) leave_after: Option<usize>,
}

impl Endpoint for Talker {
    fn drive(
        &mut self,
        input: &mut &[u8],
        out: &mut Transmit,
        _: &mut Context<'_>,
        _: Instant,
    ) -> Result<(), ConnectionError> {
        out.append_with(|out| out.append(&mut self.to_send));
        while !input.is_empty() && out.len() < OUT_MARK {
            let (taken, rest) = input.split_at(input.len().min(100));
            self.received.extend_from_slice(taken);
            out.append_with(|out| out.resize(out.len() + self.amplify * taken.len(), b'a'));
            *input = rest;
        }
        self.drained |= self.leave_after.is_some_and(|bytes| self.received.len() >= bytes);
        if self.ended { Err(ConnectionError::Closed(None)) } else { Ok(()) }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn note_delivery(&mut self, _: Instant) {}

    fn close_read(&mut self, _: Instant) {
        self.ended = true;
    }

    fn shutdown(&mut self, _: Instant) {
        self.drained = true;
    }

    fn abort(&mut self, _: Instant) {
        self.ended = true;
    }

    fn is_drained(&self) -> bool {
        self.drained
    }

    fn is_trimmed(&self) -> bool {
        self.trimmed
    }
}

type Started = Rc<RefCell<Option<Result<TlsPeer, TlsError>>>>;
type Start = Box<dyn FnOnce(Result<&TlsPeer, &TlsError>) -> Option<Talker>>;

/// One end, what it has to read, and what its handshake came to.
pub(crate) struct End {
    pub(crate) tls: TlsEndpoint<Talker, Start>,
    pub(crate) started: Started,
    pub(crate) inbox: Vec<u8>,
    pub(crate) outcome: Option<ConnectionError>,
    pub(crate) out: Transmit,
    pub(crate) now: Instant,
}

fn start(talker: Talker) -> (Start, Started) {
    let started = Started::default();
    let seen = Rc::clone(&started);
    let start: Start = Box::new(move |peer| {
        *seen.borrow_mut() = Some(peer.cloned().map_err(Clone::clone));
        peer.is_ok().then_some(talker)
    });
    (start, started)
}

pub(crate) fn server_end(tls: &ServerTls, talker: Talker) -> End {
    let (start, started) = start(talker);
    End::new(tls.accept(Instant::ZERO, start).unwrap(), started)
}

pub(crate) fn client_end(tls: &ClientTls, host: &str, talker: Talker) -> End {
    let (start, started) = start(talker);
    End::new(tls.connect(host, Instant::ZERO, start).unwrap(), started)
}

impl End {
    fn new(tls: TlsEndpoint<Talker, Start>, started: Started) -> Self {
        End {
            tls,
            started,
            inbox: Vec::new(),
            outcome: None,
            out: Transmit::new(),
            now: Instant::ZERO,
        }
    }

    /// Drives the end with the first `bytes` of its inbox, in place; returns what it sends.
    pub(crate) fn turn(&mut self, bytes: usize) -> Vec<u8> {
        let mut cx = Context::from_waker(Waker::noop());
        let shown = bytes.min(self.inbox.len());
        let mut input = &mut self.inbox[..shown];
        let driven = self.tls.drive_in_place(&mut input, &mut self.out, &mut cx, self.now);
        let left = input.len();
        self.inbox.drain(..shown - left);
        assert!(
            left == 0 || driven.is_err() || self.out.len() >= OUT_MARK,
            "input is left though there is room"
        );
        self.outcome = driven.err();
        let sent = self.out.chunks().flatten().copied().collect();
        self.out.clear();
        sent
    }

    /// What the handshake came to.
    pub(crate) fn peer(&self) -> Result<TlsPeer, TlsError> {
        self.started.borrow().clone().expect("the handshake is over")
    }

    pub(crate) fn received(&mut self) -> &[u8] {
        &self.tls.inner().expect("the handshake succeeded").received
    }

    pub(crate) fn pass(&mut self, by: Duration) {
        self.now = self.now + by;
    }
}

/// Lets both ends talk until neither says anything; each sees at most `piece(n)` bytes in its n-th turn.
pub(crate) fn talk(client: &mut End, server: &mut End, mut piece: impl FnMut() -> usize) {
    let mut quiet = 0;
    while quiet < 2 {
        let mut news = false;
        if client.outcome.is_none() {
            let said = client.turn(piece());
            news |= !said.is_empty();
            server.inbox.extend(said);
        }
        if server.outcome.is_none() {
            let said = server.turn(piece());
            news |= !said.is_empty();
            client.inbox.extend(said);
        }
        let left = |end: &End| end.outcome.is_none() && !end.inbox.is_empty();
        news |= left(client) || left(server);
        quiet = if news { 0 } else { quiet + 1 };
    }
}

/// The types and lengths of the records in `bytes`.
pub(crate) fn records(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut found = Vec::new();
    while let Some(header) = bytes.first_chunk::<5>() {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        found.push((header[0], length));
        bytes = &bytes[5 + length..];
    }
    assert!(bytes.is_empty(), "whole records");
    found
}
