//! Metadata: the custom fields of a call, in both directions.

use alloc::vec::Vec;
use core::fmt;

use crate::base64;
use crate::hpack::{Field, FieldList, Token};

#[cfg(feature = "http")]
mod http;

/// Custom fields of a call, in order, duplicates included.
///
/// Names are lower-case; a name that ends in `-bin` carries arbitrary bytes, which travel as base64.
/// A value of this type that came from a peer shares its buffer with the whole field list it was
/// decoded from: iteration, comparing and printing skip what belongs to HTTP/2 and gRPC.
#[derive(Clone, Default)]
pub struct Metadata {
    fields: FieldList,
    /// The list holds more than the application's fields.
    whole: bool,
}

/// The names of a trace context.
const TRACE: [&[u8]; 3] = [b"traceparent", b"tracestate", b"grpc-trace-bin"];

impl Metadata {
    /// No metadata; allocates nothing.
    pub const fn new() -> Self {
        Metadata { fields: FieldList::new(), whole: false }
    }

    /// Metadata over a whole decoded list.
    pub(crate) fn from_fields(fields: FieldList) -> Self {
        Metadata { fields, whole: true }
    }

    /// Metadata as a recording has it.
    pub(crate) fn from_recorded(fields: FieldList, whole: bool) -> Self {
        Metadata { fields, whole }
    }

    /// Whether the list holds more than the application's fields.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// `grpc-encoding` of a head that came from a peer, unless it is absent or `identity`.
    pub fn encoding(&self) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.token == Token::GrpcEncoding)?;
        core::str::from_utf8(field.value).ok().filter(|name| *name != "identity")
    }

    /// The whole field list of a request, pseudo-header fields and `grpc-` fields included, as it came.
    ///
    /// Of a response it is empty where there are no entries and its messages are not compressed.
    pub fn fields(&self) -> &FieldList {
        &self.fields
    }

    pub(crate) fn into_fields(self) -> FieldList {
        self.fields
    }

    /// Appends an ASCII entry. Upper-case letters of the name become lower-case, as HTTP/2 wants them (RFC 9113 §8.2).
    ///
    /// What is sent is held to gRPC's own rule; what a peer sends, only to HTTP/2's.
    ///
    /// # Errors
    /// The rule that name or value break: [`MetadataError`].
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), MetadataError> {
        if has_upper_case(name) {
            return self.append(&name.to_ascii_lowercase(), value);
        }
        let token = check_name(name)?;
        if name.ends_with("-bin") {
            return Err(MetadataError::BinaryNameForText);
        }
        self.push(token, name, value.as_bytes())
    }

    /// Appends a binary entry; `name` ends in `-bin` and `value` is any bytes. Upper-case letters of the name become
    /// lower-case.
    ///
    /// # Errors
    /// The rule that the name breaks: [`MetadataError`].
    pub fn append_bin(&mut self, name: &str, value: &[u8]) -> Result<(), MetadataError> {
        if has_upper_case(name) {
            return self.append_bin(&name.to_ascii_lowercase(), value);
        }
        let token = check_name(name)?;
        if !name.ends_with("-bin") {
            return Err(MetadataError::TextNameForBinary);
        }
        encode_bin(value, |text| self.push(token, name, text))
    }

    fn push(&mut self, token: Token, name: &str, value: &[u8]) -> Result<(), MetadataError> {
        match self.fields.push_checked(token, name.as_bytes(), value) {
            true => Ok(()),
            false => Err(MetadataError::InvalidValue),
        }
    }

    /// Appends all entries of `other`.
    pub fn extend(&mut self, other: &Metadata) {
        other.append_to(&mut self.fields);
    }

    /// Appends the trace context of `other`, as it came: `traceparent` and `tracestate` of W3C, and `grpc-trace-bin`, which
    /// is reserved for gRPC otherwise. Names that stand here already are left as they are.
    pub fn extend_trace(&mut self, other: &Metadata) {
        for name in TRACE {
            if self.fields.iter().any(|field| field.name == name) {
                continue;
            }
            for field in other.fields.iter().filter(|field| field.name == name) {
                // Bytes that gRPC does not send are left out.
                self.fields.push_checked(field.token, field.name, field.value);
            }
        }
    }

    /// Whether there is a trace context, as [`extend_trace`](Self::extend_trace) has it.
    pub fn has_trace(&self) -> bool {
        self.fields.iter().any(|field| TRACE.contains(&field.name))
    }

    /// Appends the entries to a list.
    pub(crate) fn append_to(&self, list: &mut FieldList) {
        if !self.whole {
            return list.extend_from(&self.fields);
        }
        for field in self.iter() {
            match field.flags.is_sensitive() {
                true => list.push_sensitive(field.name, field.value),
                false => list.push(field.name, field.value),
            }
        }
    }

    /// Removes all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.fields.clear();
    }

    /// Whether there is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.is_empty_list() || self.iter().next().is_none()
    }

    /// Whether the list behind it has no field at all.
    #[inline]
    pub(crate) fn is_empty_list(&self) -> bool {
        self.fields.is_empty()
    }

    /// The entries in order; `-bin` values as they travel (see [`decode_bin`]).
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter().filter(|field| is_application(field))
    }

    /// The first value of `name`, as it travels. Upper and lower case of `name` are the same.
    pub fn value<'m>(&'m self, name: &'m str) -> Option<&'m [u8]> {
        self.values(name).next()
    }

    /// All values of `name` in order, as they travel. Upper and lower case of `name` are the same.
    pub fn values<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m [u8]> {
        let is_name = move |field: &Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
        self.iter().filter(is_name).map(|field| field.value)
    }

    /// The first value of `name` as text; `None` if there is none, or if it is not UTF-8.
    ///
    /// gRPC's own text values are ASCII, but HTTP/2 lets a peer send other bytes; [`value`](Self::value) has those.
    pub fn value_str<'m>(&'m self, name: &'m str) -> Option<&'m str> {
        core::str::from_utf8(self.value(name)?).ok()
    }

    /// All values of `name` in order, as text; those that are not UTF-8 are left out.
    pub fn values_str<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m str> {
        self.values(name).filter_map(|value| core::str::from_utf8(value).ok())
    }

    /// All values of a `-bin` name in order, decoded; one entry that was joined with `,` gives several.
    pub fn bin_values<'m>(&'m self, name: &'m str) -> impl Iterator<Item = Vec<u8>> + 'm {
        let parts = self.values(name).flat_map(|value| value.split(|&b| b == b','));
        parts.filter_map(|part| decode_bin(part.trim_ascii()))
    }
}

