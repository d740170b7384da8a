//! What generated code says about a method.

use std::fmt;

use grpc_arena::Schema;

/// One method of a service: its path, its messages, and what the schema says of it.
///
/// Generated as a type without values, so that codecs are chosen at compile time, per method.
pub trait Method: 'static {
    /// `/package.Service/Method`, as `:path` carries it.
    const PATH: &'static str;
    /// The method for who sees calls of any method, such as layers.
    ///
    /// Where it is not given, its kind is what the method is registered or called as.
    const DESCRIPTOR: MethodDescriptor = MethodDescriptor::new(Self::PATH, Kind::Unary);
    /// The family of request messages.
    type Request: Schema;
    /// The family of response messages.
    type Response: Schema;
}

/// A request of method `M` that borrows for `'a`.
pub type Request<'a, M> = <<M as Method>::Request as Schema>::View<'a>;

/// A response of method `M` that borrows for `'a`.
pub type Response<'a, M> = <<M as Method>::Response as Schema>::View<'a>;

/// Which of the four kinds of call a method has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One request, one response.
    Unary,
    /// One request, a stream of responses.
    ServerStreaming,
    /// A stream of requests, one response.
    ClientStreaming,
    /// Streams in both directions.
    Bidi,
}

impl Kind {
    /// Whether the client sends a stream.
    pub const fn streams_requests(self) -> bool {
        matches!(self, Kind::ClientStreaming | Kind::Bidi)
    }

    /// Whether the server sends a stream.
    pub const fn streams_responses(self) -> bool {
        matches!(self, Kind::ServerStreaming | Kind::Bidi)
    }
}

/// What the schema says of calls that are made twice (`google.protobuf.MethodOptions.idempotency_level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Idempotency {
    /// Nothing (`IDEMPOTENCY_UNKNOWN`).
    #[default]
    Unknown,
    /// A call changes nothing (`NO_SIDE_EFFECTS`), and is idempotent with that.
    NoSideEffects,
    /// Two calls change as much as one (`IDEMPOTENT`).
    Idempotent,
}

impl Idempotency {
    /// Whether a call may be made again although the server may have processed it.
    pub const fn may_repeat(self) -> bool {
        !matches!(self, Idempotency::Unknown)
    }
}

/// One method, as a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MethodDescriptor {
    path: &'static str,
    kind: Kind,
    idempotency: Idempotency,
}

impl MethodDescriptor {
    /// The method of `path`, `/package.Service/Method`, of whose idempotency nothing is known.
    pub const fn new(path: &'static str, kind: Kind) -> Self {
        Self { path, kind, idempotency: Idempotency::Unknown }
    }

    /// The same of another kind.
    #[must_use]
    pub const fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The same with what is known of its idempotency.
    #[must_use]
    pub const fn with_idempotency(mut self, idempotency: Idempotency) -> Self {
        self.idempotency = idempotency;
        self
    }

    /// `/package.Service/Method`.
    pub const fn path(&self) -> &'static str {
        self.path
    }

    /// `package.Service`.
    pub fn service(&self) -> &'static str {
        self.parts().0
    }

    /// `Method`.
    pub fn name(&self) -> &'static str {
        self.parts().1
    }

    fn parts(&self) -> (&'static str, &'static str) {
        let path = self.path.strip_prefix('/').unwrap_or(self.path);
        path.rsplit_once('/').unwrap_or(("", path))
    }

    /// Which kind of call it has.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What the schema says of calls that are made twice.
    pub const fn idempotency(&self) -> Idempotency {
        self.idempotency
    }
}

impl fmt::Debug for MethodDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {:?})", self.path, self.kind, self.idempotency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_consists_of_a_service_and_a_method() {
        for (path, service, name) in
            [("/a.b.C/D", "a.b.C", "D"), ("/C/D", "C", "D"), ("D", "", "D"), ("/a/b/c", "a/b", "c")]
        {
            let method = MethodDescriptor::new(path, Kind::Bidi);
            assert_eq!((method.service(), method.name()), (service, name));
        }
    }
}
