//! Messages that carry the arena they live in, and copies of messages in other arenas.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::{Arena, DecodeError, DecodeLimits, DecodeRule, Encode, Schema, SizeCache};

/// A message type whose values can be copied into another arena and kept in an [`Owned`].
///
/// Generated messages implement it. By hand:
///
/// ```
/// # use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Schema, SizeCache};
/// use grpc_arena::{Family, Owned};
/// struct Slot<'a>(&'a str);
/// # impl Encode for Slot<'_> {
/// #     fn encoded_len(&self, _: &mut SizeCache) -> usize { self.0.len() }
/// #     fn encode(&self, _: &mut SizeCache, out: &mut Vec<u8>) { out.extend(self.0.bytes()) }
/// # }
/// # impl Schema for Slot<'static> {
/// #     type View<'a> = Slot<'a>;
/// #     fn decode<'a>(bytes: &'a [u8], _: &'a Arena, _: &DecodeLimits) -> Result<Slot<'a>, DecodeError> {
/// #         std::str::from_utf8(bytes).map(Slot).map_err(DecodeError::foreign)
/// #     }
/// # }
/// impl Family for Slot<'static> {
///     fn shorten<'s, 'l: 's>(view: &'s Slot<'l>) -> &'s Slot<'s> { view }
/// }
/// let owned: Owned<Slot<'static>> = Owned::copy_of(&Slot("kept"))?;
/// assert_eq!(owned.view().0, "kept");
/// # Ok::<(), DecodeError>(())
/// ```
pub trait Family: Schema {
    /// Shortens the lifetime of a message: returns `view` itself, which compiles for every type that is covariant in its
    /// lifetime.
    fn shorten<'short, 'long: 'short>(
        view: &'short Self::View<'long>,
    ) -> &'short Self::View<'short>;

    /// Copies a message, with all that it borrows, into `arena`: `Person::copy_in(&person, &arena)`.
    ///
    /// The copy is what a receiver of the message would decode; it equals the message unless that holds a NaN, which
    /// equals nothing. Takes the encoded size and what decoding takes.
    ///
    /// # Errors
    /// When the arena's budget is spent, a `required` field is missing, messages nest more than 100 levels deep, or
    /// spans of unknown fields are no fields.
    fn copy_in<'a>(
        message: &Self::View<'_>,
        arena: &'a Arena,
    ) -> Result<Self::View<'a>, DecodeError> {
        Self::decode(bytes_in(&message.encode_to_vec(), arena)?, arena, &COPIES)
    }
}

/// The limits of a copy. The message is in memory already, so only its depth is limited, which protects the stack.
const COPIES: DecodeLimits =
    DecodeLimits::DEFAULT.with_arena_bytes(usize::MAX).with_unknown_fields(u32::MAX);

fn bytes_in<'a>(bytes: &[u8], arena: &'a Arena) -> Result<&'a [u8], DecodeError> {
    match arena.try_alloc_slice(bytes) {
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(DecodeError::new(DecodeRule::ArenaBudget, 0)),
    }
}

/// Encodes a message into a vector of its own, with a cache of its own: what [`Encode::encode_to_vec`] does.
pub(crate) fn encode_to_vec<M: Encode + ?Sized>(message: &M) -> Vec<u8> {
    let mut cache = SizeCache::new();
    let mut out = Vec::with_capacity(message.encoded_len(&mut cache));
    message.encode(&mut cache, &mut out);
    out
}