/// The same entries in the same order, whatever list they stand in.
impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        let entries = other.iter().map(|field| (field.name, field.value));
        self.iter().map(|field| (field.name, field.value)).eq(entries)
    }
}

impl Eq for Metadata {}

/// Prints the entries as escaped text; sensitive values are left out, since this ends up in logs.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Lets `write` have `value` as base64, on the stack where it is short.
pub(crate) fn encode_bin<T>(value: &[u8], write: impl FnOnce(&[u8]) -> T) -> T {
    let mut stack = [0u8; 256];
    let len = base64::encoded_len(value.len());
    if let Some(text) = stack.get_mut(..len) {
        base64::encode(value, text);
        return write(text);
    }
    let mut text = alloc::vec![0; len];
    base64::encode(value, &mut text);
    write(&text)
}

/// Decodes one base64 value of a `-bin` entry, padded or not; `None` if it is neither.
pub fn decode_bin(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len() / 4 * 3 + 3);
    base64::decode(value, &mut out).then_some(out)
}

/// A rule that a metadata entry breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataError {
    /// A name consists of `[0-9a-z_.-]` and is not empty (PROTOCOL-HTTP2, "Custom-Metadata"); upper-case letters are
    /// made lower-case.
    InvalidName,
    /// Names that begin with `grpc-` and those of HTTP/2 itself are reserved.
    ReservedName,
    /// A value consists of printable ASCII and spaces, 0x20 to 0x7E (PROTOCOL-HTTP2, "ASCII-Value"), and neither begins
    /// nor ends with a space (RFC 9113 §8.2.1). Other text goes into a `-bin` entry.
    InvalidValue,
    /// A name in `-bin` takes bytes: use [`Metadata::append_bin`].
    BinaryNameForText,
    /// Bytes want a name in `-bin`: use [`Metadata::append`] for text.
    TextNameForBinary,
    /// The headers of a response leave with its first message at the latest, and nothing can join them then.
    HeadersSent,
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MetadataError::InvalidName => "metadata names consist of [0-9a-z_.-]",
            MetadataError::ReservedName => "the name is reserved for gRPC or HTTP/2",
            MetadataError::InvalidValue => {
                "metadata values consist of printable ASCII and inner spaces"
            }
            MetadataError::BinaryNameForText => "a name in -bin carries bytes: use append_bin",
            MetadataError::TextNameForBinary => "bytes are carried by a name in -bin",
            MetadataError::HeadersSent => "the response headers have been sent",
        })
    }
}

impl core::error::Error for MetadataError {}

/// Whether a field is the application's, and neither HTTP/2's nor gRPC's own.
pub(crate) fn is_application(field: &Field<'_>) -> bool {
    !(field.token.is_pseudo()
        || field.token.is_reserved()
        || field.token.is_connection_specific()
        || matches!(
            field.token,
            Token::Te | Token::ContentType | Token::ContentLength | Token::Host
        ))
}

