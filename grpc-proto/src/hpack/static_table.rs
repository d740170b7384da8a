//! The static table (RFC 7541 appendix A).

use super::list::FieldFlags;
use super::token::{self, Token};
use super::validate;

/// One entry of the static table.
#[derive(Clone, Copy)]
pub(super) struct StaticEntry {
    pub(super) token: Token,
    pub(super) flags: FieldFlags,
    pub(super) name_len: u8,
    pub(super) text_len: u8,
    /// Name and value, back to back, and zeros: one copy of a constant size appends both.
    pub(super) text: [u8; 32],
}

/// How many entries there are; the first entry of the dynamic table has the index after it.
pub(super) const LEN: u32 = 61;

/// The entry at `index`, counted from one; `None` beyond the table and for index zero.
#[inline]
pub(super) fn entry(index: u32) -> Option<&'static StaticEntry> {
    ENTRIES.get((index as usize).wrapping_sub(1))
}

/// The lowest index at which the name of `token` stands.
#[inline]
pub(super) fn name_index(token: Token) -> Option<u32> {
    match FIRST_INDEX[token as usize] {
        0 => None,
        index => Some(u32::from(index)),
    }
}

/// The index of the entry that is exactly `token` and `value`.
#[inline]
pub(super) fn index_of(token: Token, value: &[u8]) -> Option<u32> {
    // Texts of known lengths: each is compared in a word or two.
    match (token, value) {
        (Token::Method, b"POST") => Some(3),
        (Token::Method, b"GET") => Some(2),
        (Token::Scheme, b"http") => Some(6),
        (Token::Scheme, b"https") => Some(7),
        (Token::Status, b"200") => Some(8),
        (Token::Status, b"204") => Some(9),
        (Token::Status, b"206") => Some(10),
        (Token::Status, b"304") => Some(11),
        (Token::Status, b"400") => Some(12),
        (Token::Status, b"404") => Some(13),
        (Token::Status, b"500") => Some(14),
        (Token::Path, b"/") => Some(4),
        (Token::Path, b"/index.html") => Some(5),
        (Token::AcceptEncoding, b"gzip, deflate") => Some(16),
        (
            Token::Method | Token::Scheme | Token::Status | Token::Path | Token::AcceptEncoding,
            _,
        ) => None,
        (_, b"") => name_index(token),
        _ => None,
    }
}

/// For each token the first index of its name, or zero.
static FIRST_INDEX: [u8; token::COUNT] = {
    let mut first = [0; token::COUNT];
    let mut i = TABLE.len();
    while i > 0 {
        first[TABLE[i - 1].0 as usize] = i as u8;
        i -= 1;
    }
    first
};

static ENTRIES: [StaticEntry; LEN as usize] = {
    const EMPTY: StaticEntry = StaticEntry {
        token: Token::Other,
        flags: FieldFlags::NONE,
        name_len: 0,
        text_len: 0,
        text: [0; 32],
    };
    let mut entries = [EMPTY; LEN as usize];
    let mut i = 0;
    while i < TABLE.len() {
        let (name, value) = texts(i);
        let entry = &mut entries[i];
        entry.token = TABLE[i].0;
        entry.flags = validate::known_name_flags(entry.token);
        entry.name_len = name.len() as u8;
        entry.text_len = (name.len() + value.len()) as u8;
        let (name_text, value_text) = entry.text.split_at_mut(name.len());
        name_text.copy_from_slice(name);
        value_text.split_at_mut(value.len()).0.copy_from_slice(value);
        i += 1;
    }
    entries
};

const fn texts(i: usize) -> (&'static [u8], &'static [u8]) {
    let (token, value) = TABLE[i];
    let Some(name) = token.name() else { panic!("the static table has known names only") };
    (name.as_bytes(), value.as_bytes())
}

const TABLE: [(Token, &str); LEN as usize] = {
    use Token::*;
    [
        (Authority, ""),
        (Method, "GET"),
        (Method, "POST"),
        (Path, "/"),
        (Path, "/index.html"),
        (Scheme, "http"),
        (Scheme, "https"),
        (Status, "200"),
        (Status, "204"),
        (Status, "206"),
        (Status, "304"),
        (Status, "400"),
        (Status, "404"),
        (Status, "500"),
        (AcceptCharset, ""),
        (AcceptEncoding, "gzip, deflate"),
        (AcceptLanguage, ""),
        (AcceptRanges, ""),
        (Accept, ""),
        (AccessControlAllowOrigin, ""),
        (Age, ""),
        (Allow, ""),
        (Authorization, ""),
        (CacheControl, ""),
        (ContentDisposition, ""),
        (ContentEncoding, ""),
        (ContentLanguage, ""),
        (ContentLength, ""),
        (ContentLocation, ""),
        (ContentRange, ""),
        (ContentType, ""),
        (Cookie, ""),
        (Date, ""),
        (Etag, ""),
        (Expect, ""),
        (Expires, ""),
        (From, ""),
        (Host, ""),
        (IfMatch, ""),
        (IfModifiedSince, ""),
        (IfNoneMatch, ""),
        (IfRange, ""),
        (IfUnmodifiedSince, ""),
        (LastModified, ""),
        (Link, ""),
        (Location, ""),
        (MaxForwards, ""),
        (ProxyAuthenticate, ""),
        (ProxyAuthorization, ""),
        (Range, ""),
        (Referer, ""),
        (Refresh, ""),
        (RetryAfter, ""),
        (Server, ""),
        (SetCookie, ""),
        (StrictTransportSecurity, ""),
        (TransferEncoding, ""),
        (UserAgent, ""),
        (Vary, ""),
        (Via, ""),
        (WwwAuthenticate, ""),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_the_last_and_the_odd_entry_stand_where_the_rfc_has_them() {
        let text = |index| entry(index).map(|entry| &entry.text[..usize::from(entry.text_len)]);
        assert_eq!(text(0), None);
        assert_eq!(text(1), Some(&b":authority"[..]));
        assert_eq!(text(16), Some(&b"accept-encodinggzip, deflate"[..]));
        assert_eq!(text(32), Some(&b"cookie"[..]));
        assert_eq!(text(61), Some(&b"www-authenticate"[..]));
        assert_eq!(text(62), None);
        assert_eq!(text(u32::MAX), None);
    }

    #[test]
    fn every_entry_is_found_by_its_name_and_value() {
        for index in 1..=LEN {
            let found = entry(index).unwrap();
            let text = &found.text[..usize::from(found.text_len)];
            let (name, value) = text.split_at(usize::from(found.name_len));
            assert_eq!(Token::of(name), found.token);
            assert_eq!(index_of(found.token, value), Some(index));
            assert_eq!(index_of(found.token, &[value, b"x"].concat()), None);
            assert!(name_index(found.token).unwrap() <= index);
        }
        assert_eq!(name_index(Token::Status), Some(8));
        assert_eq!(name_index(Token::Te), None);
        assert_eq!(index_of(Token::Te, b""), None);
        assert_eq!(index_of(Token::Method, b""), None);
    }
}
