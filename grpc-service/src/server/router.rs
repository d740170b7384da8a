//! From paths to methods: the one place where the server's calls go through `dyn`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use grpc_proto::Status;

use super::call::Scope;
use super::kinds;
use super::slot::{BoxSlot, new_slot};
use super::{BidiHandler, ClientStreamingHandler, ServerStreamingHandler, UnaryHandler};
use crate::Method;

/// Idle places kept per method. A place takes about a kilobyte, and more calls than this at once are rare.
const SPARE_SLOTS: usize = 256;

/// The methods that a server offers, by path.
///
/// Built once; generated code fills it through `register`, and connections share it. A method that is registered
/// again replaces the one before.
#[derive(Default)]
pub struct Router {
    /// By the bytes of their paths: what a peer asks for is compared as it came.
    methods: HashMap<&'static [u8], Rc<Entry>, BuildHasherDefault<PathHasher>>,
}

/// How a call of a method begins and ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requests {
    /// Exactly one message, and the client's half-close, before the handler starts.
    One,
    /// Any number, while the handler runs.
    Stream,
}

/// One method.
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    pub(crate) requests: Requests,
    make: Box<dyn Fn() -> BoxSlot>,
    spare: RefCell<Vec<BoxSlot>>,
}

impl Router {
    /// A router without methods: every call is UNIMPLEMENTED.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a method with one request and one response.
    pub fn unary<M: Method, H: UnaryHandler<M> + Clone + 'static>(&mut self, handler: H) {
        let serve = move |scope| kinds::unary::<M, H>(handler.clone(), scope);
        self.insert(M::PATH, Requests::One, serve);
    }

    /// Registers a method with one request and a stream of responses.
    pub fn server_streaming<M: Method, H: ServerStreamingHandler<M> + Clone + 'static>(
        &mut self,
        handler: H,
    ) {
        let serve = move |scope| kinds::server_streaming::<M, H>(handler.clone(), scope);
        self.insert(M::PATH, Requests::One, serve);
    }

    /// Registers a method with a stream of requests and one response.
    pub fn client_streaming<M: Method, H: ClientStreamingHandler<M> + Clone + 'static>(
        &mut self,
        handler: H,
    ) {
        let serve = move |scope| kinds::client_streaming::<M, H>(handler.clone(), scope);
        self.insert(M::PATH, Requests::Stream, serve);
    }

    /// Registers a method with streams in both directions.
    pub fn bidi<M: Method, H: BidiHandler<M> + Clone + 'static>(&mut self, handler: H) {
        let serve = move |scope| kinds::bidi::<M, H>(handler.clone(), scope);
        self.insert(M::PATH, Requests::Stream, serve);
    }

    /// The paths of all methods, in no particular order.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.methods.values().map(|entry| entry.path)
    }

    fn insert<F, Fut>(&mut self, path: &'static str, requests: Requests, serve: F)
    where
        F: Fn(Scope) -> Fut + 'static,
        Fut: Future<Output = Result<(), Status>> + 'static,
    {
        let serve = Rc::new(serve);
        let make = Box::new(move || new_slot(Rc::clone(&serve)));
        let entry = Entry { path, requests, make, spare: RefCell::default() };
        self.methods.insert(path.as_bytes(), Rc::new(entry));
    }

    pub(crate) fn find(&self, path: &[u8]) -> Option<&Rc<Entry>> {
        self.methods.get(path)
    }
}

impl Entry {
    /// An empty place for one call of this method.
    pub(crate) fn take_slot(&self) -> BoxSlot {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| (self.make)())
    }

    /// Takes back a place that was emptied.
    pub(crate) fn give_slot(&self, slot: BoxSlot) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_SLOTS {
            spare.push(slot);
        }
    }
}

/// Hashes a path eight bytes at a time.
///
/// The keys of the table are ours, so a peer cannot make it slow by choosing paths: whatever it asks for, the lookup
/// meets no more keys than happen to share a bucket among ours.
#[derive(Default)]
struct PathHasher(u64);

impl Hasher for PathHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut step = |word: u64| {
            let mixed = u128::from(self.0 ^ word) * u128::from(SEED);
            self.0 = (mixed as u64) ^ ((mixed >> 64) as u64);
        };
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            step(u64::from_le_bytes(*word));
        }
        if rest.is_empty() {
            return;
        }
        // Bytes that were hashed already stand before those that are left: to read them again costs less than to copy
        // so few.
        step(match bytes.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last),
            None => rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        });
    }

    /// The length, with which the hash of a slice begins.
    fn write_usize(&mut self, len: usize) {
        self.0 = len as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    fn hash(path: &[u8]) -> u64 {
        BuildHasherDefault::<PathHasher>::default().hash_one(path)
    }

    #[test]
    fn paths_that_differ_in_one_byte_or_in_length_hash_differently() {
        let text = b"/package.Service/Method/and/so/on";
        let mut seen = std::collections::HashSet::new();
        for len in 0..=text.len() {
            assert!(seen.insert(hash(&text[..len])), "{len} bytes");
            for at in 0..len {
                let mut other = text[..len].to_vec();
                other[at] ^= 1;
                assert!(seen.insert(hash(&other)), "{len} bytes, another one at {at}");
            }
        }
    }
}
