//! A client against any bytes: its events and output do not depend on the cuts.

use grpc_proto::Client;

use crate::conversation::{Manner, SETTINGS, Step, limits, same_however_cut};

/// The first byte chooses the limits, the second whether SETTINGS are given and how the rest is cut.
pub fn check(data: &[u8]) {
    let [choice, how, rest @ ..] = data else { return };
    let mut wire = if how & 1 == 0 { SETTINGS.to_vec() } else { Vec::new() };
    wire.extend_from_slice(rest);
    let manner = Manner { limits: limits(*choice), echo: false };
    same_however_cut::<Client>(&manner, &[Step::Bytes(wire)], usize::from(how >> 1) + 1);
}
