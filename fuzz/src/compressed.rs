//! Compressed messages from a peer and for one, in each encoding: beside other DEFLATE and Zstandard decoders, through a
//! server whose method takes bytes as they are.

use std::io::Read;
use std::rc::Rc;
use std::task::{Context, Waker};

use grpc_arena::codec::Buffer;
use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Schema, SizeCache};
use grpc_proto::{CallHead, Client, Code, Config, Connection, Instant, Limits, Transmit, client};
use grpc_service::server::UnaryHandler;
use grpc_service::{
    Compression, Cx, Encoding, Endpoint, Method, Peer, Router, Server, ServerConnection,
    ServerOptions, Status,
};

use crate::service::StillHost;
use crate::tape::Tape;

/// The most bytes of a message, in any encoding.
const MOST: usize = 50_000;

/// The first byte chooses an encoding and who compresses; the rest is a message.
pub fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let choice = usize::from(tape.byte());
    let encoding = Encoding::ALL[choice % Encoding::ALL.len()];
    let message = tape.take(MOST);
    match choice / Encoding::ALL.len() % 2 {
        0 => ours_reads(encoding, message),
        _ => others_read(encoding, message),
    }
}

/// A message that a hostile client has compressed.
fn ours_reads(encoding: Encoding, message: &[u8]) {
    let mut pair = Pair::new(Compression::none().accept_all());
    let first = pair.call(encoding, message, true);
    // Contexts are reused, even with the rest of a message in them.
    let long = vec![b'x'; 3000];
    assert_eq!(pair.call(encoding, &long, false), Ok((long, false)));
    assert_eq!(pair.call(encoding, message, true), first);

    let theirs = decode(encoding, message);
    match (&first, &theirs) {
        (Ok((ours, false)), Some(theirs)) => assert_eq!(ours, theirs),
        (Err(Code::ResourceExhausted), Some(theirs)) => assert!(theirs.len() > MOST),
        (Err(Code::ResourceExhausted | Code::Internal), None) => {}
        // The other one is no judge of Zstandard: it checks less, and reads fewer formats.
        _ if encoding == Encoding::Zstd && !matches!((&first, &theirs), (Ok(_), Some(_))) => {}
        (ours, theirs) => panic!("{encoding}, ours: {ours:?}; theirs: {theirs:?}"),
    }
}

/// Our compressed output, read by another decoder.
fn others_read(encoding: Encoding, message: &[u8]) {
    let mut pair = Pair::new(Compression::none().send(encoding).at_least(0));
    for _ in 0..2 {
        let (sent, compressed) =
            pair.call(encoding, message, false).expect("any bytes are a message");
        match compressed {
            true => {
                assert!(sent.len() < message.len(), "compression has made it longer");
                assert_eq!(decode(encoding, &sent).as_deref(), Some(message));
            }
            false => assert_eq!(sent, message),
        }
    }
}

/// What another decoder makes of it, as far as it is needed.
fn decode(encoding: Encoding, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    match encoding {
        Encoding::Gzip => gunzip(bytes, &mut plain)?,
        Encoding::Deflate => unzlib(bytes, &mut plain)?,
        Encoding::Zstd => {
            let mut rest = bytes;
            loop {
                let decoder = ruzstd::decoding::StreamingDecoder::new(&mut rest).ok()?;
                decoder.take(ENOUGH).read_to_end(&mut plain).ok()?;
                if rest.is_empty() || plain.len() > MOST {
                    break;
                }
            }
        }
        other => panic!("no other decoder for {other}"),
    }
    Some(plain)
}

/// One byte more than there may be.
const ENOUGH: u64 = MOST as u64 + 1;

/// RFC 1952, member by member; the rest of a message that is too long does not matter.
fn gunzip(bytes: &[u8], plain: &mut Vec<u8>) -> Option<()> {
    let mut rest = bytes;
    loop {
        let head = rest;
        let [0x1f, 0x8b, 8, flags, _, _, _, _, _, _] = *take(&mut rest, 10)? else { return None };
        if flags & 0xe0 != 0 {
            return None;
        }
        if flags & 4 != 0 {
            let len = take(&mut rest, 2)?;
            take(&mut rest, usize::from(len[0]) + 256 * usize::from(len[1]))?;
        }
        for flag in [8, 16] {
            while flags & flag != 0 && take(&mut rest, 1)? != [0] {}
        }
        if flags & 2 != 0 {
            let crc = crc32(&head[..head.len() - rest.len()]).to_le_bytes();
            (take(&mut rest, 2)? == &crc[..2]).then_some(())?;
        }
        let from = plain.len();
        inflate(&mut rest, plain)?;
        if plain.len() > MOST {
            return Some(());
        }
        let (crc, len) = (crc32(&plain[from..]).to_le_bytes(), (plain.len() - from) as u32);
        (take(&mut rest, 4)? == crc && take(&mut rest, 4)? == len.to_le_bytes()).then_some(())?;
        if rest.is_empty() {
            return Some(());
        }
    }
}

