//! Texts of gRPC: timeouts, status messages, metadata.

use grpc_proto::{
    Metadata, TimeoutText, decode_bin, decode_message, encode_message, parse_timeout,
};

/// Reads `data` as each of them; what is written must read back.
pub fn check(data: &[u8]) {
    if let Some(timeout) = parse_timeout(data) {
        let text = TimeoutText::new(timeout);
        let again = parse_timeout(text.as_bytes()).expect("what is written can be read");
        // Rounded down, by less than one of the finest unit that has eight digits for it.
        assert!(again <= timeout);
        assert!(timeout - again <= timeout / 9_000_000, "{timeout:?} became {again:?}");
    }
    let message = decode_message(data);
    let mut written = Vec::new();
    encode_message(&message, &mut written);
    assert!(written.iter().all(|byte| (0x20..=0x7e).contains(byte)));
    assert_eq!(decode_message(&written), message);

    let mut metadata = Metadata::new();
    metadata.append_bin("fuzz-bin", data).expect("any bytes are a value");
    assert_eq!(metadata.bin_values("fuzz-bin").next().as_deref(), Some(data));
    let _ = decode_bin(data);
    let (name, value) = data.split_at(data.len() / 2);
    if let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value))
        && metadata.append(name, value).is_ok()
    {
        assert_eq!(metadata.value(name), Some(value.as_bytes()));
    }
}
