//! `Any`: a message of any type, packed with its name.

use core::fmt::Write as _;

use super::Any;
use crate::codec::{Message, decode, encode_in};
use crate::{Arena, ArenaFull, ArenaVec, DecodeError, DecodeLimits};

/// What stands before the name of a type unless a registry of one's own is meant.
const PREFIX: &str = "type.googleapis.com/";

/// Text into an arena; an error is that of a spent budget.
struct Text<'v, 'a>(&'v mut ArenaVec<'a, u8>);

impl core::fmt::Write for Text<'_, '_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        text.bytes().try_for_each(|byte| self.0.try_push(byte)).map_err(|_| core::fmt::Error)
    }
}

impl<'a> Any<'a> {
    /// Packs a message, encoded into the arena, under its full name.
    ///
    /// # Errors
    /// When the arena's budget is spent.
    pub fn pack<'m, M: Message<'m>>(message: &M, arena: &'a Arena) -> Result<Self, ArenaFull> {
        let mut url = ArenaVec::new_in(arena);
        write!(Text(&mut url), "{PREFIX}{}", M::info().name()).map_err(|_| ArenaFull)?;
        let type_url = core::str::from_utf8(url.into_slice()).expect("the parts are text");
        Ok(Self { type_url, value: encode_in(message, arena)?, ..Self::EMPTY })
    }

    /// The full name of the packed message's type, as `package.Message`.
    pub fn type_name(&self) -> &'a str {
        self.type_url.rsplit_once('/').map_or(self.type_url, |(_, name)| name)
    }

    /// Whether a message of this type is packed.
    pub fn is<'m, M: Message<'m>>(&self) -> bool {
        self.type_name() == M::info().name()
    }

    /// The packed message, if it is of this type.
    ///
    /// # Errors
    /// When it is, but does not decode.
    pub fn unpack<M: Message<'a>>(
        &self,
        arena: &'a Arena,
        limits: &DecodeLimits,
    ) -> Result<Option<M>, DecodeError> {
        if self.is::<M>() { decode(self.value, arena, limits).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Duration, Timestamp};
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_as_its_own_type_only() {
        let arena = Arena::new();
        let at = Timestamp { seconds: 5, nanos: 6, ..Timestamp::EMPTY };
        let any = Any::pack(&at, &arena).unwrap();
        assert_eq!(any.type_url, "type.googleapis.com/google.protobuf.Timestamp");
        assert_eq!(any.unpack::<Timestamp<'_>>(&arena, &DecodeLimits::DEFAULT), Ok(Some(at)));
        assert_eq!(any.unpack::<Duration<'_>>(&arena, &DecodeLimits::DEFAULT), Ok(None));
        assert_eq!(Any::pack(&at, &Arena::with_budget(10)), Err(ArenaFull));
    }
}
