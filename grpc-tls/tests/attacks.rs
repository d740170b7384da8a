//! Peers that want 0-RTT, blow certificates up, or claim records that are too long.

mod common;
#[allow(dead_code, unreachable_pub)] // it is of another crate
#[path = "../../tests/src/counting.rs"]
mod counting;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use counting::{Counting, live, peak, reset_peak};
use grpc_tls::rustls::compress::{
    CertCompressor, CertDecompressor, CompressionFailed, CompressionLevel, DecompressionFailed,
};
use grpc_tls::rustls::pki_types::pem::PemObject;
use grpc_tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use grpc_tls::rustls::{
    self, CertificateCompressionAlgorithm, ClientConfig, HandshakeKind, InvalidMessage,
    ServerConfig,
};
use grpc_tls::{ClientTls, ServerTls, TlsError};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Extensions of a ClientHello (RFC 8446 §4.2, RFC 8879 §3).
const COMPRESS_CERTIFICATE: u16 = 27;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;

fn talker() -> Talker {
    Talker { to_send: b"hello".to_vec(), ..Talker::default() }
}

/// Configurations of rustls for `localhost`, whose chain has so many certificates.
fn configs(certificates: usize) -> (ServerConfig, ClientConfig) {
    let authority = Authority::new();
    let own = authority.sign(&["localhost"]);
    let provider = || rustls::crypto::ring::default_provider().into();
    let chain = vec![CertificateDer::from_pem_slice(&own.chain).unwrap(); certificates];
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(&own.key).unwrap())
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority.roots()).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

/// The types of the extensions of the ClientHello that `record` holds.
fn extensions(record: &[u8]) -> Vec<u16> {
    let number = |at: usize| usize::from(u16::from_be_bytes([record[at], record[at + 1]]));
    // Headers of the record and of the message, version, random; then the session, the suites and the compressions.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(record[at]);
    at += 2 + number(at);
    at += 1 + usize::from(record[at]);
    let end = at + 2 + number(at);
    at += 2;
    let mut types = Vec::new();
    while at < end {
        types.push(number(at) as u16);
        at += 4 + number(at + 2);
    }
    types
}

/// A client of rustls calls a server; returns how its handshake went, and whether it could send 0-RTT data.
fn call(config: &Arc<ClientConfig>, server: &ServerTls) -> (Option<HandshakeKind>, bool) {
    let name = "localhost".try_into().unwrap();
    let mut c = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let early = c.early_data().is_some();
    let mut s = server_end(server, talker());
    let mut received = Vec::new();
    for _ in 0..4 {
        while c.wants_write() {
            c.write_tls(&mut s.inbox).unwrap();
        }
        let said = s.turn(usize::MAX);
        let mut rest = &said[..];
        while !rest.is_empty() {
            c.read_tls(&mut rest).unwrap();
            c.process_new_packets().unwrap();
        }
        let _ = c.reader().read_to_end(&mut received);
    }
    assert_eq!(received, b"hello");
    (c.handshake_kind(), early)
}

#[test]
fn a_server_never_lets_a_client_send_0_rtt_data() {
    let (mut server, mut client) = configs(1);
    // Both want it.
    server.max_early_data_size = u32::MAX;
    client.enable_early_data = true;
    client.alpn_protocols = vec![b"h2".to_vec()];
    let (server, client) = (ServerTls::from_config(server), Arc::new(client));
    assert_eq!(call(&client, &server), (Some(HandshakeKind::Full), false));
    assert_eq!(call(&client, &server), (Some(HandshakeKind::Resumed), false));
}

