//! Base64 as `application/grpc-web-text` uses it: in pieces, with padding inside (RFC 4648 §4).

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

/// Appends `bytes` as base64 with padding.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    let (groups, rest) = bytes.as_chunks::<3>();
    for &[a, b, c] in groups {
        let word = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        out.extend_from_slice(&[18, 12, 6, 0].map(|at| ALPHABET[(word >> at) as usize & 63]));
    }
    match *rest {
        [a] => {
            let word = usize::from(a) << 4;
            out.extend_from_slice(&[ALPHABET[word >> 6], ALPHABET[word & 63], b'=', b'=']);
        }
        [a, b] => {
            let word = (usize::from(a) << 8 | usize::from(b)) << 2;
            let digits = [word >> 12, word >> 6, word].map(|part| ALPHABET[part & 63]);
            out.extend_from_slice(&digits);
            out.push(b'=');
        }
        _ => {}
    }
}

/// A decoder that takes text in pieces of any length.
///
/// Padding ends a group of four and nothing else: text that was encoded in pieces goes on behind it. Left-over bits must
/// be zero, so each text has one meaning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decoder {
    word: u32,
    /// Digits of the group under way, padding included.
    digits: u8,
    /// Characters of padding in it.
    padding: u8,
}

/// The text is no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

impl Decoder {
    /// Appends what `text` stands for, as far as its groups are complete.
    pub(crate) fn decode(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
        let mut rest = text;
        // Within a group until the first boundary; then whole groups without padding at once.
        while let Some((&digit, behind)) = rest.split_first() {
            if self.digits == 0 {
                let taken = decode_groups(rest, out);
                if taken > 0 {
                    rest = &rest[taken..];
                    continue;
                }
            }
            self.push(digit, out)?;
            rest = behind;
        }
        Ok(())
    }

    /// Whether the text may end here.
    pub(crate) fn is_between(&self) -> bool {
        self.digits == 0
    }

    fn push(&mut self, digit: u8, out: &mut Vec<u8>) -> Result<(), Invalid> {
        if digit == b'=' {
            self.padding += 1;
            if self.digits < 2 {
                return Err(Invalid);
            }
            self.word <<= 6;
        } else {
            let value = VALUES[usize::from(digit)];
            if value == INVALID || self.padding > 0 {
                return Err(Invalid);
            }
            self.word = self.word << 6 | u32::from(value);
        }
        self.digits += 1;
        if self.digits < 4 {
            return Ok(());
        }
        let [_, bytes @ ..] = self.word.to_be_bytes();
        let (held, spare) = bytes.split_at(3 - usize::from(self.padding));
        if spare.iter().any(|&byte| byte != 0) {
            return Err(Invalid);
        }
        out.extend_from_slice(held);
        *self = Decoder::default();
        Ok(())
    }
}

/// Decodes groups of four digits up to the first that has another character; returns how much text they took.
fn decode_groups(text: &[u8], out: &mut Vec<u8>) -> usize {
    let (groups, _) = text.as_chunks::<4>();
    let mut taken = 0;
    for group in groups {
        let values = group.map(|digit| VALUES[usize::from(digit)]);
        // Values are below 64, and the mark of other characters is not.
        if values.iter().any(|&value| value > 63) {
            break;
        }
        let word = values.iter().fold(0u32, |word, &value| word << 6 | u32::from(value));
        out.extend_from_slice(&word.to_be_bytes()[1..]);
        taken += 4;
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &[u8], piece: usize) -> Result<Vec<u8>, Invalid> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in text.chunks(piece) {
            decoder.decode(piece, &mut out)?;
        }
        if decoder.is_between() { Ok(out) } else { Err(Invalid) }
    }

    #[test]
    fn padding_may_stand_inside_and_ends_a_group_only() {
        for piece in 1..12 {
            assert_eq!(decoded(b"AQ==AgM=BAUG", piece), Ok(vec![1, 2, 3, 4, 5, 6]));
            assert_eq!(decoded(b"", piece), Ok(vec![]));
            for bad in [
                "A", "AQ", "AQ=", "AQ=A", "=AQA", "A=AA", "AQ===", "AR==", "AQF=", "A-AA", "AQ\n=",
                "====",
            ] {
                assert_eq!(decoded(bad.as_bytes(), piece), Err(Invalid), "{bad} in {piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_in_pieces_decodes_in_other_pieces(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            written in 1usize..50,
            read in 1usize..50,
        ) {
            let mut text = Vec::new();
            for piece in bytes.chunks(written) {
                encode(piece, &mut text);
            }
            prop_assert_eq!(decoded(&text, read), Ok(bytes));
        }
    }
}
