//! One TLS session over bytes in memory: records are opened where they lie and sealed into the caller's buffer.

use std::sync::Arc;

use grpc_service::TlsPeer;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, ServerConfig};

use crate::error::{Plaintext, TlsError};
use crate::peer::peer_of;
use crate::sni;

/// Bytes of a record's header: type, version and length (RFC 8446 §5.1).
const HEADER: usize = 5;
/// The most plaintext that one record carries (RFC 8446 §5.1).
const RECORD: usize = 16 << 10;
/// Room that a record takes beyond its plaintext: header, content type, explicit nonce and tag of every suite.
const OVERHEAD: usize = 64;
/// Room for an alert of two bytes.
const RECORD_OF_ALERT: usize = 2 + OVERHEAD;
/// The protocol of HTTP/2 over TLS, the only one that is accepted (RFC 9113 §3.2).
pub(crate) const H2: &[u8] = b"h2";
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// What a call of [`Session::open`] left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// All whole records are opened: more bytes are needed.
    Drained,
    /// The receiver of plaintext asked to stop: call again when it can take more.
    Stopped,
}

/// A TLS session: bytes of TLS in, plaintext out, and the other way round. No I/O, no clock.
///
/// ```text
///    received ──> open(input, out, deliver) ──> deliver(plaintext)
///                        └─ handshake, alerts ──> out
///    plaintext ─> seal(chunks, out) ──> out ──> to be written
/// ```
///
/// `open` decrypts in the buffer that holds what was received, and consumes whole records alone: the caller keeps the
/// rest in front of what comes next. `seal` fills records: chunks below 16 KiB are gathered once, larger ones are
/// encrypted from where they lie. rustls 0.23 itself copies the plaintext of each record that it opens into memory of its
/// own, one allocation each, and that of each record that it seals.
pub struct Session {
    side: Side,
    /// Plaintext of a record that is not full yet; empty between calls.
    gathered: Vec<u8>,
    /// The front of a record of which the rest has not come, or of a message of the handshake over several records:
    /// rustls sees it again with each call. At most 64 KiB and a record.
    pending: Vec<u8>,
    /// How much of `pending` rustls has read as whole records. It joins the parts of a message there, in place: these
    /// bytes are not records any more.
    joined: usize,
    /// The first bytes from the peer were looked at.
    seen_first: bool,
    /// A client may choose HTTP/1.1, or nothing.
    http1: bool,
    established: bool,
    peer_closed: bool,
    close_sent: bool,
    failed: Option<TlsError>,
    /// What the client asked for by SNI.
    server_name: Option<Box<str>>,
    /// The client offers HTTP/1.1 by ALPN.
    offers_http1: bool,
}

// Boxed: a rustls connection is some kilobytes in size, and moves with the endpoint around it.
enum Side {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// What a client reads that speaks HTTP/2 without TLS to a server that needs TLS: an empty SETTINGS frame, which has to come
/// first (RFC 9113 §3.4), and GOAWAY with INADEQUATE_SECURITY and the reason (§6.8, §7).
fn needs_tls() -> Vec<u8> {
    const REASON: &[u8] = b"this port needs TLS";
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    frames.extend([0, 0, 8 + REASON.len() as u8, 7, 0, 0, 0, 0, 0]);
    frames.extend([0, 0, 0, 0, 0, 0, 0, 0xc]);
    frames.extend_from_slice(REASON);
    frames
}

impl Session {
    /// The client's side of a session with the server `name`, which its certificate must be for.
    ///
    /// # Errors
    /// `config` cannot be used.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        Ok(Self::new(Side::Client(Box::new(UnbufferedClientConnection::new(config, name)?))))
    }

