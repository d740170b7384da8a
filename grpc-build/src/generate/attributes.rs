//! The attributes that the configuration puts on generated code.

use std::cell::Cell;

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser as _;

use crate::Error;

/// All attributes of a configuration, and whether there was anything that they are for.
pub(crate) struct Attributes(Vec<Attribute>);

struct Attribute {
    /// The name in the schema that it is for, and how that was given.
    name: String,
    given: String,
    text: String,
    tokens: TokenStream,
    used: Cell<bool>,
}

impl Attributes {
    /// From pairs of a name in the schema and an attribute.
    pub(crate) fn new(pairs: &[(String, String)]) -> Result<Self, Error> {
        let mut out = Vec::new();
        for (given, text) in pairs {
            let attributes = syn::Attribute::parse_outer.parse_str(text).unwrap_or_default();
            if attributes.is_empty() {
                let what = "is no attribute, as `#[must_use]` is one";
                return Err(Error::new(format!("`{text}`, for `{given}`, {what}")));
            }
            let name = given.trim_start_matches('.').to_owned();
            // All types, however few.
            let used = Cell::new(name.is_empty());
            let tokens = quote!(#(#attributes)*);
            out.push(Attribute { name, given: given.clone(), text: text.clone(), tokens, used });
        }
        Ok(Self(out))
    }

    /// Those on the item with this full name. On a package's name they are for all types in it.
    pub(super) fn on(&self, full_name: &str, package: &str, is_type: bool) -> TokenStream {
        let mut out = TokenStream::new();
        for attribute in &self.0 {
            let inside = is_type && (attribute.name.is_empty() || attribute.name == package);
            if attribute.name == full_name || inside {
                attribute.used.set(true);
                out.extend(attribute.tokens.clone());
            }
        }
        out
    }

    /// Notes that a package is generated, whether or not it has types.
    pub(super) fn note_package(&self, package: &str) {
        for attribute in self.0.iter().filter(|attribute| attribute.name == package) {
            attribute.used.set(true);
        }
    }

    /// Reports an attribute that is on nothing, as for a name that is mistyped.
    pub(crate) fn check_used(&self) -> Result<(), Error> {
        let Some(Attribute { text, given, .. }) = self.0.iter().find(|it| !it.used.get()) else {
            return Ok(());
        };
        let what = "which names no type, field, value or package that is generated";
        Err(Error::new(format!("the attribute `{text}` is for `{given}`, {what}")))
    }
}
