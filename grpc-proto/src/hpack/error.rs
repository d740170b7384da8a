//! How field blocks break RFC 7541.

use core::fmt;

use super::huffman::HuffmanError;
use super::integer::IntegerError;

/// How a field block breaks RFC 7541.
///
/// The dynamic tables of the two ends may differ from here on, so the connection ends with
/// COMPRESSION_ERROR (RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The block ends inside a field: an integer goes on beyond it, or a string is longer than what
    /// remains.
    Truncated,
    /// An integer exceeds 32 bits, or has more than five octets after its prefix (§5.1).
    IntegerOverflow,
    /// A field refers to index zero (§6.1).
    IndexOfZero,
    /// An index lies beyond both tables (§2.3.3).
    IndexBeyondTable,
    /// A Huffman-coded string holds the code of EOS (§5.2).
    HuffmanEndOfString,
    /// A Huffman-coded string is padded with more than seven bits (§5.2).
    HuffmanPaddingTooLong,
    /// A Huffman-coded string is not padded with ones (§5.2).
    HuffmanPaddingNotOnes,
    /// A dynamic table size update stands after a field (§4.2).
    SizeUpdateAfterField,
    /// A third dynamic table size update in one block (§4.2).
    SizeUpdateRepeated,
    /// A dynamic table size update exceeds what SETTINGS_HEADER_TABLE_SIZE allows (§6.3).
    SizeUpdateBeyondLimit,
    /// SETTINGS reduced the dynamic table and the next block did not start with an update that obeys
    /// (§4.2).
    SizeUpdateMissing,
}

impl DecodeError {
    /// The violated rule for people to read, as in the debug data of GOAWAY.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "field block ends inside a field (RFC 7541 section 5)",
            Self::IntegerOverflow => "integer too large or too long (RFC 7541 section 5.1)",
            Self::IndexOfZero => "field with index zero (RFC 7541 section 6.1)",
            Self::IndexBeyondTable => "index beyond the tables (RFC 7541 section 2.3.3)",
            Self::HuffmanEndOfString => "EOS inside a Huffman-coded string (RFC 7541 section 5.2)",
            Self::HuffmanPaddingTooLong => {
                "Huffman padding longer than seven bits (RFC 7541 section 5.2)"
            }
            Self::HuffmanPaddingNotOnes => "Huffman padding not all ones (RFC 7541 section 5.2)",
            Self::SizeUpdateAfterField => "table size update after a field (RFC 7541 section 4.2)",
            Self::SizeUpdateRepeated => "third table size update in a block (RFC 7541 section 4.2)",
            Self::SizeUpdateBeyondLimit => {
                "table size update beyond SETTINGS_HEADER_TABLE_SIZE (RFC 7541 section 6.3)"
            }
            Self::SizeUpdateMissing => {
                "no table size update after SETTINGS reduced the table (RFC 7541 section 4.2)"
            }
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for DecodeError {}

impl From<IntegerError> for DecodeError {
    fn from(error: IntegerError) -> Self {
        match error {
            IntegerError::Truncated => DecodeError::Truncated,
            IntegerError::Overflow => DecodeError::IntegerOverflow,
        }
    }
}

impl From<HuffmanError> for DecodeError {
    fn from(error: HuffmanError) -> Self {
        match error {
            HuffmanError::EndOfString => DecodeError::HuffmanEndOfString,
            HuffmanError::PaddingTooLong => DecodeError::HuffmanPaddingTooLong,
            HuffmanError::PaddingNotOnes => DecodeError::HuffmanPaddingNotOnes,
        }
    }
}
