//! What the layers above ask of a message.

use alloc::vec::Vec;

use crate::{Arena, DecodeError, DecodeLimits};

/// A message type as a family over the lifetime that its values borrow for.
///
/// A type parameter names one type, but a borrowing message is another type for every lifetime; so generic code
/// takes the family. By convention a generated message at `'static` stands for its family:
/// `impl Schema for Point<'static> { type View<'a> = Point<'a>; .. }`.
pub trait Schema: 'static {
    /// The message, borrowing the input, the arena, or both for `'a`.
    type View<'a>: Encode;

    /// Decodes one message from all of `bytes`.
    ///
    /// # Errors
    /// Names the rule that the bytes break, the field and the offset. Memory taken from the arena for a message
    /// that fails is given back by the arena's next reset.
    fn decode<'a>(
        bytes: &'a [u8],
        arena: &'a Arena,
        limits: &DecodeLimits,
    ) -> Result<Self::View<'a>, DecodeError>;
}

/// A message that can be written.
///
/// Writing takes two passes over the message: [`encoded_len`](Self::encoded_len) finds the exact size, so that
/// whatever precedes the message (a length prefix, a frame header) is written once and in place, and
/// [`encode`](Self::encode) appends exactly that many bytes.
///
/// ```
/// use grpc_arena::{Encode, SizeCache};
/// fn frame<M: Encode + ?Sized>(message: &M, cache: &mut SizeCache, out: &mut Vec<u8>) {
///     let len = message.encoded_len(cache);
///     out.reserve(4 + len);
///     out.extend_from_slice(&(len as u32).to_be_bytes());
///     message.encode(cache, out);
/// }
/// ```
pub trait Encode {
    /// The exact size of the encoded message in bytes; remembers the sizes of nested messages in `cache`.
    fn encoded_len(&self, cache: &mut SizeCache) -> usize;

    /// Appends the message to `out`, exactly as many bytes as [`encoded_len`](Self::encoded_len) returned.
    ///
    /// `cache` must be as that call on this very message left it; after another one between, what is appended is
    /// unspecified (but memory-safe), and a debug build may panic.
    fn encode(&self, cache: &mut SizeCache, out: &mut Vec<u8>);

    /// Encodes the message into a vector of its own. Allocates a cache too; to encode often, reuse both.
    fn encode_to_vec(&self) -> Vec<u8> {
        crate::owned::encode_to_vec(self)
    }
}

impl<M: Encode + ?Sized> Encode for &M {
    fn encoded_len(&self, cache: &mut SizeCache) -> usize {
        (**self).encoded_len(cache)
    }

    fn encode(&self, cache: &mut SizeCache, out: &mut Vec<u8>) {
        (**self).encode(cache, out);
    }
}

/// The sizes of nested messages between the two passes of [`Encode`].
///
/// Scratch to be reused: it keeps its memory, so that encoding allocates nothing once it has seen the largest
/// message. Without it, each level of nesting would compute the sizes of all levels below once more.
#[derive(Clone, Debug, Default)]
pub struct SizeCache {
    /// In the order in which the first pass entered the messages, which is the order of the second.
    sizes: Vec<usize>,
    next: usize,
    /// The size of the outermost message, which has no place among those within it.
    whole: usize,
}

impl SizeCache {
    /// An empty cache; allocates on first use.
    pub const fn new() -> Self {
        Self { sizes: Vec::new(), next: 0, whole: 0 }
    }

    /// Forgets the sizes of the message before: how an implementation of [`Encode::encoded_len`] begins.
    pub fn clear(&mut self) {
        self.sizes.clear();
        (self.next, self.whole) = (0, 0);
    }

    /// Goes back to the first size: how an implementation of [`Encode::encode`] begins.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// Remembers the size of the outermost message.
    #[inline]
    pub(crate) fn set_whole(&mut self, size: usize) {
        self.whole = size;
    }

    /// The size of the outermost message.
    #[inline]
    pub(crate) fn whole(&self) -> usize {
        self.whole
    }

    /// Takes the place of a size that [`set`](Self::set) will fill, before the sizes of what lies within.
    #[inline]
    pub fn reserve(&mut self) -> usize {
        self.push(0);
        self.sizes.len() - 1
    }

    /// Remembers the size of what has no sizes within.
    #[inline]
    pub fn push(&mut self, size: usize) {
        self.sizes.push(size);
    }

    /// Fills a place taken by [`reserve`](Self::reserve).
    #[inline]
    pub fn set(&mut self, place: usize, size: usize) {
        if let Some(slot) = self.sizes.get_mut(place) {
            *slot = size;
        }
    }

    /// The next size in the order of [`reserve`](Self::reserve); 0 past the last.
    #[inline]
    pub fn next_size(&mut self) -> usize {
        let size = self.sizes.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        size
    }
}
