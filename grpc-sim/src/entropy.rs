//! The one source of everything that could differ between two runs.

mod chacha;

use chacha::ChaCha8;

/// What a draw is for. Each concern has a stream of its own, so that drawing less for one leaves the
/// others as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Which features, faults and limits a world has at all.
    Swarm,
    /// Clients, servers, links and their limits.
    Shape,
    /// Calls and what both ends do with them.
    Application,
    /// Faults and their times.
    Faults,
    /// Hostile peers.
    Adversary,
    /// Calls that come and go together.
    Crowd,
    /// Limits that must fit the calls of a world to be met at all.
    Limits,
    /// What a world is about, if it is about one thing.
    Particular,
}

const CONCERNS: usize = 8;

/// A source of choices.
pub trait Entropy {
    /// A number below `bound`, which is at least 1.
    fn below(&mut self, concern: Concern, bound: u64) -> u64;
}

/// Entropy from a seed: ChaCha with 8 rounds, a key a seed and a nonce a concern.
#[derive(Debug)]
pub struct Seeded([ChaCha8; CONCERNS]);

impl Seeded {
    /// The streams of `seed`.
    pub fn new(seed: u64) -> Self {
        Seeded(std::array::from_fn(|concern| ChaCha8::new(seed, concern as u64)))
    }
}

impl Entropy for Seeded {
    fn below(&mut self, concern: Concern, bound: u64) -> u64 {
        let word = self.0[concern as usize].next_u64();
        // The high word of the product: a bias below bound / 2⁶⁴, the same on every machine.
        ((u128::from(word) * u128::from(bound)) >> 64) as u64
    }
}

/// Entropy from a finite tape of bytes, as a fuzzer gives it; zeros follow its end.
#[derive(Debug)]
pub struct Tape<'t> {
    bytes: &'t [u8],
}

impl<'t> Tape<'t> {
    /// A tape at its start.
    pub fn new(bytes: &'t [u8]) -> Self {
        Tape { bytes }
    }

    /// Whether all of it has been read.
    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Entropy for Tape<'_> {
    fn below(&mut self, _: Concern, bound: u64) -> u64 {
        // As few bytes as the bound needs, so that a fuzzer's small change stays a small change.
        let mut value = 0u64;
        let mut span = bound.max(1) - 1;
        while span > 0 {
            let Some((&byte, rest)) = self.bytes.split_first() else { break };
            self.bytes = rest;
            value = value << 8 | u64::from(byte);
            span >>= 8;
        }
        value % bound.max(1)
    }
}

/// Passes draws on and remembers them, to be played again by [`Recorded`].
#[derive(Debug)]
pub struct Recorder<E> {
    inner: E,
    draws: [Vec<u64>; CONCERNS],
}

impl<E: Entropy> Recorder<E> {
    /// Records what `inner` gives.
    pub fn new(inner: E) -> Self {
        Recorder { inner, draws: Default::default() }
    }

    /// What was drawn, ready to be played.
    pub fn into_recorded(self) -> Recorded {
        Recorded { draws: self.draws, at: [0; CONCERNS] }
    }
}

impl<E: Entropy> Entropy for Recorder<E> {
    fn below(&mut self, concern: Concern, bound: u64) -> u64 {
        let value = self.inner.below(concern, bound);
        self.draws[concern as usize].push(value);
        value
    }
}

/// Draws that were recorded; zeros follow their end, and a bound that has become smaller wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    draws: [Vec<u64>; CONCERNS],
    at: [usize; CONCERNS],
}

impl Entropy for Recorded {
    fn below(&mut self, concern: Concern, bound: u64) -> u64 {
        let at = &mut self.at[concern as usize];
        let value = self.draws[concern as usize].get(*at).copied().unwrap_or(0);
        *at += 1;
        value.min(bound - 1)
    }
}

