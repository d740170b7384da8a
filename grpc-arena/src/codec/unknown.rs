//! Fields that the schema does not know.

use core::fmt;
use core::hash::{Hash, Hasher};

use super::{Cursor, scan};

/// The fields of a message that its schema does not know, kept to be written back.
///
/// Spans of the input, tags included, in their order; neighbours are one span. Extensions are found in here. Two are equal
/// when their bytes are, wherever these are cut into spans: what was sent equals what is received.
#[derive(Clone, Copy, Default)]
pub struct UnknownFields<'a> {
    pub(crate) spans: &'a [&'a [u8]],
}

impl<'a> UnknownFields<'a> {
    /// No unknown fields.
    pub const EMPTY: Self = Self { spans: &[] };

    /// Takes encoded fields to be written behind the known ones, as they are.
    ///
    /// They are not checked: a span that is no sequence of fields makes a message that nobody decodes.
    pub const fn from_spans(spans: &'a [&'a [u8]]) -> Self {
        Self { spans }
    }

    /// The encoded fields.
    pub const fn spans(self) -> &'a [&'a [u8]] {
        self.spans
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    /// The size of all spans in bytes.
    #[inline(always)]
    pub fn encoded_len(self) -> usize {
        self.add_to(0)
    }

    /// `size`, that of the known fields, and the size of these.
    ///
    /// As the last call of its caller it keeps no register from it, so that a message without unknown fields saves none.
    #[inline(always)]
    pub fn add_to(self, size: usize) -> usize {
        if self.is_empty() { size } else { self.add_spans_to(size) }
    }

    #[cold]
    #[inline(never)]
    fn add_spans_to(self, size: usize) -> usize {
        self.spans.iter().map(|span| span.len()).sum::<usize>() + size
    }

    /// The fields in their order, each as its tag and the bytes of its value (behind the tag; a length or an end-group
    /// tag included). Ends early at a span that is no sequence of fields.
    pub fn fields(self) -> impl Iterator<Item = (u32, &'a [u8])> {
        self.spans.iter().flat_map(|span| {
            let mut cursor = Cursor::new(span);
            core::iter::from_fn(move || {
                let tag = u32::try_from(cursor.peek_varint()?).ok()?;
                let value = cursor;
                cursor = scan::skip_field(cursor, tag, scan::ANY_DEPTH).ok()?;
                Some((tag, value.until(cursor)))
            })
        })
    }
}

impl UnknownFields<'_> {
    /// The bytes of all spans.
    fn bytes(self) -> impl Iterator<Item = u8> {
        self.spans.iter().copied().flatten().copied()
    }
}

impl PartialEq for UnknownFields<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.encoded_len() == other.encoded_len() && self.bytes().eq(other.bytes())
    }
}

impl Eq for UnknownFields<'_> {}

impl Hash for UnknownFields<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.encoded_len());
        // One by one, as a hasher may tell slices from those that they are cut into.
        self.bytes().for_each(|byte| state.write_u8(byte));
    }
}

impl fmt::Debug for UnknownFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.fields().map(|(tag, value)| (tag >> 3, value))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn what_is_equal_does_not_depend_on_the_cuts_between_spans() {
        let cuts: [&[&[u8]]; 4] = [
            &[&[8, 1, 16, 2]],
            &[&[8, 1], &[16, 2]],
            &[&[8, 1], &[], &[16], &[2]],
            &[&[], &[8, 1, 16, 2]],
        ];
        let hash = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
        for left in cuts.map(UnknownFields::from_spans) {
            for right in cuts.map(UnknownFields::from_spans) {
                assert_eq!(left, right);
                assert_eq!(hash.hash_one(left), hash.hash_one(right));
            }
            for others in [&[8, 1, 16, 3][..], &[8, 1, 16], &[8, 1, 16, 2, 24, 1], &[]] {
                assert_ne!(left, UnknownFields::from_spans(&[others]));
                assert_ne!(UnknownFields::from_spans(&[others]), left);
            }
            assert_ne!(left, UnknownFields::EMPTY);
        }
        assert_eq!(UnknownFields::from_spans(&[&[], &[]]), UnknownFields::EMPTY);
    }
}