/// A message together with the arena that it lives in: it borrows nothing, so it can be put into maps, sent to other
/// threads and held over an `await`.
///
/// ```
/// use std::collections::HashMap;
/// use grpc_arena::{Owned, wkt::Struct, wkt::Value, wkt::value::Kind};
///
/// let text = String::from("kept");
/// let value = Value { kind: Some(Kind::StringValue(&text)), ..Value::EMPTY };
/// let mut kept: HashMap<u32, Owned<Value<'static>>> = HashMap::new();
/// kept.insert(7, Owned::copy_of(&value)?);
/// drop(text);
/// std::thread::spawn(move || {
///     assert_eq!(kept[&7].view().kind, Some(Kind::StringValue("kept")));
/// })
/// .join()
/// .unwrap();
/// # Ok::<(), grpc_arena::DecodeError>(())
/// ```
///
/// Each has an arena of its own, which takes two allocations. For many messages that are dropped together, one [`Arena`]
/// for all of them takes less. There is no `Clone`, as a copy can fail: `Owned::copy_of(owned.view())`.
///
/// Nothing that is borrowed from a view outlives the owner:
///
/// ```compile_fail,E0505
/// use grpc_arena::{Owned, wkt::StringValue};
/// let owned: Owned<StringValue<'static>> = Owned::copy_of(&StringValue::EMPTY).unwrap();
/// let text: &str = owned.view().value;
/// drop(owned);
/// println!("{text}");
/// ```
///
/// nor can [`with`](Self::with) return it, though it can return what borrows nothing, as `message.value.len()`:
///
/// ```compile_fail
/// use grpc_arena::{Owned, wkt::StringValue};
/// let owned: Owned<StringValue<'static>> = Owned::copy_of(&StringValue::EMPTY).unwrap();
/// let text: &str = owned.with(|message| message.value);
/// ```
///
/// A type that holds a reference to its arena cannot be sent to another thread, where it could allocate while this thread
/// does:
///
/// ```compile_fail,E0277
/// use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Owned, Schema, SizeCache};
/// struct Slot<'a>(&'a Arena);
/// impl Encode for Slot<'_> {
///     fn encoded_len(&self, _: &mut SizeCache) -> usize { 0 }
///     fn encode(&self, _: &mut SizeCache, _: &mut Vec<u8>) {}
/// }
/// impl Schema for Slot<'static> {
///     type View<'a> = Slot<'a>;
///     fn decode<'a>(_: &'a [u8], arena: &'a Arena, _: &DecodeLimits) -> Result<Slot<'a>, DecodeError> {
///         Ok(Slot(arena))
///     }
/// }
/// fn send<T: Send>(_: T) {}
/// send(Owned::<Slot<'static>>::decode(b"", &DecodeLimits::DEFAULT).unwrap());
/// ```
///
/// A type that is not covariant has no view, as a reference that lives shorter than the message could be put into it:
///
/// ```compile_fail
/// use core::cell::Cell;
/// use grpc_arena::{Arena, DecodeError, DecodeLimits, Encode, Family, Schema, SizeCache};
/// struct Slot<'a>(Cell<&'a str>);
/// impl Encode for Slot<'_> {
///     fn encoded_len(&self, _: &mut SizeCache) -> usize { 0 }
///     fn encode(&self, _: &mut SizeCache, _: &mut Vec<u8>) {}
/// }
/// impl Schema for Slot<'static> {
///     type View<'a> = Slot<'a>;
///     fn decode<'a>(_: &'a [u8], _: &'a Arena, _: &DecodeLimits) -> Result<Slot<'a>, DecodeError> {
///         Ok(Slot(Cell::new("")))
///     }
/// }
/// impl Family for Slot<'static> {
///     fn shorten<'s, 'l: 's>(view: &'s Slot<'l>) -> &'s Slot<'s> { view }
/// }
/// ```
pub struct Owned<M: Schema> {
    /// Borrows from `home`; `'static` stands for a lifetime that has no name. Callers see shorter lifetimes only.
    view: ManuallyDrop<M::View<'static>>,
    home: Home,
}

/// An arena at an address of its own.
///
/// Not a `Box`: moving a `Box` asserts that nothing else points into it, and the view of an [`Owned`] does.
struct Home(NonNull<Arena>);

impl Home {
    fn new(capacity: usize) -> Self {
        Self(NonNull::from(Box::leak(Box::new(Arena::with_capacity(capacity)))))
    }

