//! A server against any bytes: cut anywhere, it hears and says the same.

use crate::conversation::{PREFIX, serve};

/// The first byte says how the rest is cut, and whether the beginning is given.
pub fn check(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    let mut wire = if how & 1 == 0 { PREFIX.to_vec() } else { Vec::new() };
    wire.extend_from_slice(rest);
    let whole = serve(&wire, usize::MAX);
    assert_eq!(whole, serve(&wire, usize::from(how >> 1) + 1));
}
