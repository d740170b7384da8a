//! What happened, as a hash always and as text when somebody looks.

use grpc_proto::http2::Side;

/// A hash that is the same on every machine and in every build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Hash(0x6a09_e667_f3bc_c908)
    }
}

impl Hash {
    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }

    /// Adds bytes, eight at a time, and how many they were.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.number(u64::from_le_bytes(last));
        self.number(bytes.len() as u64);
    }

    /// The hash so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When.
    pub at_ns: u64,
    /// On which connection; `None` for the world as a whole.
    pub conn: Option<usize>,
    /// At which end of it.
    pub side: Option<Side>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Something that a person reads.
    Note(String),
    /// A call began or ended at the client.
    Call {
        /// Its number in the scenario.
        call: usize,
        /// Whether it began.
        begins: bool,
    },
    /// Bytes were written to the network.
    Wrote(Vec<u8>),
}

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: Hash,
    entries: Option<Vec<Entry>>,
    steps: u64,
}

impl Trace {
    /// One that keeps its entries.
    pub(crate) fn kept() -> Self {
        Trace { entries: Some(Vec::new()), ..Trace::default() }
    }

    /// Hash of everything that happened.
    pub fn hash(&self) -> u64 {
        self.hash.value()
    }

    /// How much happened.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What happened, if it was kept.
    pub fn entries(&self) -> &[Entry] {
        self.entries.as_deref().unwrap_or_default()
    }

    /// Adds something: `numbers` to the hash, `text` to what is kept.
    pub(crate) fn note(
        &mut self,
        at_ns: u64,
        place: Option<(usize, Side)>,
        numbers: &[u64],
        text: impl FnOnce() -> String,
    ) {
        self.count(at_ns, place);
        for &number in numbers {
            self.hash.number(number);
        }
        self.keep(at_ns, place, || What::Note(text()));
    }

    pub(crate) fn wrote(&mut self, at_ns: u64, place: (usize, Side), bytes: &[u8]) {
        self.count(at_ns, Some(place));
        self.hash.bytes(bytes);
        self.keep(at_ns, Some(place), || What::Wrote(bytes.to_vec()));
    }

    pub(crate) fn call(&mut self, at_ns: u64, conn: usize, call: usize, begins: bool) {
        self.hash.number(call as u64 * 2 + u64::from(begins));
        self.keep(at_ns, Some((conn, Side::Client)), || What::Call { call, begins });
    }

    fn count(&mut self, at_ns: u64, place: Option<(usize, Side)>) {
        self.steps += 1;
        self.hash.number(at_ns);
        if let Some((conn, side)) = place {
            self.hash.number(conn as u64 * 2 + side as u64);
        }
    }

    fn keep(&mut self, at_ns: u64, place: Option<(usize, Side)>, what: impl FnOnce() -> What) {
        if let Some(entries) = &mut self.entries {
            let (conn, side) = place.unzip();
            entries.push(Entry { at_ns, conn, side, what: what() });
        }
    }
}
