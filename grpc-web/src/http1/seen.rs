//! The fields of a request that decide what becomes of it, and those that are its metadata.

use grpc_proto::hpack::FieldList;

use super::head::{self, Head};
use crate::translate::is_hop;

/// The fields of a request that decide what becomes of it.
#[derive(Default)]
pub(super) struct Seen<'b> {
    pub(super) content_type: Option<&'b [u8]>,
    pub(super) timeout: Option<&'b [u8]>,
    pub(super) origin: Option<&'b [u8]>,
    pub(super) origins: usize,
    pub(super) method_asked: bool,
    pub(super) headers_asked: Option<&'b [u8]>,
    connection: Option<&'b [u8]>,
}

impl<'b> Seen<'b> {
    pub(super) fn of(head: &Head<'_, 'b>) -> Self {
        let mut seen = Seen::default();
        for field in head.fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            match field.name.len() {
                6 if is("origin") => {
                    seen.origin = Some(field.value);
                    seen.origins += 1;
                }
                10 if is("connection") => seen.connection = Some(field.value),
                12 if is("content-type") => seen.content_type = Some(field.value),
                12 if is("grpc-timeout") => seen.timeout = Some(field.value),
                29 if is("access-control-request-method") => seen.method_asked = true,
                30 if is("access-control-request-headers") => {
                    seen.headers_asked = Some(field.value)
                }
                _ => {}
            }
        }
        seen.method_asked &= seen.origin.is_some();
        seen
    }
}

/// Appends the fields of a request that are the call's metadata, with names in lower case (RFC 9113 §8.2.1).
pub(super) fn push_metadata(head: &Head<'_, '_>, seen: &Seen<'_>, list: &mut FieldList) {
    let mut room = [0; 64];
    let mut longer;
    for field in head.fields {
        let name = field.name.as_bytes();
        let name = match room.get_mut(..name.len()) {
            Some(lower) => {
                lower.copy_from_slice(name);
                lower
            }
            None => {
                longer = name.to_vec();
                &mut longer[..]
            }
        };
        name.make_ascii_lowercase();
        let name = &*name;
        let is_named =
            |list: &[u8]| head::tokens(list).any(|token| token.eq_ignore_ascii_case(name));
        if !is_hop(name) && !seen.connection.is_some_and(is_named) {
            list.push(name, field.value);
        }
    }
}
