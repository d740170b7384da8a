//! A client against any bytes: cut anywhere, it hears and says the same.

use crate::conversation::call;

/// The first byte says how the rest is cut, and whether SETTINGS are given.
pub fn check(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    let mut wire = if how & 1 == 0 { vec![0, 0, 0, 4, 0, 0, 0, 0, 0] } else { Vec::new() };
    wire.extend_from_slice(rest);
    let whole = call(&wire, usize::MAX);
    assert_eq!(whole, call(&wire, usize::from(how >> 1) + 1));
}