    /// The server's side of a session.
    ///
    /// # Errors
    /// `config` cannot be used.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self::new(Side::Server(Box::new(UnbufferedServerConnection::new(config)?))))
    }

    /// As [`server`](Self::server), for what serves HTTP/1.1 too, such as `grpc-web`: a handshake is complete where ALPN has
    /// chosen `http/1.1`, or where the client offers no protocol. [`TlsPeer::http2`] tells what was chosen.
    ///
    /// # Errors
    /// `config` cannot be used.
    pub fn server_with_http1(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Session { http1: true, ..Self::server(config)? })
    }

    fn new(side: Side) -> Self {
        Session {
            side,
            gathered: Vec::new(),
            pending: Vec::new(),
            joined: 0,
            seen_first: false,
            http1: false,
            established: false,
            peer_closed: false,
            close_sent: false,
            failed: None,
            server_name: None,
            offers_http1: false,
        }
    }

    /// Whether the handshake is complete and `h2` was chosen, or what else may be.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether the peer has sent `close_notify`: nothing more will come.
    pub fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Who the peer is, once the handshake is complete.
    pub fn peer(&self) -> Option<TlsPeer> {
        self.established.then(|| {
            let mut peer = peer_of(self.common(), self.server_name.clone());
            peer.offers_http1 = self.offers_http1;
            peer
        })
    }

    /// Opens the records in `input`, in place, and advances it past them: to its end, unless `deliver` asks to stop.
    ///
    /// Passes plaintext to `deliver`, one record at a time; where that returns false, no further record is opened.
    /// Appends what the handshake and alerts need sent to `out`. An empty `input` lets a client begin its handshake.
    /// Plaintext comes only once the session [is established](Self::is_established). The front of a record of which the
    /// rest has not come is kept here.
    ///
    /// # Errors
    /// The session has failed, for good; the alert that says so is in `out`.
    pub fn open(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Opened, TlsError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.seen_first && !input.is_empty() {
            self.seen_first = true;
            if let Some(what) = Plaintext::of(input) {
                return Err(self.fail(TlsError::NotTls(what), out));
            }
        }
        loop {
            let opened = if self.pending.is_empty() {
                let tail = tail(input);
                let opened = self.pump(input, out, deliver)?;
                if opened == Opened::Drained {
                    self.joined = input.len().saturating_sub(tail);
                    self.pending.extend_from_slice(input);
                    *input = &mut [];
                }
                opened
            } else {
                let more = match missing(&self.pending[self.joined..]) {
                    // Whole records that hold a part of a message: the header of the next one.
                    0 => HEADER,
                    more => more,
                };
                let more = more.min(input.len());
                let (front, rest) = std::mem::take(input).split_at_mut(more);
                self.pending.extend_from_slice(front);
                *input = rest;
                // A header alone is shown too: what it claims may be refused.
                let record = &self.pending[self.joined..];
                if missing(record) > 0 && record.len() != HEADER {
                    if input.is_empty() {
                        return Ok(Opened::Drained);
                    }
                    // That was the header of a further record: its rest follows.
                    continue;
                }
                self.pump_pending(out, deliver)?
            };
            if opened == Opened::Stopped || input.is_empty() {
                return Ok(opened);
            }
        }
    }

    /// Opens what is pending.
    fn pump_pending(
        &mut self,
        out: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Opened, TlsError> {
        let mut pending = std::mem::take(&mut self.pending);
        let tail = tail(&pending[self.joined..]);
        let mut rest = &mut pending[..];
        let opened = self.pump(&mut rest, out, deliver);
        let left = rest.len();
        self.joined = left.saturating_sub(tail);
        pending.drain(..pending.len() - left);
        self.pending = pending;
        opened
    }

    /// Opens whole records of `input`.
    fn pump(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Opened, TlsError> {
        loop {
            // The first record of data may come before it is known here that the handshake is complete.
            let (established, mut first) = (self.established, Vec::new());
            let mut receive = |plaintext: &[u8]| {
                if established {
                    return deliver(plaintext);
                }
                first.extend_from_slice(plaintext);
                false
            };
            let closed = &mut self.peer_closed;
            let opened = match &mut self.side {
                Side::Client(c) => pump(&mut **c, input, out, &mut receive, closed),
                Side::Server(c) => pump(&mut **c, input, out, &mut receive, closed),
            };
            let opened = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    self.send_alert(input, out);
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            };
            if established {
                return Ok(opened);
            }
            if let Some(name) = sni::take() {
                self.server_name = Some(name);
            }
            self.offers_http1 |= sni::take_http1();
            if self.common().is_handshaking() {
                return Ok(opened);
            }
            self.establish(out)?;
            if !first.is_empty() && !deliver(&first) {
                return Ok(Opened::Stopped);
            }
        }
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Client(connection) => connection,
            Side::Server(connection) => connection,
        }
    }

    /// Checks what the handshake came to.
    fn establish(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        let chosen = self.common().alpn_protocol();
        let is_http1 = self.http1 && matches!(chosen, None | Some(HTTP1));
        if chosen != Some(H2) && !is_http1 {
            let error = TlsError::NoHttp2(chosen.map(<[u8]>::to_vec));
            return Err(self.fail(error, out));
        }
        self.established = true;
        Ok(())
    }

    /// Ends the session because of a rule of this crate.
    fn fail(&mut self, error: TlsError, out: &mut Vec<u8>) -> TlsError {
        let is_server = matches!(self.side, Side::Server(_));
        if is_server && error == TlsError::NotTls(Plaintext::Http2) {
            out.extend_from_slice(&needs_tls());
        } else if !error.is_silent() {
            self.close_notify(out);
        }
        self.failed = Some(error.clone());
        error
    }

    /// Appends the alert that rustls has queued with an error; `input` is what it has not consumed.
    fn send_alert(&mut self, input: &mut [u8], out: &mut Vec<u8>) {
        // It must not go on with the input, where it would fail again.
        while self.common().wants_write() {
            let encoded = match &mut self.side {
                Side::Client(c) => encode_queued(&mut **c, input, out),
                Side::Server(c) => encode_queued(&mut **c, input, out),
            };
            if !encoded {
                return;
            }
        }
    }

    /// Encrypts `chunks`, in order, and appends the records to `out`: as few as can be.
    ///
    /// # Errors
    /// The handshake is not complete, or the session has encrypted as much as its keys allow.
    pub fn seal<'c>(
        &mut self,
        chunks: impl Iterator<Item = &'c [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        let mut gathered = std::mem::take(&mut self.gathered);
        let mut plaintext = Gather { chunks, gathered: &mut gathered };
        let before = self.pending.len();
        let pending = &mut self.pending;
        let sealed = match &mut self.side {
            Side::Client(c) => with_writer(&mut **c, pending, out, |writer, out| {
                plaintext.seal(|bytes| encrypt(writer, bytes, out))
            }),
            Side::Server(c) => with_writer(&mut **c, pending, out, |writer, out| {
                plaintext.seal(|bytes| encrypt(writer, bytes, out))
            }),
        };
        self.joined = self.joined.saturating_sub(before - self.pending.len());
        gathered.clear();
        self.gathered = gathered;
        sealed.and_then(|sealed| sealed)
    }

    /// Appends the alert `close_notify`, once: the last thing to send (RFC 8446 §6.1).
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.close_sent, true) {
            return;
        }
        let before = self.pending.len();
        let pending = &mut self.pending;
        // Before the handshake has keys there is nothing that close_notify could protect.
        let _ = match &mut self.side {
            Side::Client(c) => with_writer(&mut **c, pending, out, close),
            Side::Server(c) => with_writer(&mut **c, pending, out, close),
        };
        self.joined = self.joined.saturating_sub(before - self.pending.len());
    }

    /// Notes that the transport has ended, and says whether that was in order.
    ///
    /// # Errors
    /// [`TlsError::HandshakeUnanswered`], [`TlsError::HandshakeCut`] or [`TlsError::Truncated`].
    pub fn on_end_of_input(&mut self) -> Result<(), TlsError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let error = match (self.established, self.peer_closed) {
            (_, true) => return Ok(()),
            (false, false) if !self.seen_first => TlsError::HandshakeUnanswered,
            (false, false) => TlsError::HandshakeCut,
            (true, false) => TlsError::Truncated,
        };
        self.failed = Some(error.clone());
        Err(error)
    }

    /// Notes that the handshake took too long.
    pub(crate) fn give_up_handshake(&mut self, out: &mut Vec<u8>) -> TlsError {
        self.fail(TlsError::HandshakeTimeout, out)
    }

    /// Gives back memory that busy times needed.
    pub fn trim(&mut self) {
        self.gathered = Vec::new();
        self.pending.shrink_to_fit();
    }

    /// Heap bytes that this session holds beside those of rustls.
    pub fn heap_bytes(&self) -> usize {
        self.gathered.capacity() + self.pending.capacity()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("established", &self.established)
            .field("peer_closed", &self.peer_closed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// `process_tls_records` of either side, which rustls declares for each on its own.
trait Process {
    type Data;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

impl Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

/// Lets rustls go on until it needs more bytes, or `deliver` returns false.
fn pump<C: Process>(
    connection: &mut C,
    input: &mut &mut [u8],
    out: &mut Vec<u8>,
    deliver: &mut dyn FnMut(&[u8]) -> bool,
    peer_closed: &mut bool,
) -> Result<Opened, TlsError> {
    loop {
        let UnbufferedStatus { discard, state } = connection.process(input);
        let mut next = None;
        match state {
            Err(error) => next = Some(Err(error.into())),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    if !deliver(record?.payload) {
                        next = Some(Ok(Opened::Stopped));
                        break;
                    }
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out),
            // What was encoded is in `out`, which the caller sends whatever happens.
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => *peer_closed = true,
            Ok(
                ConnectionState::WriteTraffic(_)
                | ConnectionState::BlockedHandshake
                | ConnectionState::Closed,
            ) => next = Some(Ok(Opened::Drained)),
            // 0-RTT is never offered nor accepted: it can be replayed (RFC 8446 §8).
            Ok(_) => next = Some(Err(TlsError::Session(rustls::Error::HandshakeNotComplete))),
        }
        let rest = std::mem::take(input);
        *input = &mut rest[discard..];
        if let Some(next) = next {
            return next;
        }
    }
}

/// Appends what is queued to be sent, and lets rustls do nothing else; false if nothing is.
fn encode_queued<C: Process>(connection: &mut C, input: &mut [u8], out: &mut Vec<u8>) -> bool {
    let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(input).state else {
        return false;
    };
    encode(&mut data, out);
    true
}

/// Appends a record of the handshake, or an alert.
fn encode<D>(data: &mut EncodeTlsData<'_, D>, out: &mut Vec<u8>) {
    let start = out.len();
    let mut room = 0;
    loop {
        out.resize(start + room, 0);
        match data.encode(&mut out[start..]) {
            Ok(written) => return out.truncate(start + written),
            Err(EncodeError::InsufficientSize(needed)) if needed.required_size > room => {
                room = needed.required_size
            }
            Err(_) => return out.truncate(start),
        }
    }
}

/// Calls `write` with the state of the connection in which data can be encrypted.
fn with_writer<C: Process, T>(
    connection: &mut C,
    pending: &mut Vec<u8>,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut WriteTraffic<'_, C::Data>, &mut Vec<u8>) -> T,
) -> Result<T, TlsError> {
    loop {
        let UnbufferedStatus { discard, state } = connection.process(pending);
        match state? {
            ConnectionState::WriteTraffic(mut writer) => return Ok(write(&mut writer, out)),
            ConnectionState::EncodeTlsData(mut data) => encode(&mut data, out),
            ConnectionState::TransmitTlsData(mut data) => match data.may_encrypt_app_data() {
                Some(mut writer) => return Ok(write(&mut writer, out)),
                None => data.done(),
            },
            ConnectionState::PeerClosed => {}
            _ => return Err(TlsError::Session(rustls::Error::HandshakeNotComplete)),
        }
        pending.drain(..discard);
    }
}

/// Appends the records of `plaintext` to `out`.
fn encrypt<D>(
    writer: &mut WriteTraffic<'_, D>,
    plaintext: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let start = out.len();
    let mut room = plaintext.len() + plaintext.len().div_ceil(RECORD) * OVERHEAD;
    loop {
        out.resize(start + room, 0);
        match writer.encrypt(plaintext, &mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(needed)) if needed.required_size > room => {
                room = needed.required_size
            }
            Err(_) => {
                out.truncate(start);
                return Err(TlsError::Session(rustls::Error::EncryptError));
            }
        }
    }
}

fn close<D>(writer: &mut WriteTraffic<'_, D>, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + RECORD_OF_ALERT, 0);
    let written = writer.queue_close_notify(&mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// Cuts chunks into pieces that fill records.
struct Gather<'g, I> {
    chunks: I,
    gathered: &'g mut Vec<u8>,
}

impl<'c, I: Iterator<Item = &'c [u8]>> Gather<'_, I> {
    /// Passes whole records, and at last what is left, to `encrypt`.
    fn seal(
        &mut self,
        mut encrypt: impl FnMut(&[u8]) -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        for mut chunk in &mut self.chunks {
            while !chunk.is_empty() {
                if self.gathered.is_empty() && chunk.len() >= RECORD {
                    let (whole, rest) = chunk.split_at(chunk.len() / RECORD * RECORD);
                    encrypt(whole)?;
                    chunk = rest;
                    continue;
                }
                let (head, rest) = chunk.split_at(chunk.len().min(RECORD - self.gathered.len()));
                self.gathered.extend_from_slice(head);
                chunk = rest;
                if self.gathered.len() == RECORD {
                    encrypt(self.gathered)?;
                    self.gathered.clear();
                }
            }
        }
        if self.gathered.is_empty() { Ok(()) } else { encrypt(self.gathered) }
    }
}

/// How many bytes at the end of `bytes` belong to no whole record.
fn tail(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let record = HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
        match rest.get(record..) {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    rest.len()
}

/// How many bytes the last record at the front of `bytes` still needs: its header first, then the rest; 0 where it is whole.
fn missing(bytes: &[u8]) -> usize {
    let mut place = 0;
    while let Some(header) = bytes[place..].first_chunk::<HEADER>() {
        let record = HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
        if place + record > bytes.len() {
            return place + record - bytes.len();
        }
        place += record;
    }
    (HEADER - (bytes.len() - place)) % HEADER
}
