//! Oneofs: an enum beside the message.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;

use super::{Generator, deprecated, docs, lints};
use crate::model::{Field, Kind, Message, Oneof, Scope};

impl Generator<'_> {
    /// The enum of a oneof; `scope` is the module of its message.
    pub(super) fn oneof(&self, message: &Message, oneof: &Oneof, scope: &Scope) -> TokenStream {
        let ident = oneof.rust.ident();
        let docs_ = docs(
            &oneof.comments,
            &format!("The oneof `{}` of `{}`.", oneof.name, message.full_name),
        );
        let attributes = self.attributes(&format!("{}.{}", message.full_name, oneof.name), true);
        let lifetime = oneof.borrows.then(|| quote!(<'a>));
        let mut variants = TokenStream::new();
        for (ident, index) in &oneof.variants {
            let field = &message.fields[*index];
            let docs = docs(&field.comments, &format!("The field `{}`.", field.name));
            let deprecated = deprecated(field.deprecated);
            let attributes = self.field_attributes(message, field);
            let value = field.kind.rust(scope, &quote!('a));
            let value =
                if matches!(field.kind, Kind::Message { .. }) { quote!(&'a #value) } else { value };
            variants.extend(quote!(#docs #deprecated #attributes #ident(#value),));
        }
        let lints = lints();
        let exact = oneof.exact.then(|| quote!(, Eq, Hash));
        let fields = oneof.variants.iter().map(|(ident, index)| (ident, &message.fields[*index]));
        let (derived, debug) = if fields.clone().any(|(_, field)| field.redacted) {
            let arms = fields.map(|(variant, field)| {
                let label = variant.unraw().to_string();
                if field.redacted {
                    quote!(Self::#variant(_) => f.write_str(#label),)
                } else {
                    quote!(Self::#variant(value) => f.debug_tuple(#label).field(value).finish(),)
                }
            });
            let anonymous = oneof.borrows.then(|| quote!(<'_>));
            let debug = quote! {
                #lints
                impl ::core::fmt::Debug for #ident #anonymous {
                    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        match self { #(#arms)* }
                    }
                }
            };
            (None, Some(debug))
        } else {
            (Some(quote!(Debug,)), None)
        };
        quote! {
            #docs_
            #attributes
            #lints
            #[derive(Clone, Copy, #derived PartialEq #exact)]
            pub enum #ident #lifetime { #variants }

            #debug
        }
    }

    /// The statements that measure and write `members`, fields of a oneof with no other field between them.
    pub(super) fn oneof_statements(
        &self,
        message: &Message,
        oneof: &Oneof,
        members: &[Field],
        scope: &Scope,
    ) -> (TokenStream, TokenStream) {
        let (place, path) = (&oneof.ident, oneof.rust.path(scope));
        let (mut measure, mut write) = (TokenStream::new(), TokenStream::new());
        for (variant, index) in &oneof.variants {
            let field = &message.fields[*index];
            if !members.iter().any(|member| member.number == field.number) {
                continue;
            }
            let codec = field.kind.codec(scope);
            let (size, put) = (
                field.measure_value(&codec, &quote!(value)),
                field.write_value(&codec, &quote!(value)),
            );
            let pattern = quote!(::core::option::Option::Some(#path::#variant(value)));
            measure.extend(quote!(#pattern => size += #size,));
            write.extend(quote!(#pattern => writer = #put,));
        }
        let all = members.len() == oneof.variants.len();
        let none = if all { quote!(::core::option::Option::None => {}) } else { quote!(_ => {}) };
        (quote!(match self.#place { #measure #none }), quote!(match self.#place { #write #none }))
    }
}
