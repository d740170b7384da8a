//! Texts of gRPC: timeouts, statuses, messages of statuses, base64, metadata; each beside another reader of the same,
//! and all of them over the wire from one end to the other.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use grpc_proto::{
    Client, Code, Config, Connection, Instant, Metadata, MetadataError, Server, Status,
    TimeoutText, Transmit, client, decode_bin, decode_message, encode_message, parse_timeout,
    server,
};
use http::HeaderMap;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};

use crate::tape::Tape;

/// Reads `data` as each of them.
pub fn check(data: &[u8]) {
    timeout(data);
    message(data);
    code(data);
    binary(data);
    let metadata = metadata(data);
    if data.len() < 4000 {
        over_the_wire(data, &metadata);
    }
    header_map(&metadata);
}

fn timeout(data: &[u8]) {
    let read = parse_timeout(data);
    assert_eq!(read, naive_timeout(data));
    let mut eight = [0; 8];
    for (place, byte) in eight.iter_mut().zip(data) {
        *place = *byte;
    }
    let any = Duration::from_nanos(u64::from_le_bytes(eight));
    for timeout in read.into_iter().chain([any]) {
        let text = TimeoutText::new(timeout);
        let again = parse_timeout(text.as_bytes()).expect("what is written can be read");
        // Rounded down, by less than one of the finest unit that has eight digits for it: the next finer one had nine.
        assert!(again <= timeout);
        // 584 years are as good as more.
        let timeout = timeout.min(Duration::from_nanos(u64::MAX));
        assert!(timeout - again <= timeout / 99_999, "{timeout:?} became {again:?}");
    }
}

/// PROTOCOL-HTTP2, "Timeout", letter by letter.
fn naive_timeout(data: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(data).ok()?;
    let unit = text.chars().last()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.len() > 8 || !digits.chars().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u32 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(3600) * amount,
        'M' => Duration::from_secs(60) * amount,
        'S' => Duration::from_secs(1) * amount,
        'm' => Duration::from_millis(1) * amount,
        'u' => Duration::from_micros(1) * amount,
        'n' => Duration::from_nanos(1) * amount,
        _ => return None,
    })
}

fn message(data: &[u8]) {
    /// All but 0x20 to 0x24 and 0x26 to 0x7e.
    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
    let message = decode_message(data);
    assert_eq!(message, percent_decode(data).decode_utf8_lossy());
    let mut written = Vec::new();
    encode_message(&message, &mut written);
    let theirs: String = percent_encode(message.as_bytes(), ESCAPED).collect();
    assert_eq!(written, theirs.as_bytes());
    assert_eq!(decode_message(&written), message);
}

fn code(data: &[u8]) {
    let known = Code::ALL.iter().find(|code| code.number().to_string().as_bytes() == data);
    assert_eq!(Code::parse(data), known.copied().unwrap_or(Code::Unknown));
}

fn binary(data: &[u8]) {
    let padding = match data.last() {
        Some(b'=') => DecodePaddingMode::RequireCanonical,
        _ => DecodePaddingMode::RequireNone,
    };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
    let theirs = GeneralPurpose::new(&STANDARD, config.with_encode_padding(false));
    assert_eq!(decode_bin(data), theirs.decode(data).ok());
    let mut metadata = Metadata::new();
    metadata.append_bin("fuzz-bin", data).expect("any bytes are a value");
    assert_eq!(metadata.value("fuzz-bin"), Some(theirs.encode(data).as_bytes()));
    assert_eq!(metadata.bin_values("fuzz-bin").next().as_deref(), Some(data));
}

