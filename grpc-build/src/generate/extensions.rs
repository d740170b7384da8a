//! Extensions: a message of the one field, read from and written to the unknown fields of what is extended.

use proc_macro2::TokenStream;
use quote::quote;

use super::{Generator, lints};
use crate::model::{Extension, Scope};

impl Generator<'_> {
    pub(super) fn extension(&self, extension: &Extension, scope: &Scope) -> TokenStream {
        let message = self.message_items(&extension.message, scope);
        let (ident, extendee, lints) =
            (extension.message.rust.ident(), extension.extendee.path(scope), lints());
        let of = format!(" The extension as `message` (a `{}`) has it.", extension.extendee_name);
        let add =
            " Adds the extension to what `message` has; what is there already stays in front.";
        quote! {
            #message

            #lints
            impl<'a> #ident<'a> {
                #[doc = #of]
                ///
                /// # Errors
                /// When the field breaks a rule of the wire format or a limit.
                pub fn of(
                    message: &#extendee<'a>,
                    arena: &'a ::grpc_arena::Arena,
                    limits: &::grpc_arena::DecodeLimits,
                ) -> ::core::result::Result<Self, ::grpc_arena::DecodeError> {
                    let read: Self = ::grpc_arena::codec::extension(message.unknown, arena, limits)?;
                    ::core::result::Result::Ok(Self {
                        unknown: ::grpc_arena::codec::UnknownFields::EMPTY,
                        ..read
                    })
                }

                #[doc = #add]
                ///
                /// # Errors
                /// When the arena's budget is spent.
                pub fn add_to(
                    &self,
                    message: &mut #extendee<'a>,
                    arena: &'a ::grpc_arena::Arena,
                ) -> ::core::result::Result<(), ::grpc_arena::ArenaFull> {
                    message.unknown = ::grpc_arena::codec::extend(message.unknown, self, arena)?;
                    ::core::result::Result::Ok(())
                }
            }
        }
    }
}
