//! Handler traits and client stubs.

use proc_macro2::TokenStream;

use crate::model::{Scope, Service};

/// The code for one service, placed at the root of its package's file.
///
/// `scope` is that root: `method.input.message(scope, "'a")` is the type of a request that borrows for `'a`,
/// `method.input.message(scope, "'static")` stands for its family (it implements `Schema`). Names and paths are
/// chosen already, comments are lines for `#[doc]`. What is returned is parsed and formatted with the rest; it must be
/// free of warnings in a crate that denies them, so every public item needs a doc comment.
pub(crate) fn generate_service(_service: &Service, _scope: &Scope) -> TokenStream {
    TokenStream::new()
}