/// Entries from the bytes, where these form valid entries.
fn metadata(data: &[u8]) -> Metadata {
    let mut metadata = Metadata::new();
    let mut tape = Tape::new(data);
    let mut expected = Vec::new();
    while !tape.is_at_end() && expected.len() < 8 {
        let (name, value) = (tape.bytes(), tape.bytes());
        let Ok(name) = std::str::from_utf8(name) else { continue };
        // A name may be given in either case, and travels in lower case.
        let given = name;
        let name = &*name.to_ascii_lowercase();
        let wanted = naive_name(name);
        assert_eq!(
            metadata.clone().append_bin(given, value),
            match (wanted, name.ends_with("-bin")) {
                (Ok(()), false) => Err(MetadataError::TextNameForBinary),
                (wanted, _) => wanted,
            }
        );
        let Ok(text) = std::str::from_utf8(value) else { continue };
        let printable = value.iter().all(|byte| matches!(byte, 0x20..=0x7e));
        let bad = !printable || value.trim_ascii().len() != value.len();
        let wanted = wanted.and_then(|()| match name.ends_with("-bin") {
            true => Err(MetadataError::BinaryNameForText),
            false if bad => Err(MetadataError::InvalidValue),
            false => Ok(()),
        });
        assert_eq!(metadata.append(given, text), wanted, "{given:?}: {value:?}");
        if wanted.is_ok() {
            expected.push((name.as_bytes().to_vec(), value));
        }
    }
    let entries = expected.iter().map(|(name, value)| (&name[..], *value));
    assert!(metadata.iter().map(|field| (field.name, field.value)).eq(entries));
    if let Some((name, _)) = expected.first() {
        let values = expected.iter().filter(|(other, _)| other == name).map(|(_, value)| *value);
        let name = std::str::from_utf8(name).expect("it was a text");
        assert!(metadata.values(name).eq(values));
    }
    metadata
}

/// PROTOCOL-HTTP2, "Custom-Metadata", and the names that are HTTP's own.
fn naive_name(name: &str) -> Result<(), MetadataError> {
    const TAKEN: [&str; 9] = [
        "te",
        "content-type",
        "content-length",
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    let allowed = "0123456789abcdefghijklmnopqrstuvwxyz_-.";
    if name.is_empty() || !name.chars().all(|letter| allowed.contains(letter)) {
        Err(MetadataError::InvalidName)
    } else if name.starts_with("grpc-") || TAKEN.contains(&name) {
        Err(MetadataError::ReservedName)
    } else {
        Ok(())
    }
}

/// The metadata as a request's, and as trailers of a status whose texts are the bytes too.
fn over_the_wire(data: &[u8], metadata: &Metadata) {
    let now = Instant::ZERO;
    let mut client: Connection<Client> = Connection::new(&Config::default(), 1, now);
    let mut server: Connection<Server> = Connection::new(&Config::default(), 1, now);
    let mut head = grpc_proto::CallHead::new("/fuzz.Fuzz/Call", "fuzz");
    head.metadata = Some(metadata);
    client.call(&head, None, now).expect("a new connection takes calls");
    let wire = said(|out| client.poll_transmit(out, now));
    let request = server.poll_event(&mut &wire[..], now).expect("it is well-formed");
    let Some(server::Event::Request(key, head)) = request else { panic!("{request:?}") };
    let entry = |name: &str| name != "user-agent";
    let same = |one: &Metadata, two: &Metadata| {
        let names =
            |field: &grpc_proto::hpack::Field<'_>| entry(&String::from_utf8_lossy(field.name));
        one.iter().filter(names).eq(two.iter().filter(names))
    };
    assert!(same(&head.metadata, metadata), "{head:?}: {metadata:?}");

    let code = Code::ALL[data.len() % Code::ALL.len()];
    let status = Status::new(code, decode_message(data)).with_details(data.to_vec());
    server.finish(key, &status, metadata).expect("the call is open");
    let wire = said(|out| server.poll_transmit(out, now));
    let mut input = &wire[..];
    let event = client.poll_event(&mut input, now).expect("it is well-formed");
    let Some(client::Event::Status(_, outcome)) = event else { panic!("{event:?}") };
    assert_eq!(outcome.status, status);
    assert!(same(&outcome.trailers, metadata), "{outcome:?}: {metadata:?}");
}

fn said(poll: impl FnOnce(&mut Transmit)) -> Vec<u8> {
    let mut out = Transmit::new();
    poll(&mut out);
    out.chunks().flatten().copied().collect()
}

/// To the crate `http` and back.
fn header_map(metadata: &Metadata) {
    let headers = HeaderMap::try_from(metadata).expect("what may be sent is a header");
    let back = Metadata::try_from(&headers).expect("what came from metadata is metadata");
    let sorted = |metadata: &Metadata| {
        let mut fields: Vec<_> =
            metadata.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
        // Stable: values of one name keep their order.
        fields.sort_by(|one, two| one.0.cmp(&two.0));
        fields
    };
    assert_eq!(sorted(&back), sorted(metadata));
}