#[test]
fn a_client_offers_neither_0_rtt_nor_compressed_certificates() {
    let (mut server, mut client) = configs(1);
    server.alpn_protocols = vec![b"h2".to_vec()];
    server.max_early_data_size = u32::MAX;
    client.enable_early_data = true;
    // A server that allows 0-RTT, without the rules of this crate.
    let (server, client) = (Arc::new(server), ClientTls::from_config(client));
    for offers_session in [false, true] {
        let mut c = client_end(&client, "localhost", talker());
        let mut s = rustls::ServerConnection::new(Arc::clone(&server)).unwrap();
        let mut said = c.turn(0);
        let offered = extensions(&said);
        assert_eq!(offered.contains(&PRE_SHARED_KEY), offers_session, "{offered:?}");
        assert!(!offered.contains(&EARLY_DATA), "{offered:?}");
        assert!(!offered.contains(&COMPRESS_CERTIFICATE), "{offered:?}");
        for _ in 0..4 {
            let mut rest = &said[..];
            while !rest.is_empty() {
                s.read_tls(&mut rest).unwrap();
                s.process_new_packets().unwrap();
            }
            while s.wants_write() {
                s.write_tls(&mut c.inbox).unwrap();
            }
            said = c.turn(usize::MAX);
        }
        assert!(c.peer().is_ok());
    }
}

/// Compresses nothing below 64 KiB, and everything else to ten bytes; counts what it was asked to decompress.
#[derive(Debug)]
struct Bomb {
    asked: AtomicUsize,
}

impl CertCompressor for Bomb {
    fn compress(&self, input: Vec<u8>, _: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        Ok(if input.len() > 64 << 10 { vec![7; 10] } else { input })
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}

impl CertDecompressor for Bomb {
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if input.len() != output.len() {
            return Err(DecompressionFailed);
        }
        output.copy_from_slice(input);
        Ok(())
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}

#[test]
fn a_certificate_that_blows_up_is_refused_before_it_is_decompressed() {
    // One that is small, and one of hundreds of KiB in ten bytes.
    for (certificates, is_taken) in [(1, true), (1000, false)] {
        let bomb: &'static Bomb = Box::leak(Box::new(Bomb { asked: AtomicUsize::new(0) }));
        let (mut server, mut client) = configs(certificates);
        server.cert_compressors = vec![bomb];
        client.cert_decompressors = vec![bomb];
        let (server, client) = (ServerTls::from_config(server), ClientTls::from_config(client));
        let mut c = client_end(&client, "localhost", talker());
        let mut s = server_end(&server, talker());
        s.inbox = c.turn(0);
        c.inbox = s.turn(usize::MAX);
        assert!(c.inbox.len() < 4 << 10, "{} bytes on the wire", c.inbox.len());
        let before = live();
        reset_peak();
        let said = c.turn(usize::MAX);
        let most = peak() - before;
        assert!(most < 64 << 10, "{most} bytes");
        assert_eq!(bomb.asked.load(Ordering::Relaxed), usize::from(is_taken));
        if is_taken {
            s.inbox.extend(said);
            talk(&mut c, &mut s, || usize::MAX);
            assert_eq!(c.received(), b"hello");
        } else {
            let too_large = rustls::Error::InvalidMessage(InvalidMessage::MessageTooLarge);
            assert_eq!(c.peer(), Err(TlsError::Session(too_large)));
        }
    }
}

#[test]
fn a_record_that_is_too_long_ends_an_established_connection() {
    let (server, client) = plain_pair();
    let (mut c, mut s) =
        (client_end(&client, "localhost", talker()), server_end(&server, talker()));
    talk(&mut c, &mut s, || usize::MAX);
    for end in [&mut c, &mut s] {
        // 2^14 + 256 bytes are allowed (RFC 8446 §5.2), and 2^14 + 2048 with TLS 1.2 (RFC 5246 §6.2.3).
        end.inbox.extend([23, 3, 3, 0x48, 0x01]);
        let alert = end.turn(usize::MAX);
        assert_eq!(records(&alert).len(), 1, "an alert says so");
        assert!(end.outcome.is_some() && end.tls.error().is_some());
        assert!(end.tls.heap_bytes() < 64 << 10, "{}", end.tls.heap_bytes());
    }
}
