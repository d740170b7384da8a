//! ChaCha with 8 rounds: a generator that is defined bit for bit, so that a seed means the same everywhere.

/// The block function of RFC 8439 §2.3 with a 64-bit counter and nonce, as its inventor laid it out.
#[derive(Debug)]
pub(super) struct ChaCha8 {
    state: [u32; 16],
    block: [u32; 16],
    used: usize,
}

const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

impl ChaCha8 {
    pub(super) fn new(key: u64, nonce: u64) -> Self {
        let mut state = [0; 16];
        state[..4].copy_from_slice(&CONSTANTS);
        (state[4], state[5]) = (key as u32, (key >> 32) as u32);
        (state[14], state[15]) = (nonce as u32, (nonce >> 32) as u32);
        ChaCha8 { state, block: [0; 16], used: 16 }
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        if self.used == 16 {
            self.block = block(&self.state, 4);
            let counter = (u64::from(self.state[13]) << 32 | u64::from(self.state[12])) + 1;
            (self.state[12], self.state[13]) = (counter as u32, (counter >> 32) as u32);
            self.used = 0;
        }
        let (low, high) = (self.block[self.used], self.block[self.used + 1]);
        self.used += 2;
        u64::from(high) << 32 | u64::from(low)
    }
}

fn block(state: &[u32; 16], double_rounds: usize) -> [u32; 16] {
    let mut x = *state;
    for _ in 0..double_rounds {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter(&mut x, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter(&mut x, a, b, c, d);
        }
    }
    for (word, start) in x.iter_mut().zip(state) {
        *word = word.wrapping_add(*start);
    }
    x
}

fn quarter(x: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    for [into, from, mixed, turn] in [[a, b, d, 16], [c, d, b, 12], [a, b, d, 8], [c, d, b, 7]] {
        x[into] = x[into].wrapping_add(x[from]);
        x[mixed] = (x[mixed] ^ x[into]).rotate_left(turn as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_rounds_give_the_block_of_rfc_8439() {
        let mut state = [0; 16];
        state[..4].copy_from_slice(&CONSTANTS);
        for (n, word) in state[4..12].iter_mut().enumerate() {
            let first = 4 * n as u32;
            *word = first | (first + 1) << 8 | (first + 2) << 16 | (first + 3) << 24;
        }
        state[12..].copy_from_slice(&[1, 0x0900_0000, 0x4a00_0000, 0]);
        let out = block(&state, 10);
        assert_eq!(out[..4], [0xe4e7_f110, 0x1559_3bd1, 0x1fdd_0f50, 0xc471_20a3]);
        assert_eq!(out[15], 0x4e3c_50a2);
    }
}
