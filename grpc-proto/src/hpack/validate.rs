//! What HTTP/2 allows in names and values (RFC 9113 §8.2.1).

use super::list::FieldFlags;
use super::token::Token;

/// The flags of a name that may be anything.
#[inline]
pub(super) fn name_flags(token: Token, name: &[u8]) -> FieldFlags {
    match token {
        Token::Other | Token::GrpcReserved => {
            let flags = valid_name_flags(token, name);
            if !name.is_empty() && name.iter().all(|&byte| NAME_BYTE[byte as usize]) {
                flags
            } else {
                flags.union(FieldFlags::NAME_INVALID)
            }
        }
        Token::UnknownPseudo => FieldFlags::NAME_INVALID,
        known => known_name_flags(known),
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
    match token {
        Token::GrpcStatusDetailsBin => FieldFlags::BINARY,
        // Credentials. Whoever can make requests on the same connection could guess them byte by byte
        // from the sizes of blocks, were they in a table.
        Token::Authorization | Token::Cookie | Token::ProxyAuthorization | Token::SetCookie => {
            FieldFlags::SENSITIVE
        }
        _ => FieldFlags::NONE,
    }
}

/// The flags of a value.
#[inline]
pub(super) fn value_flags(value: &[u8]) -> FieldFlags {
    value_flags_given(has_line_or_nul(value), value)
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

/// Whether NUL, CR or LF occurs, eight bytes at a time.
#[inline]
fn has_line_or_nul(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    let mut found = 0;
    for word in words {
        found |= line_or_nul(u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let tail = match value.last_chunk::<8>() {
            // Bytes seen twice do no harm and save the loop over single bytes.
            Some(tail) => *tail,
            None => {
                let mut tail = [b'.'; 8];
                tail[..rest.len()].copy_from_slice(rest);
                tail
            }
        };
        found |= line_or_nul(u64::from_le_bytes(tail));
    }
    found != 0
}

/// Not zero if a byte of `word` is NUL, CR or LF.
#[inline]
const fn line_or_nul(word: u64) -> u64 {
    const CR: u64 = LOW_BITS * b'\r' as u64;
    const LF: u64 = LOW_BITS * b'\n' as u64;
    has_zero(word) | has_zero(word ^ CR) | has_zero(word ^ LF)
}

/// Not zero if and only if a byte of `word` is zero: subtracting one borrows through the top bit
/// only of bytes that were zero, or that had it set before.
#[inline]
const fn has_zero(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & (LOW_BITS << 7)
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
