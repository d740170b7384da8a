//! What one decode may cost.

/// What one decode may cost, whatever the bytes say.
///
/// The caller bounds the input; these bound what input can be amplified into. Each is counted from
/// zero for every call of [`Schema::decode`](crate::Schema::decode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeLimits {
    /// How deep messages and groups, known or unknown, may nest below the outermost one. Default 100, the figure
    /// of C++, Java, upb and prost (Go has 10,000); an entry of a map is a level, as it is in upb and prost. Each
    /// level costs a stack frame of a few hundred bytes.
    pub depth: u32,
    /// How many bytes of the arena one message may take. Default 64 MiB: a message of gRPC's default 4 MiB limit
    /// fits even as one-byte varints in 8-byte elements, while two-byte empty submessages, which can grow
    /// fiftyfold, are refused.
    pub arena_bytes: usize,
    /// How many unknown fields are kept. Default 1 Mi: more than a message of 4 MiB holds unless nearly all of it
    /// is unknown and tiny.
    pub unknown_fields: u32,
}

impl DecodeLimits {
    /// The default limits, in a form that constants can use.
    pub const DEFAULT: Self = Self { depth: 100, arena_bytes: 64 << 20, unknown_fields: 1 << 20 };

    /// Sets [`depth`](Self::depth).
    #[must_use]
    pub const fn with_depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }

    /// Sets [`arena_bytes`](Self::arena_bytes).
    #[must_use]
    pub const fn with_arena_bytes(mut self, bytes: usize) -> Self {
        self.arena_bytes = bytes;
        self
    }

    /// Sets [`unknown_fields`](Self::unknown_fields).
    #[must_use]
    pub const fn with_unknown_fields(mut self, count: u32) -> Self {
        self.unknown_fields = count;
        self
    }
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
