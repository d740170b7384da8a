//! Messages: a struct, what the codec needs of it, and a module for what is declared within.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Lifetime;
use syn::ext::IdentExt as _;

use super::{Generator, deprecated, docs, lints};
use crate::model::{Field, Kind, Message, Scope, Shape};
use crate::names;

impl Generator<'_> {
    pub(super) fn message(&self, message: &Message, scope: &Scope) -> TokenStream {
        let mut out = self.message_items(message, scope);
        out.extend(self.type_alias(&message.full_name, &message.rust.ident()));
        out
    }

    /// The same without the second name, for extensions: no other crate refers to these.
    pub(super) fn message_items(&self, message: &Message, scope: &Scope) -> TokenStream {
        let (item, codec, inner) = (
            self.message_struct(message, scope),
            self.codec(message, scope),
            self.module(message, scope),
        );
        let ident = message.rust.ident();
        let lints = lints();
        quote! {
            #item
            #codec

            #lints
            impl ::grpc_arena::Schema for #ident<'static> {
                type View<'a> = #ident<'a>;

                fn decode<'a>(
                    bytes: &'a [u8],
                    arena: &'a ::grpc_arena::Arena,
                    limits: &::grpc_arena::DecodeLimits,
                ) -> ::core::result::Result<#ident<'a>, ::grpc_arena::DecodeError> {
                    ::grpc_arena::codec::decode(bytes, arena, limits)
                }
            }

            #lints
            impl ::grpc_arena::Family for #ident<'static> {
                fn shorten<'s, 'l: 's>(view: &'s #ident<'l>) -> &'s #ident<'s> {
                    view
                }
            }

            #lints
            impl ::grpc_arena::Encode for #ident<'_> {
                #[inline]
                fn encoded_len(&self, cache: &mut ::grpc_arena::SizeCache) -> usize {
                    ::grpc_arena::codec::encoded_len(self, cache)
                }

                fn encode(
                    &self,
                    cache: &mut ::grpc_arena::SizeCache,
                    out: &mut ::grpc_arena::codec::Buffer,
                ) {
                    ::grpc_arena::codec::encode(self, cache, out);
                }
            }

            #inner
        }
    }

    fn message_struct(&self, message: &Message, scope: &Scope) -> TokenStream {
        let ident = message.rust.ident();
        let docs_ = docs(&message.comments, &format!("The message `{}`.", message.full_name));
        let deprecated_ = deprecated(message.deprecated);
        let attributes = self.attributes(&message.full_name, true);
        let (mut fields, mut empty, mut accessors) =
            (TokenStream::new(), TokenStream::new(), TokenStream::new());
        let mut seen = Vec::new();
        for field in &message.fields {
            if let Shape::Oneof(index) = field.shape {
                if seen.contains(&index) {
                    continue;
                }
                seen.push(index);
                let oneof = &message.oneofs[index];
                let (name, path) = (&oneof.ident, oneof.rust.path(scope));
                let docs = docs(&oneof.comments, &format!("The oneof `{}`.", oneof.name));
                let lifetime = oneof.borrows.then(|| quote!(<'a>));
                fields.extend(quote!(#docs pub #name: ::core::option::Option<#path #lifetime>,));
                empty.extend(quote!(#name: ::core::option::Option::None,));
                continue;
            }
            let name = &field.ident;
            let docs = docs(&field.comments, &format!("The field `{}`.", field.name));
            let deprecated = deprecated(field.deprecated);
            let attributes = self.field_attributes(message, field);
            let rust = field.rust(scope);
            fields.extend(quote!(#docs #deprecated #attributes pub #name: #rust,));
            let value = field.empty(scope);
            empty.extend(quote!(#name: #value,));
            accessors.extend(accessor(field, scope));
        }
        let lints = lints();
        // The name is a field's where there is one.
        let unknown_attributes = (!message.fields.iter().any(|field| field.name == "unknown"))
            .then(|| self.attributes(&format!("{}.unknown", message.full_name), false));
        let exact = message.exact.then(|| quote!(, Eq, Hash));
        let redacts = message.fields.iter().any(|field| field.redacted);
        let (derived, debug) = if redacts {
            (None, Some(redacted_debug(message)))
        } else {
            (Some(quote!(Debug,)), None)
        };
        quote! {
            #docs_
            #deprecated_
            #attributes
            #lints
            #[derive(Clone, Copy, #derived PartialEq #exact)]
            pub struct #ident<'a> {
                #fields
                /// The fields that the schema does not know.
                #unknown_attributes
                pub unknown: ::grpc_arena::codec::UnknownFields<'a>,
            }

            #lints
            impl<'a> #ident<'a> {
                /// The message without a field set.
                pub const EMPTY: Self = Self { #empty unknown: ::grpc_arena::codec::UnknownFields::EMPTY };

                #accessors
            }

            #debug

            #lints
            impl ::core::default::Default for #ident<'_> {
                fn default() -> Self {
                    Self::EMPTY
                }
            }
        }
    }

    /// What the codec needs of a message.
    fn codec(&self, message: &Message, scope: &Scope) -> TokenStream {
        let (ident, full_name) = (message.rust.ident(), &message.full_name);
        let infos = message.fields.iter().map(|field| info(field, scope));
        let merge = self.merge(message, scope);
        let (measure, write) = self.encode_statements(message, scope);
        let uses_cache = message.fields.iter().any(Field::uses_cache);
        let cache = if uses_cache { quote!(cache) } else { quote!(_) };
        // A schema may well call a module `codec`.
        let import = if message.fields.is_empty() {
            None
        } else {
            Some(quote!(
                use ::grpc_arena::codec as __codec;
            ))
        };
        let (measure_body, write_body) = if message.fields.is_empty() {
            (quote!(self.unknown.encoded_len()), quote!(writer.unknown(self.unknown)))
        } else {
            (
                // Unknown fields last, so that the case without them saves no registers for a call.
                quote!(#import let mut size = 0; #measure self.unknown.add_to(size)),
                quote!(#import let mut writer = writer; #write writer.unknown(self.unknown)),
            )
        };
        let required = self.check_required(message);
        let lints = lints();
        quote! {
            #lints
            impl<'a> ::grpc_arena::codec::Message<'a> for #ident<'a> {
                const EMPTY: Self = Self::EMPTY;
                const USES_CACHE: bool = #uses_cache;

                fn info() -> &'static ::grpc_arena::codec::MessageInfo {
                    static INFO: ::grpc_arena::codec::MessageInfo =
                        ::grpc_arena::codec::MessageInfo::new(#full_name, &[#(#infos),*]);
                    &INFO
                }

                #merge

                fn size(&self, #cache: &mut ::grpc_arena::SizeCache) -> usize {
                    #measure_body
                }

                fn write<'w>(
                    &self,
                    #cache: &mut ::grpc_arena::SizeCache,
                    writer: ::grpc_arena::codec::Writer<'w>,
                ) -> ::grpc_arena::codec::Writer<'w> {
                    #write_body
                }

                #required
            }
        }
    }

    /// The statements that measure a message's fields, and those that write them.
    ///
    /// Most fields with a number of two bytes and more are absent most of the time, as numbers are given by how often a
    /// field is there. So of those up to [`ASKED_TOGETHER`] that follow each other are first asked together.
    fn encode_statements(&self, message: &Message, scope: &Scope) -> (TokenStream, TokenStream) {
        let (mut measure, mut write) = (TokenStream::new(), TokenStream::new());
        let mut fields = &message.fields[..];
        while let Some((field, rest)) = fields.split_first() {
            let words: Vec<_> =
                fields.iter().map_while(Field::rare_word).take(ASKED_TOGETHER).collect();
            if words.len() > 1 {
                let (together, rest) = fields.split_at(words.len());
                let measures = together.iter().map(|field| field.measure(scope));
                measure.extend(quote!(if #(#words)|* != 0 { #(#measures)* }));
                let writes = together.iter().map(|field| field.write(scope));
                write.extend(quote!(if #(#words)|* != 0 { #(#writes)* }));
                fields = rest;
                continue;
            }
            let Shape::Oneof(index) = field.shape else {
                measure.extend(field.measure(scope));
                write.extend(field.write(scope));
                fields = rest;
                continue;
            };
            // Members with no other field's number between theirs share one `match`, which is most often all of them.
            let run = fields.iter().take_while(|field| field.shape == Shape::Oneof(index)).count();
            let (members, rest) = fields.split_at(run);
            let (m, w) = self.oneof_statements(message, &message.oneofs[index], members, scope);
            measure.extend(m);
            write.extend(w);
            fields = rest;
        }
        (measure, write)
    }

    fn merge(&self, message: &Message, scope: &Scope) -> TokenStream {
        let reads = fields_loop(message, scope);
        let maps = message.fields.iter().filter(|field| matches!(field.shape, Shape::Map(_)));
        let builders = maps.clone().map(|field| {
            let builder = field.builder();
            quote!(let mut #builder = __codec::MapBuilder::new();)
        });
        let finish = maps.map(|field| {
            let (builder, ident) = (field.builder(), &field.ident);
            quote!(#builder.finish(cx, &mut self.#ident);)
        });
        quote! {
            fn merge(
                &mut self,
                mut cursor: ::grpc_arena::codec::Cursor<'a>,
                cx: &mut ::grpc_arena::codec::Context<'a>,
                group: u32,
            ) -> ::grpc_arena::codec::Cursor<'a> {
                use ::grpc_arena::codec as __codec;
                let mut frame = __codec::Frame::new();
                #(#builders)*
                #reads
                #(#finish)*
                cursor
            }
        }
    }

    /// The method that looks for `required` fields, for messages that have one somewhere within.
    fn check_required(&self, message: &Message) -> Option<TokenStream> {
        if !message.requires {
            return None;
        }
        let mut checks = TokenStream::new();
        for field in &message.fields {
            let (ident, name) = (&field.ident, &field.name);
            let within = quote!(.map_err(|error| error.within(#name))?);
            let requires = matches!(field.kind, Kind::Message { requires: true, .. });
            if field.shape == Shape::Required {
                checks.extend(quote! {
                    if self.#ident.is_none() {
                        return ::core::result::Result::Err(__codec::missing(#name));
                    }
                });
            }
            checks.extend(match field.shape {
                _ if !requires => continue,
                Shape::Explicit | Shape::Required | Shape::Item => quote! {
                    if let ::core::option::Option::Some(value) = self.#ident {
                        __codec::Message::check_required(value)#within;
                    }
                },
                Shape::Repeated { .. } => quote! {
                    for value in self.#ident {
                        __codec::Message::check_required(value)#within;
                    }
                },
                Shape::Map(_) => quote! {
                    for (_, value) in self.#ident {
                        __codec::Message::check_required(value)#within;
                    }
                },
                Shape::Oneof(index) => {
                    let oneof = &message.oneofs[index];
                    let (variant, _) = oneof
                        .variants
                        .iter()
                        .find(|(_, i)| message.fields[*i].number == field.number)
                        .expect("a member of a oneof is one of its variants");
                    let (place, module, oneof) = (&oneof.ident, &message.module, oneof.rust.ident());
                    quote! {
                        if let ::core::option::Option::Some(#module::#oneof::#variant(value)) = self.#place {
                            __codec::Message::check_required(value)#within;
                        }
                    }
                }
                Shape::Implicit => continue,
            });
        }
        Some(quote! {
            fn check_required(&self) -> ::core::result::Result<(), ::grpc_arena::DecodeError> {
                use ::grpc_arena::codec as __codec;
                #checks
                ::core::result::Result::Ok(())
            }
        })
    }

    /// The module for what is declared within the message; none when that is nothing.
    fn module(&self, message: &Message, scope: &Scope) -> TokenStream {
        let inner = scope.module(&message.module);
        let mut items = TokenStream::new();
        for oneof in &message.oneofs {
            items.extend(self.oneof(message, oneof, &inner));
        }
        for nested in &message.messages {
            items.extend(self.message(nested, &inner));
        }
        for nested in &message.enums {
            items.extend(self.r#enum(nested));
        }
        for extension in &message.extensions {
            items.extend(self.extension(extension, &inner));
        }
        if items.is_empty() {
            return items;
        }
        let (module, docs) =
            (&message.module, format!(" What is declared within `{}`.", message.full_name));
        let lints = lints();
        // What lies in the module of an extension is nothing that other crates refer to.
        let alias = (!message.messages.is_empty() || !message.enums.is_empty()).then(|| {
            let name = message.full_name.rsplit('.').next().unwrap_or_default();
            let alias = names::module_alias(name);
            quote! {
                #[doc(hidden)]
                #[allow(unused_imports)]
                pub use self::#module as #alias;
            }
        });
        quote! {
            #[doc = #docs]
            #lints
            pub mod #module { #items }
            #alias
        }
    }
}

/// Of how many fields at once it is asked whether any is there.
const ASKED_TOGETHER: usize = 4;

/// Up to how many fields are chained: their blocks are nested as deeply.
const CHAINED: usize = 64;

/// The loop over a message's fields as they come.
///
/// The code of each field is followed by that of the one with the next number, which is entered when the next tag says
/// so, without choosing among all: encoders write fields in that order. Members of a oneof are not, since which one
/// comes cannot be foreseen.
///
/// ```text
/// 'fields: loop {
///     'b: {
///         'a: {
///             match tag { 8 => break 'a, 16 => break 'b, .. }
///         }
///         // a
///         if !cursor.expect(16) { continue 'fields; }
///     }
///     // b
/// }
/// ```
fn fields_loop(message: &Message, scope: &Scope) -> TokenStream {
    let mut fields: Vec<&Field> = message.fields.iter().collect();
    fields.sort_by_key(|field| field.number);
    let chained = fields.len() <= CHAINED;
    let (mut arms, mut reads) = (TokenStream::new(), Vec::new());
    for field in fields {
        let oneof =
            if let Shape::Oneof(index) = field.shape { message.oneofs.get(index) } else { None };
        let member = oneof.and_then(|oneof| {
            let (variant, _) =
                oneof.variants.iter().find(|(_, i)| message.fields[*i].number == field.number)?;
            let path = oneof.rust.path(scope);
            Some((quote!(#path::#variant), &oneof.ident))
        });
        let mut ways = field
            .read(scope, member.as_ref().map(|(variant, place)| (variant, *place)))
            .into_iter();
        if chained && let Some((tag, read)) = ways.next() {
            let label = Lifetime::new(&format!("'f{}", field.number), Span::call_site());
            arms.extend(quote!(#tag => break #label,));
            reads.push((field, label, tag, read));
        }
        for (tag, read) in ways {
            arms.extend(quote!(#tag => { #read }));
        }
    }
    let mut body = quote! {
        match tag {
            #arms
            _ => {
                if __codec::ends(tag) {
                    cursor = cx.end(start, cursor, tag, group, &mut self.unknown, &mut frame);
                    break 'fields;
                }
                cursor = cx.unknown(start, cursor, tag, &mut self.unknown, &mut frame);
            }
        }
    };
    for (i, (_, label, _, read)) in reads.iter().enumerate() {
        let next = match reads.get(i + 1) {
            Some((next, _, tag, _)) if !matches!(next.shape, Shape::Oneof(_)) => {
                quote!(if !cursor.expect(#tag) { continue 'fields; })
            }
            Some(_) => quote!(continue 'fields;),
            None => TokenStream::new(),
        };
        let leave = (i == 0).then(|| quote!(continue 'fields;));
        body = quote! {
            #label: { #body #leave }
            #read
            #next
        };
    }
    quote! {
        'fields: loop {
            let start = cursor;
            let tag = cursor.tag(cx);
            #body
        }
    }
}

/// `Debug` without the fields that are not to be shown.
fn redacted_debug(message: &Message) -> TokenStream {
    let (ident, lints) = (message.rust.ident(), lints());
    let name = ident.to_string();
    let mut fields = TokenStream::new();
    let mut seen = Vec::new();
    for field in &message.fields {
        let place = match field.shape {
            Shape::Oneof(index) if seen.contains(&index) => continue,
            Shape::Oneof(index) => {
                seen.push(index);
                &message.oneofs[index].ident
            }
            _ if field.redacted => continue,
            _ => &field.ident,
        };
        let label = place.unraw().to_string();
        fields.extend(quote!(.field(#label, &self.#place)));
    }
    quote! {
        #lints
        impl ::core::fmt::Debug for #ident<'_> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#name) #fields .field("unknown", &self.unknown).finish_non_exhaustive()
            }
        }
    }
}

/// The method that returns a field's value or what stands for an absent one.
fn accessor(field: &Field, scope: &Scope) -> Option<TokenStream> {
    let fallback = field.fallback(scope)?;
    let (ident, accessor) = (&field.ident, &field.accessor);
    let rust = field.kind.rust(scope, &quote!('a));
    let docs = format!(" The field `{}`, or its default.", field.name);
    let deprecated = deprecated(field.deprecated);
    Some(quote! {
        #[doc = #docs]
        #deprecated
        #[inline]
        pub const fn #accessor(&self) -> #rust {
            match self.#ident {
                ::core::option::Option::Some(value) => value,
                ::core::option::Option::None => #fallback,
            }
        }
    })
}

/// What is known of the field at run time.
fn info(field: &Field, scope: &Scope) -> TokenStream {
    let (number, name) = (proc_macro2::Literal::u32_unsuffixed(field.number), &field.name);
    match (&field.kind, field.shape) {
        // The names within an Item are not those of the message that it carries.
        (Kind::Message { rust, .. }, shape) if !matches!(shape, Shape::Map(_) | Shape::Item) => {
            let path = rust.path(scope);
            quote! {
                ::grpc_arena::codec::FieldInfo::message(
                    #number, #name, <#path<'static> as ::grpc_arena::codec::Message<'static>>::info,
                )
            }
        }
        _ => quote!(::grpc_arena::codec::FieldInfo::scalar(#number, #name)),
    }
}
