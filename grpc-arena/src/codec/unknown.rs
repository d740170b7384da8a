//! Fields that the schema does not know.

use core::fmt;

use super::{Cursor, scan};

/// The fields of a message that its schema does not know, kept to be written back.
///
/// Spans of the input, tags included, in their order; neighbours are one span. Extensions are found in here.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
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
        if self.is_empty() { 0 } else { self.sum() }
    }

    #[cold]
    #[inline(never)]
    fn sum(self) -> usize {
        self.spans.iter().map(|span| span.len()).sum()
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

impl fmt::Debug for UnknownFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.fields().map(|(tag, value)| (tag >> 3, value))).finish()
    }
}
