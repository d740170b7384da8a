//! What generated code says about a method.

use grpc_arena::Schema;

/// One method of a service: its path and its messages.
///
/// Generated as a type without values, so that codecs are chosen at compile time, per method.
pub trait Method: 'static {
    /// `/package.Service/Method`, as `:path` carries it.
    const PATH: &'static str;
    /// The family of request messages.
    type Request: Schema;
    /// The family of response messages.
    type Response: Schema;
}

/// A request of method `M` that borrows for `'a`.
pub type Request<'a, M> = <<M as Method>::Request as Schema>::View<'a>;

/// A response of method `M` that borrows for `'a`.
pub type Response<'a, M> = <<M as Method>::Response as Schema>::View<'a>;