/// RFC 1950, without a dictionary.
fn unzlib(bytes: &[u8], plain: &mut Vec<u8>) -> Option<()> {
    let mut rest = bytes;
    let head = take(&mut rest, 2)?;
    let check = u16::from_be_bytes([head[0], head[1]]);
    if head[0] & 15 != 8 || head[0] >> 4 > 7 || check % 31 != 0 || head[1] & 0x20 != 0 {
        return None;
    }
    inflate(&mut rest, plain)?;
    if plain.len() > MOST {
        return Some(());
    }
    let (mut one, mut two) = (1u32, 0u32);
    for byte in plain {
        one = (one + u32::from(*byte)) % 65_521;
        two = (two + one) % 65_521;
    }
    (rest == (two << 16 | one).to_be_bytes()).then_some(())
}

fn inflate(rest: &mut &[u8], plain: &mut Vec<u8>) -> Option<()> {
    let left = ENOUGH - plain.len() as u64;
    libflate::deflate::Decoder::new(rest).take(left).read_to_end(plain).ok().map(|_| ())
}

fn take<'b>(rest: &mut &'b [u8], len: usize) -> Option<&'b [u8]> {
    let (taken, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(taken)
}

/// The CRC of RFC 1952 §8, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0xedb8_8320,
        })
    })
}

/// A client of the core and a server with a handler.
struct Pair {
    client: Connection<Client>,
    server: ServerConnection,
}

impl Pair {
    fn new(compression: Compression) -> Self {
        let mut router = Router::new();
        router.unary::<Echo, _>(Echo);
        let mut limits = Limits::default();
        limits.max_receive_message = MOST as u32;
        let options = ServerOptions::new(limits).expect("limits in their ranges");
        let options = options.compression(compression);
        let server = Server::new(router, options, Rc::new(StillHost::default()));
        let client = Connection::new(&Config::default(), 1, Instant::ZERO);
        Pair { client, server: server.accept(Peer::memory()) }
    }

    /// Sends a message; what comes back, and whether it is compressed, or the status.
    fn call(
        &mut self,
        encoding: Encoding,
        message: &[u8],
        compressed: bool,
    ) -> Result<(Vec<u8>, bool), Code> {
        let now = Instant::ZERO;
        let mut head = CallHead::new(Echo::PATH, "fuzz");
        head.encoding = compressed.then_some(encoding.name());
        head.accept_encoding = Some(encoding.name());
        let key = self.client.call(&head, None, now).expect("a connection takes calls");
        let message = bytes::Bytes::copy_from_slice(message);
        self.client.send_encoded(key, message, compressed).expect("an empty queue has room");
        self.client.end(key).expect("it is open");
        let mut reply = None;
        loop {
            let mut out = Transmit::new();
            self.client.poll_transmit(&mut out, now);
            let said: Vec<u8> = out.chunks().flatten().copied().collect();
            let mut input = &said[..];
            let mut answer = Transmit::new();
            let mut cx = Context::from_waker(Waker::noop());
            self.server.drive(&mut input, &mut answer, &mut cx, now).expect("an honest client");
            assert!(!said.is_empty() || !answer.is_empty(), "the call has no end");
            let answer: Vec<u8> = answer.chunks().flatten().copied().collect();
            let mut input = &answer[..];
            while let Some(event) =
                self.client.poll_event(&mut input, now).expect("an honest server")
            {
                match event {
                    client::Event::Message(_, message) => {
                        reply = Some((message.as_bytes().to_vec(), message.compressed));
                    }
                    client::Event::Status(_, outcome) => {
                        return match outcome.status.code() {
                            Code::Ok => Ok(reply.expect("OK comes with a message")),
                            code => Err(code),
                        };
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The method, and its handler.
#[derive(Clone)]
struct Echo;

impl Method for Echo {
    const PATH: &'static str = "/fuzz.Fuzz/Echo";
    type Request = Raw<'static>;
    type Response = Raw<'static>;
}

impl UnaryHandler<Echo> for Echo {
    async fn call<'a>(&self, _: &Cx<'a>, request: Raw<'a>) -> Result<Raw<'a>, Status> {
        Ok(request)
    }
}

/// A message that is its bytes.
#[derive(Clone, Copy)]
struct Raw<'a>(&'a [u8]);

impl Encode for Raw<'_> {
    fn encoded_len(&self, _: &mut SizeCache) -> usize {
        self.0.len()
    }

    fn encode(&self, _: &mut SizeCache, out: &mut Buffer) {
        out.extend_from_slice(self.0);
    }
}

impl Schema for Raw<'static> {
    type View<'a> = Raw<'a>;

    fn decode<'a>(bytes: &'a [u8], _: &'a Arena, _: &DecodeLimits) -> Result<Raw<'a>, DecodeError> {
        Ok(Raw(bytes))
    }
}
