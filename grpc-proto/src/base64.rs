//! Standard base64 for `-bin` metadata: sent without padding, accepted with or without.

/// Length of `len` bytes once encoded without padding.
pub(crate) const fn encoded_len(len: usize) -> usize {
    len / 3 * 4
        + match len % 3 {
            0 => 0,
            1 => 2,
            _ => 3,
        }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const INVALID: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut i = 0;
    while i < 64 {
        values[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    values
};

/// Encodes `bytes` into `text`, whose length is `encoded_len(bytes.len())`.
pub(crate) fn encode(bytes: &[u8], text: &mut [u8]) {
    debug_assert_eq!(text.len(), encoded_len(bytes.len()));
    for (chunk, out) in bytes.chunks(3).zip(text.chunks_mut(4)) {
        let word =
            chunk.iter().fold(0u32, |word, &b| word << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for (i, digit) in out.iter_mut().enumerate() {
            *digit = ALPHABET[(word >> (18 - 6 * i)) as usize & 63];
        }
    }
}

/// Appends the bytes of `text` to `out`; `false` if it is no base64.
///
/// Left-over bits must be zero, padding must be whole or absent, so each value has one meaning.
pub(crate) fn decode(text: &[u8], out: &mut alloc::vec::Vec<u8>) -> bool {
    let Some(digits) = strip_padding(text) else { return false };
    for chunk in digits.chunks(4) {
        let mut word = 0u32;
        for &digit in chunk {
            let value = VALUES[usize::from(digit)];
            if value == INVALID {
                return false;
            }
            word = word << 6 | u32::from(value);
        }
        let bytes = chunk.len() * 6 / 8;
        let spare = chunk.len() * 6 - bytes * 8;
        if chunk.len() == 1 || word & ((1 << spare) - 1) != 0 {
            return false;
        }
        out.extend_from_slice(&(word << (32 - chunk.len() * 6)).to_be_bytes()[..bytes]);
    }
    true
}

/// Whether `text` is base64, padded or not.
pub(crate) fn is_valid(text: &[u8]) -> bool {
    let Some(digits) = strip_padding(text) else { return false };
    if !digits.iter().all(|&digit| VALUES[usize::from(digit)] != INVALID) {
        return false;
    }
    match (digits.len() % 4, digits.last()) {
        (1, _) => false,
        (2, Some(&last)) => VALUES[usize::from(last)] & 15 == 0,
        (3, Some(&last)) => VALUES[usize::from(last)] & 3 == 0,
        _ => true,
    }
}

fn strip_padding(text: &[u8]) -> Option<&[u8]> {
    let digits = match text {
        [head @ .., b'=', b'='] | [head @ .., b'='] => head,
        _ => return Some(text),
    };
    text.len().is_multiple_of(4).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(text.as_bytes(), &mut out).then_some(out)
    }

    #[test]
    fn padding_is_optional_but_whole() {
        assert_eq!(decoded("AQ=="), Some(alloc::vec![1]));
        assert_eq!(decoded("AQ"), Some(alloc::vec![1]));
        for bad in ["A", "AQ=", "AQ===", "=", "AQ=A", "AR", "A-", "AQE=="] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
        assert_eq!(decoded(""), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut text = alloc::vec![0; encoded_len(bytes.len())];
            encode(&bytes, &mut text);
            let mut back = Vec::new();
            prop_assert!(decode(&text, &mut back));
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn validity_is_decodability(text in "[A-Da-d+/=]{0,9}") {
            prop_assert_eq!(is_valid(text.as_bytes()), decoded(&text).is_some());
        }
    }
}
