//! A fuzzer's bytes, read as choices of one byte each, so that a small change of the bytes is a small change of the
//! script. Payloads are taken as they are, so that a dictionary's words fit.

/// What is left of the bytes; zeros follow their end.
pub struct Tape<'d>(&'d [u8]);

impl<'d> Tape<'d> {
    /// A tape at its start.
    pub fn new(bytes: &'d [u8]) -> Self {
        Tape(bytes)
    }

    /// Whether all of it has been read.
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// The next `len` bytes, or as many as there are.
    pub fn take(&mut self, len: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self) -> &'d [u8] {
        let len = self.byte();
        self.take(len.into())
    }

    /// A number: small ones are themselves, above 200 the powers of two up to 2³¹ and one less or more.
    pub fn number(&mut self) -> u32 {
        match self.byte() {
            small @ 0..=200 => small.into(),
            large => {
                let (power, off) = ((u32::from(large) - 201) % 32, (large - 201) / 32);
                (1u32 << power).wrapping_add(off.into()).wrapping_sub(1)
            }
        }
    }
}
