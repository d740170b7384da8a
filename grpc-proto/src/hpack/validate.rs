//! What HTTP/2 allows in names and values (RFC 9113 §8.2.1).

use super::list::FieldFlags;
use super::token::{self, Token};

/// The flags of a name that may be anything.
#[inline]
pub(super) fn name_flags(token: Token, name: &[u8]) -> FieldFlags {
    match token {
        Token::Other | Token::GrpcReserved => spelt_name_flags(token, name),
        Token::UnknownPseudo => FieldFlags::NAME_INVALID,
        known => known_name_flags(known),
    }
}

/// The flags of a name without a token.
fn spelt_name_flags(token: Token, name: &[u8]) -> FieldFlags {
    let flags = valid_name_flags(token, name);
    if !name.is_empty() && name.iter().all(|&byte| NAME_BYTE[byte as usize]) {
        flags
    } else {
        flags.union(FieldFlags::NAME_INVALID)
    }
}

/// The flags of a name that is known to be valid.
#[inline]
pub(super) fn valid_name_flags(token: Token, name: &[u8]) -> FieldFlags {
    match token {
        Token::Other | Token::GrpcReserved if name.ends_with(b"-bin") => FieldFlags::BINARY,
        Token::Other | Token::GrpcReserved => FieldFlags::NONE,
        known => known_name_flags(known),
    }
}

/// The flags of a name that has a token of its own.
#[inline]
pub(super) const fn known_name_flags(token: Token) -> FieldFlags {
    KNOWN_NAME[token as usize]
}

/// For each token the flags of its name.
static KNOWN_NAME: [FieldFlags; token::COUNT] = {
    let mut flags = [FieldFlags::NONE; token::COUNT];
    flags[Token::GrpcStatusDetailsBin as usize] = FieldFlags::BINARY;
    // Credentials. A client that can make requests on the same connection could guess them byte by byte from the
    // sizes of blocks, were they in a table.
    flags[Token::Authorization as usize] = FieldFlags::SENSITIVE;
    flags[Token::Cookie as usize] = FieldFlags::SENSITIVE;
    flags[Token::ProxyAuthorization as usize] = FieldFlags::SENSITIVE;
    flags[Token::SetCookie as usize] = FieldFlags::SENSITIVE;
    flags
};

/// The flags of a value.
#[inline]
pub(super) fn value_flags(value: &[u8]) -> FieldFlags {
    value_flags_given(has_line_or_nul(value), value)
}

/// Whether a value is what may be sent: printable ASCII and inner spaces, eight bytes at a time.
#[inline]
pub(crate) fn is_ascii_value(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    let inside = match value.last_chunk::<8>() {
        // Bytes seen twice do no harm and save the loop over single bytes.
        Some(tail) => words.iter().chain([tail]).all(|word| is_printable(*word)),
        None => rest.iter().all(|byte| matches!(byte, b' '..=b'~')),
    };
    inside && value.first() != Some(&b' ') && value.last() != Some(&b' ')
}

/// Whether all bytes are from 0x20 to 0x7E: adding one sets the top bit of DEL, subtracting 0x20 borrows through that of
/// controls. Carries and borrows reach other bytes only from one that is not printable itself.
#[inline]
const fn is_printable(word: [u8; 8]) -> bool {
    let word = u64::from_le_bytes(word);
    let every = u64::from_le_bytes([1; 8]);
    let outside = word | word.wrapping_add(every) | word.wrapping_sub(every * 0x20);
    outside & (every << 7) == 0
}

/// The flags of a value of which it is known whether it holds NUL, CR or LF.
#[inline]
pub(super) fn value_flags_given(line_or_nul: bool, value: &[u8]) -> FieldFlags {
    let (Some(&first), Some(&last)) = (value.first(), value.last()) else {
        return FieldFlags::NONE;
    };
    if line_or_nul | is_blank(first) | is_blank(last) {
        FieldFlags::VALUE_INVALID
    } else {
        FieldFlags::NONE
    }
}

#[inline]
const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Whether NUL, CR or LF occurs.
#[inline]
pub(super) fn has_line_or_nul(value: &[u8]) -> bool {
    may_have_line_or_nul(value) && value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
}

/// The flags of a value of which it is known whether one of the lowest control characters occurs.
#[inline]
pub(super) fn value_flags_suspecting(low_control: bool, value: &[u8]) -> FieldFlags {
    value_flags_given(low_control && has_line_or_nul(value), value)
}

/// Whether one of the lowest control characters occurs, which text rarely has: eight bytes at a time.
#[inline]
fn may_have_line_or_nul(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    for word in words {
        if has_low_control(u64::from_le_bytes(*word)) {
            return true;
        }
    }
    if rest.is_empty() {
        return false;
    }
    // Bytes seen twice do no harm and save the loop over single bytes.
    match (value.last_chunk::<8>(), rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(tail), ..) => has_low_control(u64::from_le_bytes(*tail)),
        (None, Some(first), Some(last)) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            has_low_control(u64::from(first) << 32 | u64::from(last))
        }
        _ => rest.iter().any(|&byte| byte <= b'\r'),
    }
}

/// Whether a byte of `word` is CR or below: subtracting borrows through the top bit only of such bytes, of
/// those after them, and of those that had it set before.
#[inline]
pub(super) const fn has_low_control(word: u64) -> bool {
    const BEYOND: u64 = LOW_BITS * (b'\r' as u64 + 1);
    word.wrapping_sub(BEYOND) & !word & (LOW_BITS << 7) != 0
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;

/// The bytes of valid names: those of a token (RFC 9110 §5.6.2), less the upper-case letters.
static NAME_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
                | b'`' | b'|' | b'~' | b'0'..=b'9' | b'a'..=b'z'
        );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_invalid_exactly_where_the_rfc_says() {
        for len in 0..20 {
            for at in 0..len {
                for byte in 0..=255u8 {
                    let mut value = alloc::vec![b'x'; len];
                    value[at] = byte;
                    let edge = at == 0 || at + 1 == len;
                    let invalid =
                        matches!(byte, 0 | b'\r' | b'\n') || (edge && matches!(byte, b' ' | b'\t'));
                    assert_eq!(value_flags(&value).is_value_valid(), !invalid, "{value:?}");
                }
            }
        }
        assert!(value_flags(b"").is_value_valid());
    }

    #[test]
    fn a_name_is_invalid_exactly_where_the_rfc_says() {
        for byte in 0..=255u8 {
            let name = [b'x', byte, b'y'];
            let valid = byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(name_flags(Token::of(&name), &name).is_name_valid(), valid, "{name:?}");
        }
        assert!(!name_flags(Token::Other, b"").is_name_valid());
        assert!(!name_flags(Token::of(b":"), b":").is_name_valid());
        assert!(!name_flags(Token::of(b":odd"), b":odd").is_name_valid());
        assert!(name_flags(Token::of(b":path"), b":path").is_name_valid());
    }

    #[test]
    fn a_name_that_ends_with_bin_is_binary() {
        for name in [&b"x-bin"[..], b"-bin", b"grpc-status-details-bin", b"grpc-tags-bin"] {
            assert!(name_flags(Token::of(name), name).is_binary());
        }
        for name in [&b"bin"[..], b"x-bins", b"grpc-status", b""] {
            assert!(!name_flags(Token::of(name), name).is_binary());
        }
    }
}