/// Every combination of choices, one a run, for worlds small enough to be tried exhaustively.
///
/// An odometer: the last choice moves first, and a choice that has seen all its values is forgotten
/// with everything after it.
#[derive(Debug, Default)]
pub struct Enumerator {
    choices: Vec<(u64, u64)>,
    at: usize,
}

impl Enumerator {
    /// Before the first combination.
    pub fn new() -> Self {
        Enumerator::default()
    }

    /// Goes to the next combination; `false` when all have been given.
    pub fn advance(&mut self) -> bool {
        self.choices.truncate(self.at);
        self.at = 0;
        while let Some((value, bound)) = self.choices.pop() {
            if value + 1 < bound {
                self.choices.push((value + 1, bound));
                return true;
            }
        }
        false
    }
}

impl Entropy for Enumerator {
    fn below(&mut self, _: Concern, bound: u64) -> u64 {
        if self.at == self.choices.len() {
            self.choices.push((0, bound));
        }
        let (value, _) = self.choices[self.at];
        self.at += 1;
        value
    }
}

/// Draws of one concern, with the shapes that generators want.
pub(crate) struct Draw<'e> {
    entropy: &'e mut dyn Entropy,
    concern: Concern,
}

impl<'e> Draw<'e> {
    pub(crate) fn new(entropy: &'e mut dyn Entropy, concern: Concern) -> Self {
        Draw { entropy, concern }
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.entropy.below(self.concern, bound)
    }

    /// A number of `low..=high`.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `times`.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == times - 1
    }

    pub(crate) fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize].clone()
    }

    /// Small numbers mostly, large ones sometimes: the number of bits is drawn first.
    pub(crate) fn skewed(&mut self, max: u64) -> u64 {
        let bits = 64 - max.leading_zeros() as u64;
        let drawn = self.below(bits + 1);
        self.below((1 << drawn).min(max) + 1)
    }
}

/// Spreads a few numbers over 64 bits (splitmix64), for what only has to be different.
pub(crate) fn mix(seed: u64, salt: u64) -> u64 {
    let mut z = seed.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawing_more_of_one_concern_leaves_the_others_alone() {
        let (mut one, mut two) = (Seeded::new(7), Seeded::new(7));
        for _ in 0..100 {
            two.below(Concern::Faults, 10);
        }
        for _ in 0..100 {
            assert_eq!(
                one.below(Concern::Application, 1 << 40),
                two.below(Concern::Application, 1 << 40)
            );
        }
    }

    #[test]
    fn a_recorded_tape_plays_what_was_drawn() {
        let mut recorder = Recorder::new(Seeded::new(3));
        let drawn: Vec<_> = (1..200).map(|n| recorder.below(Concern::Shape, n)).collect();
        let mut recorded = recorder.into_recorded();
        let played: Vec<_> = (1..200).map(|n| recorded.below(Concern::Shape, n)).collect();
        assert_eq!(drawn, played);
    }

    #[test]
    fn a_tape_gives_zeros_after_its_end_and_stays_below_the_bound() {
        let mut tape = Tape::new(&[255, 7, 9]);
        assert_eq!(tape.below(Concern::Swarm, 1), 0);
        assert_eq!(tape.below(Concern::Swarm, 256), 255);
        assert_eq!(tape.below(Concern::Swarm, 257), 0x0709 % 257);
        assert!(tape.is_at_end());
        assert_eq!(tape.below(Concern::Swarm, 1000), 0);
    }

    #[test]
    fn the_enumerator_gives_every_combination_once() {
        let mut all = Enumerator::new();
        let mut seen = std::collections::BTreeSet::new();
        loop {
            // The second choice's bound depends on the first, as generators' choices do.
            let first = all.below(Concern::Swarm, 3);
            let second = all.below(Concern::Swarm, first + 1);
            assert!(seen.insert((first, second)));
            if !all.advance() {
                break;
            }
        }
        assert_eq!(seen.len(), 1 + 2 + 3);
    }
}