/// Whether a name must be copied to be sent. Names are commonly lower-case already, and then nothing is.
fn has_upper_case(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// What the name of an entry is known as, if it may be one.
fn check_name(name: &str) -> Result<Token, MetadataError> {
    let valid = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'_' | b'.' | b'-');
    if name.is_empty() || !name.as_bytes().iter().all(valid) {
        return Err(MetadataError::InvalidName);
    }
    let token = Token::of(name.as_bytes());
    let field = Field { token, name: name.as_bytes(), value: b"", flags: Default::default() };
    if is_application(&field) { Ok(token) } else { Err(MetadataError::ReservedName) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn received(fields: &[(&str, &str)]) -> Metadata {
        let mut list = FieldList::new();
        for (name, value) in fields {
            list.push(name.as_bytes(), value.as_bytes());
        }
        Metadata::from_fields(list)
    }

    #[test]
    fn a_trace_context_is_copied_but_for_names_that_stand_there() {
        let head = received(&[
            (":path", "/a/b"),
            ("traceparent", "00-1"),
            ("grpc-tags-bin", "AA"),
            ("tracestate", "a=1"),
            ("authorization", "secret"),
            ("tracestate", "b=2"),
            ("tracestate", "\u{e9}"),
            ("grpc-trace-bin", "AP8H"),
        ]);
        assert!(head.has_trace() && !received(&[("traceparents", "1")]).has_trace());
        let mut own = Metadata::new();
        own.append("traceparent", "00-own").unwrap();
        own.extend_trace(&head);
        let fields: Vec<_> = own.fields.iter().map(|field| (field.name, field.value)).collect();
        let expected: [(&[u8], &[u8]); 4] = [
            (b"traceparent", b"00-own"),
            (b"tracestate", b"a=1"),
            (b"tracestate", b"b=2"),
            (b"grpc-trace-bin", b"AP8H"),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn metadata_is_empty_without_entries_of_the_application() {
        assert!(Metadata::new().is_empty());
        assert!(
            received(&[(":status", "200"), ("content-type", "x"), ("grpc-encoding", "gzip")])
                .is_empty()
        );
        assert!(!received(&[(":status", "200"), ("x", "y")]).is_empty());
        let mut own = Metadata::new();
        own.append("x", "y").unwrap();
        assert!(!own.is_empty() && !own.is_empty_list());
        own.clear();
        assert!(own.is_empty() && own.is_empty_list());
    }

    #[test]
    fn an_encoding_is_told_unless_it_is_none() {
        for (value, reported) in [("gzip", Some("gzip")), ("identity", None), ("", Some(""))] {
            assert_eq!(received(&[("x", "y"), ("grpc-encoding", value)]).encoding(), reported);
        }
        assert_eq!(received(&[("x", "gzip")]).encoding(), None);
    }

    #[test]
    fn a_name_has_letters_digits_and_three_signs() {
        for byte in 0..=0x7fu8 {
            let name = format!("x{}", char::from(byte));
            let valid = byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            let outcome = Metadata::new().append(&name, "v");
            assert_eq!(
                outcome,
                if valid { Ok(()) } else { Err(MetadataError::InvalidName) },
                "{byte}"
            );
        }
        let mut metadata = Metadata::new();
        assert_eq!(metadata.append("", "v"), Err(MetadataError::InvalidName));
        assert_eq!(metadata.append("x-bin", "v"), Err(MetadataError::BinaryNameForText));
        assert_eq!(metadata.append_bin("x", b"v"), Err(MetadataError::TextNameForBinary));
        for name in
            ["grpc-status", "grpc-x", "te", "content-type", "content-length", "host", "connection"]
        {
            assert_eq!(metadata.append(name, "v"), Err(MetadataError::ReservedName), "{name}");
        }
        assert!(metadata.is_empty_list());
    }

    #[test]
    fn names_in_upper_case_are_sent_in_lower_case_and_found_in_both() {
        let mut metadata = Metadata::new();
        metadata.append("X-Request-ID", "One").unwrap();
        metadata.append_bin("X-Trace-BIN", &[255]).unwrap();
        let names: Vec<_> = metadata.iter().map(|field| field.name).collect();
        assert_eq!(names, [&b"x-request-id"[..], b"x-trace-bin"]);
        for name in ["x-request-id", "X-Request-Id", "X-REQUEST-ID"] {
            assert_eq!(metadata.value_str(name), Some("One"), "{name}");
        }
        assert_eq!(metadata.bin_values("X-Trace-Bin").next(), Some(alloc::vec![255]));
        assert_eq!(metadata.append("X-Other-Bin", "v"), Err(MetadataError::BinaryNameForText));
        assert_eq!(metadata.append_bin("X-Other", b"v"), Err(MetadataError::TextNameForBinary));
        assert_eq!(metadata.append("GRPC-Status", "0"), Err(MetadataError::ReservedName));
        assert_eq!(metadata.append("Content-Type", "x"), Err(MetadataError::ReservedName));
    }

    #[test]
    fn values_are_text_where_they_are_utf_8() {
        let mut list = FieldList::new();
        for value in [&b"first"[..], b"\xff", "\u{e9}".as_bytes()] {
            list.push(b"x", value);
        }
        list.push(b"y", b"\xff");
        let metadata = Metadata::from_fields(list);
        assert_eq!(metadata.value_str("x"), Some("first"));
        assert_eq!(metadata.values_str("x").collect::<Vec<_>>(), ["first", "\u{e9}"]);
        assert_eq!((metadata.value_str("y"), metadata.value_str("z")), (None, None));
        assert_eq!(metadata.value("y"), Some(&b"\xff"[..]));
    }

    #[test]
    fn values_are_found_by_their_name_in_order() {
        let metadata =
            received(&[("a", "1"), ("b", "2"), ("a", "3"), ("c-bin", "AQ,Ag,*"), ("c-bin", "Aw")]);
        assert_eq!(metadata.value("a"), Some(&b"1"[..]));
        assert_eq!(metadata.value("d"), None);
        assert_eq!(metadata.values("a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(metadata.bin_values("c-bin").collect::<Vec<_>>(), [[1], [2], [3]]);
        let mut both = received(&[("x", "y")]);
        both.extend(&metadata);
        assert_eq!(both.iter().count(), 6);
    }

    #[test]
    fn credentials_are_kept_out_of_what_is_printed() {
        let mut own = Metadata::new();
        own.append("x-user", "me").unwrap();
        own.append("authorization", "Bearer secret").unwrap();
        let mut list = FieldList::new();
        list.push(b"x-user", b"me");
        list.push(b"authorization", b"Bearer secret");
        for text in [
            format!("{own:?}"),
            format!("{:?}", Metadata::from_fields(list.clone())),
            format!("{list:?}"),
            format!("{:?}", list.iter()),
            format!("{:?}", list.iter().collect::<Vec<_>>()),
        ] {
            assert_eq!(text, "[x-user: me, authorization: <sensitive>]");
        }
    }

    #[test]
    fn what_was_joined_with_white_space_is_found_as_it_was_accepted() {
        let metadata = received(&[("x-bin", "AQ, Ag ,\tAw==")]);
        assert_eq!(metadata.bin_values("x-bin").collect::<Vec<_>>(), [[1], [2], [3]]);
    }

    #[test]
    fn a_value_has_printable_characters_and_inner_spaces() {
        for byte in 0..=0xffu8 {
            let character = char::from(byte);
            for len in 0..20 {
                let text = format!("a{:len$}{character}{:len$}a", "", "");
                let valid = matches!(byte, 0x20..=0x7e);
                let wanted = if valid { Ok(()) } else { Err(MetadataError::InvalidValue) };
                assert_eq!(Metadata::new().append("x", &text), wanted, "{text:?}");
            }
        }
        for (text, valid) in [("", true), ("a", true), (" ", false), (" a", false), ("a ", false)] {
            assert_eq!(Metadata::new().append("x", text).is_ok(), valid, "{text:?}");
        }
        // Others may be less strict: what came is told, and passed on.
        let came = received(&[("x", "a\u{1}é")]);
        assert_eq!(came.value("x"), Some("a\u{1}é".as_bytes()));
    }

    #[test]
    fn metadata_with_the_same_entries_is_equal_wherever_it_came_from() {
        let entries = [("a", "1"), ("b", "2"), ("a", "3")];
        let mut own = Metadata::new();
        for (name, value) in entries {
            own.append(name, value).unwrap();
        }
        let mut all = alloc::vec![(":status", "200"), ("grpc-status", "0")];
        all.extend(entries);
        assert_eq!(own, received(&all));
        assert_eq!(received(&entries), received(&all));
        assert_eq!(Metadata::new(), received(&all[..2]));
        all.swap(2, 3);
        assert_ne!(own, received(&all));
        assert_ne!(own, received(&entries[..2]));
    }

    #[test]
    fn binary_values_of_any_length_come_back() {
        for len in [0usize, 1, 2, 3, 191, 192, 193, 194, 1000] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let text = encode_bin(&bytes, <[u8]>::to_vec);
            assert_eq!(text.len(), (len * 4).div_ceil(3));
            assert_eq!(decode_bin(&text), Some(bytes));
        }
    }
}
