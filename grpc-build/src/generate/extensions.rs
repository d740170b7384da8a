//! Extensions.

use proc_macro2::TokenStream;

use super::Generator;
use crate::Error;
use crate::model::{Extension, Scope};

impl Generator<'_> {
    pub(super) fn extension(
        &self,
        _extension: &Extension,
        _scope: &Scope,
    ) -> Result<TokenStream, Error> {
        Ok(TokenStream::new())
    }
}
