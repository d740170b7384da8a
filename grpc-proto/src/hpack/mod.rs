//! HPACK, the header compression of HTTP/2 (RFC 7541), for both directions of a connection.
//!
//! A [`FieldList`] is what the layers above deal in: a flat, reusable buffer of fields that already
//! know their [`Token`] and whether HTTP/2 allows them. An [`Encoder`] appends one field block made
//! of a list; a [`Decoder`] appends to a list what one field block says.
//!
//! ```
//! use grpc_proto::hpack::{Decoder, Encoder, FieldList, ListLimits, ListOutcome, Token};
//!
//! let mut head = FieldList::new();
//! head.push_known(Token::Method, b"POST");
//! head.push_known(Token::Path, b"/helloworld.Greeter/SayHello");
//! head.push(b"x-request-id", b"7f3a");
//!
//! let mut block = Vec::new();
//! Encoder::new().encode(&head, &mut block);
//!
//! let mut seen = FieldList::new();
//! let outcome = Decoder::new(4096).decode(&block, &ListLimits::default(), &mut seen);
//! assert_eq!(outcome, Ok(ListOutcome::Complete));
//! assert_eq!(seen, head);
//! assert_eq!(seen.find(Token::Method).map(|field| field.value), Some(&b"POST"[..]));
//! ```

mod decoder;
mod encoder;
mod error;
mod huffman;
mod integer;
mod list;
mod static_table;
mod table;
mod token;
mod validate;

pub(crate) use decoder::plain_values;
pub use decoder::{Decoder, ListLimits, ListOutcome};
pub use encoder::Encoder;
pub use error::DecodeError;
pub use list::{Field, FieldFlags, FieldList, Fields};
pub use token::Token;
#[cfg(feature = "http")]
pub(crate) use validate::is_ascii_value;

/// The size of both dynamic tables until SETTINGS say otherwise (RFC 9113 §6.5.2).
pub const DEFAULT_TABLE_SIZE: u32 = 4096;
