//! A server against any bytes: its events and output do not depend on the cuts.

use grpc_proto::Server;

use crate::conversation::{Manner, PREFIX, Step, limits, same_however_cut};

/// The first byte chooses the limits, the second whether the beginning is given and how the rest is cut.
pub fn check(data: &[u8]) {
    let [choice, how, rest @ ..] = data else { return };
    let mut wire = if how & 1 == 0 { PREFIX.to_vec() } else { Vec::new() };
    wire.extend_from_slice(rest);
    let manner = Manner { limits: limits(*choice), echo: true };
    same_however_cut::<Server>(&manner, &[Step::Bytes(wire)], usize::from(how >> 1) + 1);
}
