//! From paths to methods: the one place where the server's calls go through `dyn`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::call::Scope;
use super::leaf::Unknown;
use super::routes::{Around, Routes};
use super::{BidiHandler, ClientStreamingHandler, ServerStreamingHandler, UnaryHandler};
use crate::layers::{CallService, Incoming, Layer, Wrapped};
use crate::model::Service;
use crate::slot::{BoxSlot, new_slot};
use crate::{Kind, Method, MethodDescriptor, Status};

/// A place for one call of a method.
pub(super) type Slot = BoxSlot<Scope, Status>;

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
    unknown: Option<Rc<Entry>>,
}

impl Routes for Router {
    fn route<M: Method, S: CallService + 'static>(&mut self, kind: Kind, service: S) {
        self.insert::<M, S>(kind, true, service);
    }

    fn leaf<M: Method, S: CallService + 'static>(&mut self, kind: Kind, service: S) {
        self.insert::<M, S>(kind, false, service);
    }
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
    /// Absent for what serves the paths of no method.
    pub(crate) method: Option<MethodDescriptor>,
    pub(crate) requests: Requests,
    /// Whether a layer is around the handler.
    pub(crate) layered: bool,
    make: Box<dyn Fn() -> Slot>,
    spare: RefCell<Vec<Slot>>,
}

impl Router {
    /// A router without methods: every call is UNIMPLEMENTED.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a method with one request and one response.
    pub fn unary<M: Method, H: UnaryHandler<M> + 'static>(&mut self, handler: H) {
        Routes::unary::<M, H>(self, handler);
    }

    /// Registers a method with one request and a stream of responses.
    pub fn server_streaming<M: Method, H: ServerStreamingHandler<M> + 'static>(
        &mut self,
        handler: H,
    ) {
        Routes::server_streaming::<M, H>(self, handler);
    }

    /// Registers a method with a stream of requests and one response.
    pub fn client_streaming<M: Method, H: ClientStreamingHandler<M> + 'static>(
        &mut self,
        handler: H,
    ) {
        Routes::client_streaming::<M, H>(self, handler);
    }

    /// Registers a method with streams in both directions.
    pub fn bidi<M: Method, H: BidiHandler<M> + 'static>(&mut self, handler: H) {
        Routes::bidi::<M, H>(self, handler);
    }

    /// Routes with a layer, or a tuple of layers, around each method that is registered through them, and around calls
    /// of paths that nothing is registered for, so that logs and metrics see those too.
    ///
    /// A call that breaks a rule before its layers run is refused without them: one in another encoding or format, and one
    /// without its one request.
    pub fn around_all<L>(&mut self, layer: L) -> Around<'_, Self, L>
    where
        L: for<'a> Layer<Incoming<'a>> + 'static,
    {
        let layer = Rc::new(layer);
        let wrapped = Wrapped { layer: Rc::clone(&layer), inner: Unknown };
        self.unknown = Some(Rc::new(Entry::new(None, Requests::Stream, true, wrapped)));
        Around::new(self, layer)
    }

    /// The paths of all methods, in no particular order.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.methods().map(|method| method.path())
    }

    /// All methods, in no particular order.
    pub fn methods(&self) -> impl Iterator<Item = MethodDescriptor> {
        self.methods.values().filter_map(|entry| entry.method)
    }

    fn insert<M: Method, S: CallService + 'static>(
        &mut self,
        kind: Kind,
        layered: bool,
        service: S,
    ) {
        let requests = if kind.streams_requests() { Requests::Stream } else { Requests::One };
        let method = M::DESCRIPTOR.with_kind(kind);
        let entry = Entry::new(Some(method), requests, layered, service);
        self.methods.insert(M::PATH.as_bytes(), Rc::new(entry));
    }

    /// What serves the paths of no method, where layers are around it.
    pub(crate) fn unknown(&self) -> Option<&Rc<Entry>> {
        self.unknown.as_ref()
    }

    pub(crate) fn find(&self, path: &[u8]) -> Option<&Rc<Entry>> {
        self.methods.get(path)
    }
}

impl Entry {
    /// What `service` serves: type erasure happens here, once for each method.
    fn new(
        method: Option<MethodDescriptor>,
        requests: Requests,
        layered: bool,
        service: impl CallService + 'static,
    ) -> Self {
        let service = Rc::new(service);
        let serve = Rc::new(move |scope: Scope| {
            let service = Rc::clone(&service);
            async move { service.call(Incoming::new(&scope)).await }
        });
        let make = Box::new(move || new_slot(Rc::clone(&serve)));
        Self { method, requests, layered, make, spare: RefCell::default() }
    }

    /// An empty place for one call of this method.
    pub(crate) fn take_slot(&self) -> Slot {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| (self.make)())
    }

    /// Takes back a place that was emptied.
    pub(crate) fn give_slot(&self, slot: Slot) {
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