    fn arena(&self) -> &Arena {
        // SAFETY: the arena lives until `self` is dropped, and nothing makes a `&mut` of it before.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a `Box` and is freed once, here. No borrow of the arena is left: `Owned::decode`
        // declares its `Home` before all that borrows from it, and `Owned` drops its view before its fields.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<M: Schema> Owned<M> {
    /// Decodes a message, copying `bytes` once.
    ///
    /// # Errors
    /// As [`Schema::decode`].
    pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, DecodeError> {
        // What strings take, and about as much again for lists and submessages.
        let home = Home::new(bytes.len().saturating_mul(2));
        let kept: *const [u8] = bytes_in(bytes, home.arena())?;
        // SAFETY: the bytes and the arena keep their addresses until `home` is dropped, which happens after the view is
        // dropped: here, as locals are dropped in reverse order, and in `Drop for Owned`. Until then nothing resets the
        // arena or makes a `&mut` of it. `'static` claims more than that, but no code can use the claim: `M::decode` is
        // generic over the lifetime, so it cannot store anything for longer than a lifetime that it does not know, and
        // `view` and `with` give the message out with lifetimes that end before `self` does.
        let (kept, arena) = unsafe { (&*kept, home.0.as_ref()) };
        let view = ManuallyDrop::new(M::decode(kept, arena, limits)?);
        Ok(Self { view, home })
    }

    /// A copy of a message, as of one that lives in the arena of a connection.
    ///
    /// # Errors
    /// As [`Family::copy_in`].
    pub fn copy_of(message: &M::View<'_>) -> Result<Self, DecodeError> {
        Self::decode(&message.encode_to_vec(), &COPIES)
    }

    /// Calls `f` with the message. Works for every type; [`view`](Self::view), which only a [`Family`] has, is shorter to
    /// write.
    pub fn with<R>(&self, f: impl for<'v, 'a> FnOnce(&'v M::View<'a>) -> R) -> R {
        // `f` accepts every lifetime 'a. So it cannot store a borrow of the message outside, and if the message has a cell,
        // all that `f` can put into it are 'static values and parts of the same message.
        f(&self.view)
    }

    /// How many bytes of the heap the message and its arena take.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Arena>() + self.home.arena().heap_bytes()
    }
}

impl<M: Family> Owned<M> {
    /// The message.
    pub fn view(&self) -> &M::View<'_> {
        // `shorten` is generic over both lifetimes, so it can do no more than the closure of `with`.
        M::shorten(&self.view)
    }
}

impl<M: Schema> Drop for Owned<M> {
    fn drop(&mut self) {
        // SAFETY: the view is dropped once, here, and not used again. The arena that it borrows from is a field, and fields
        // are dropped after this function.
        unsafe { ManuallyDrop::drop(&mut self.view) };
    }
}

// SAFETY: the view is `Send` for every lifetime, and the arena, which is `Send`, moves with it. Only the view can hold
// references to the arena; one that does is not `Send`, as the arena is not `Sync`.
unsafe impl<M: Schema> Send for Owned<M> where for<'a> M::View<'a>: Send {}

// SAFETY: a shared owner gives access to the view, which is `Sync`, and to the arena's size. That is read from cells which
// nothing writes to meanwhile: only a view with a reference to the arena could, and such a view is not `Sync`.
unsafe impl<M: Schema> Sync for Owned<M> where for<'a> M::View<'a>: Sync {}

impl<M: Schema> fmt::Debug for Owned<M>
where
    for<'a> M::View<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|view| view.fmt(f))
    }
}

impl<M: Family> PartialEq for Owned<M>
where
    for<'a> M::View<'a>: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl<M: Family> Eq for Owned<M> where for<'a> M::View<'a>: Eq {}

impl<M: Schema> Hash for Owned<M>
where
    for<'a> M::View<'a>: Hash,
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.with(|view| view.hash(state));
    }
}

impl<M: Schema> Encode for Owned<M> {
    fn encoded_len(&self, cache: &mut SizeCache) -> usize {
        self.with(|view| view.encoded_len(cache))
    }

    fn encode(&self, cache: &mut SizeCache, out: &mut Vec<u8>) {
        self.with(|view| view.encode(cache, out));
    }
}
