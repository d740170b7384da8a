//! Fields: their types, and the statements that read, measure and write them.

use proc_macro2::{Ident, Literal as Token, TokenStream};
use quote::{format_ident, quote};

use crate::model::{Field, Kind, Literal, Scalar, Scope, Shape};

/// The wire types.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const DELIMITED: u32 = 2;
const START_GROUP: u32 = 3;
const FIXED32: u32 = 5;

/// The number of the group that an extension of a MessageSet is written as.
const ITEM: u32 = 1;

/// The tag with this wire type.
fn tag(number: u32, wire: u32) -> Token {
    Token::u32_unsuffixed(number << 3 | wire)
}

/// The size of a field's tag in bytes; the wire type does not count.
pub(super) fn tag_len(number: u32) -> Token {
    let bits = 32 - (number << 3).leading_zeros() as usize;
    Token::usize_unsuffixed(bits.div_ceil(7))
}

impl Scalar {
    /// The type that stands for it in `grpc_arena::codec`.
    fn codec(self) -> TokenStream {
        let name = format_ident!("{self:?}");
        quote!(__codec::#name)
    }

    fn rust(self, lifetime: &TokenStream) -> TokenStream {
        match self {
            Self::Double => quote!(f64),
            Self::Float => quote!(f32),
            Self::Int32 | Self::Sint32 | Self::Sfixed32 => quote!(i32),
            Self::Int64 | Self::Sint64 | Self::Sfixed64 => quote!(i64),
            Self::Uint32 | Self::Fixed32 => quote!(u32),
            Self::Uint64 | Self::Fixed64 => quote!(u64),
            Self::Bool => quote!(bool),
            Self::Text => quote!(&#lifetime str),
            Self::Blob => quote!(&#lifetime [u8]),
        }
    }

    fn wire(self) -> u32 {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => FIXED64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => FIXED32,
            Self::Text | Self::Blob => DELIMITED,
            _ => VARINT,
        }
    }

    fn zero(self) -> TokenStream {
        match self {
            Self::Double | Self::Float => quote!(0.0),
            Self::Bool => quote!(false),
            Self::Text => quote!(""),
            Self::Blob => quote!(&[]),
            _ => quote!(0),
        }
    }

    /// The condition that a value is not zero. The zeros of floating point differ in their sign, which counts.
    fn is_set(self, value: &TokenStream) -> TokenStream {
        match self {
            Self::Double | Self::Float => quote!(#value.to_bits() != 0),
            Self::Bool => quote!(#value),
            Self::Text | Self::Blob => quote!(!#value.is_empty()),
            _ => quote!(#value != 0),
        }
    }
}

impl Kind {
    /// The size of a value in bytes, if all values have the same.
    fn fixed_size(&self) -> Option<Token> {
        let size = match self {
            Self::Scalar(Scalar::Bool) => 1,
            Self::Scalar(scalar) if scalar.wire() == FIXED32 => 4,
            Self::Scalar(scalar) if scalar.wire() == FIXED64 => 8,
            _ => return None,
        };
        Some(Token::usize_unsuffixed(size))
    }

    /// The type of a value.
    pub(super) fn rust(&self, scope: &Scope, lifetime: &TokenStream) -> TokenStream {
        match self {
            Self::Scalar(scalar) => scalar.rust(lifetime),
            Self::Enum { rust, .. } => rust.path(scope),
            Self::Message { rust, .. } => {
                let path = rust.path(scope);
                quote!(#path<#lifetime>)
            }
        }
    }

    /// The type that stands for it in `grpc_arena::codec`.
    pub(super) fn codec(&self, scope: &Scope) -> TokenStream {
        match self {
            Self::Scalar(scalar) => scalar.codec(),
            Self::Enum { rust, closed, .. } => {
                let path = rust.path(scope);
                if *closed { quote!(__codec::Closed<#path>) } else { quote!(__codec::Open<#path>) }
            }
            Self::Message { rust, .. } => {
                let path = rust.path(scope);
                quote!(__codec::Msg<#path<'a>>)
            }
        }
    }

    pub(super) fn wire(&self) -> u32 {
        match self {
            Self::Scalar(scalar) => scalar.wire(),
            Self::Enum { .. } => VARINT,
            Self::Message { group, .. } => {
                if *group {
                    START_GROUP
                } else {
                    DELIMITED
                }
            }
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::Enum { closed: true, .. })
    }
}

impl Field {
    fn tag(&self) -> Token {
        // The kind of a map is that of its values, but an entry is a message.
        let wire = if matches!(self.shape, Shape::Map(_)) { DELIMITED } else { self.kind.wire() };
        tag(self.number, wire)
    }

    /// The type of the struct's field; `None` for a member of a oneof.
    pub(super) fn rust(&self, scope: &Scope) -> Option<TokenStream> {
        let lifetime = quote!('a);
        let value = self.kind.rust(scope, &lifetime);
        let message = matches!(self.kind, Kind::Message { .. });
        Some(match self.shape {
            Shape::Implicit => value,
            Shape::Explicit | Shape::Required if !message => {
                quote!(::core::option::Option<#value>)
            }
            Shape::Explicit | Shape::Required | Shape::Item => {
                quote!(::core::option::Option<&'a #value>)
            }
            Shape::Repeated { .. } => quote!(&'a [#value]),
            Shape::Map(key) => {
                let key = key.rust(&lifetime);
                quote!(::grpc_arena::codec::Map<'a, #key, #value>)
            }
            Shape::Oneof(_) => return None,
        })
    }

    /// The value of a field that is not set.
    pub(super) fn empty(&self, scope: &Scope) -> TokenStream {
        match (self.shape, &self.kind) {
            (Shape::Implicit, Kind::Scalar(scalar)) => scalar.zero(),
            (Shape::Implicit, kind) => {
                let rust = kind.rust(scope, &quote!('a));
                quote!(<#rust as ::grpc_arena::codec::OpenEnum>::DEFAULT)
            }
            (Shape::Repeated { .. }, _) => quote!(&[]),
            (Shape::Map(_), _) => quote!(::grpc_arena::codec::Map::EMPTY),
            _ => quote!(::core::option::Option::None),
        }
    }

    /// The value that stands for an absent one, for scalars and enums with explicit presence.
    pub(super) fn fallback(&self, scope: &Scope) -> Option<TokenStream> {
        if !matches!(self.shape, Shape::Explicit | Shape::Required) {
            return None;
        }
        Some(match (&self.kind, &self.default) {
            (Kind::Message { .. }, _) => return None,
            (_, Some(Literal::Plain(text))) => text.parse().ok()?,
            (_, Some(Literal::Text(text))) => quote!(#text),
            (_, Some(Literal::Blob(bytes))) => {
                let bytes = Token::byte_string(bytes);
                quote!(#bytes)
            }
            (Kind::Enum { rust, .. }, Some(Literal::Enum(ident))) => {
                let path = rust.path(scope);
                quote!(#path::#ident)
            }
            (Kind::Enum { rust, first, .. }, _) => {
                let path = rust.path(scope);
                quote!(#path::#first)
            }
            (Kind::Scalar(scalar), _) => scalar.zero(),
        })
    }

    /// The local in which a map's entries are collected.
    pub(super) fn builder(&self) -> Ident {
        format_ident!("map_{}", self.number)
    }

    /// The tags that the field may come behind, that which encoders write first, each with the statements that read it.
    /// For a member of a oneof `variant` is its path and `place` the oneof's field.
    pub(super) fn read(
        &self,
        scope: &Scope,
        oneof: Option<(&TokenStream, &Ident)>,
    ) -> Vec<(Token, TokenStream)> {
        let (tag, ident, codec) = (self.tag(), &self.ident, self.kind.codec(scope));
        let read = match self.shape {
            Shape::Repeated { packed } => return self.read_list(&codec, packed),
            Shape::Item => return self.read_item(),
            Shape::Map(key) => {
                let (key, builder) = (key.codec(), self.builder());
                quote! {
                    cursor = __codec::map::<#key, #codec>(
                        cursor, cx, #tag, self.#ident, &mut #builder, &mut self.unknown, &mut frame,
                    );
                }
            }
            Shape::Oneof(_) => match oneof {
                Some((variant, place)) => self.read_member(&codec, variant, place),
                None => TokenStream::new(),
            },
            Shape::Implicit if matches!(self.kind, Kind::Scalar(Scalar::Text)) => {
                quote!(cursor = __codec::text(cursor, cx, &mut self.#ident);)
            }
            Shape::Implicit => {
                quote!(self.#ident = <#codec as __codec::Leaf>::read(&mut cursor, cx);)
            }
            Shape::Explicit | Shape::Required => match &self.kind {
                Kind::Message { group: false, .. } => {
                    quote!(cursor = __codec::message(cursor, cx, &mut self.#ident);)
                }
                Kind::Message { group: true, .. } => {
                    let end = self.end_tag();
                    quote!(cursor = __codec::group(cursor, cx, #end, &mut self.#ident);)
                }
                Kind::Scalar(Scalar::Text) => {
                    quote!(cursor = __codec::optional_text(cursor, cx, &mut self.#ident);)
                }
                kind if kind.is_closed() => self.read_closed(
                    &codec,
                    &quote!(self.#ident = ::core::option::Option::Some(value)),
                ),
                _ => quote! {
                    self.#ident = ::core::option::Option::Some(<#codec as __codec::Leaf>::read(&mut cursor, cx));
                },
            },
        };
        vec![(tag, read)]
    }

    fn end_tag(&self) -> Token {
        tag(self.number, START_GROUP + 1)
    }

    fn read_list(&self, codec: &TokenStream, packed: bool) -> Vec<(Token, TokenStream)> {
        let (tag_, ident) = (self.tag(), &self.ident);
        let packed_tag = tag(self.number, DELIMITED);
        let closed = |tag: &Token| {
            quote! {
                cursor = __codec::closed(cursor, cx, #tag, &mut self.#ident, &mut self.unknown, &mut frame);
            }
        };
        let mut ways = match &self.kind {
            Kind::Message { group: false, .. } => {
                let read = quote!(cursor = __codec::messages(cursor, cx, #tag_, &mut self.#ident, &mut frame););
                vec![(tag_, read)]
            }
            Kind::Message { group: true, .. } => {
                let read = quote!(cursor = __codec::groups(cursor, cx, #tag_, &mut self.#ident, &mut frame););
                vec![(tag_, read)]
            }
            kind if kind.is_closed() => {
                let reads = (closed(&tag_), closed(&packed_tag));
                vec![(tag_, reads.0), (packed_tag, reads.1)]
            }
            kind => {
                let read = quote! {
                    cursor = __codec::repeated::<#codec>(cursor, cx, #tag_, &mut self.#ident, &mut frame);
                };
                let mut ways = vec![(tag_, read)];
                if kind.packable() {
                    let read = quote!(cursor = __codec::packed::<#codec>(cursor, cx, &mut self.#ident, &mut frame););
                    ways.push((packed_tag, read));
                }
                ways
            }
        };
        if packed {
            ways.reverse();
        }
        ways
    }

    /// An extension of a MessageSet: in an Item, or as the field that those write who do not know of the format.
    fn read_item(&self) -> Vec<(Token, TokenStream)> {
        let (ident, number) = (&self.ident, Token::u32_unsuffixed(self.number));
        let item = quote! {
            cursor = __codec::message_set_item(
                start, cursor, cx, #number, &mut self.#ident, &mut self.unknown, &mut frame,
            );
        };
        let mut ways = vec![(tag(ITEM, START_GROUP), item)];
        // Higher numbers are no field's, so there is no tag.
        if self.number < 1 << 29 {
            let field = quote!(cursor = __codec::message(cursor, cx, &mut self.#ident););
            ways.push((tag(self.number, DELIMITED), field));
        }
        ways
    }

    /// A closed enum that is no list: a number without a name is an unknown field.
    fn read_closed(&self, codec: &TokenStream, set: &TokenStream) -> TokenStream {
        let tag = self.tag();
        // The codec type is `Closed<Path>`; its value type is what has the numbers.
        quote! {
            let number = cursor.varint(cx) as i32;
            match <<#codec as __codec::Leaf>::Value as __codec::ClosedEnum>::from_number(number) {
                ::core::option::Option::Some(value) => #set,
                ::core::option::Option::None => {
                    cursor = cx.unnamed(#tag, number, cursor, &mut self.unknown, &mut frame);
                }
            }
        }
    }

    fn read_member(
        &self,
        codec: &TokenStream,
        variant: &TokenStream,
        place: &Ident,
    ) -> TokenStream {
        match &self.kind {
            Kind::Message { group, .. } => {
                let read = if *group {
                    let end = self.end_tag();
                    quote!(__codec::group(cursor, cx, #end, &mut value))
                } else {
                    quote!(__codec::message(cursor, cx, &mut value))
                };
                // The member that is set already is merged with; any other gives way.
                quote! {
                    let mut value = match self.#place {
                        ::core::option::Option::Some(#variant(value)) => ::core::option::Option::Some(value),
                        _ => ::core::option::Option::None,
                    };
                    cursor = #read;
                    self.#place = value.map(#variant);
                }
            }
            kind if kind.is_closed() => self.read_closed(
                codec,
                &quote!(self.#place = ::core::option::Option::Some(#variant(value))),
            ),
            _ => quote! {
                let value = <#codec as __codec::Leaf>::read(&mut cursor, cx);
                self.#place = ::core::option::Option::Some(#variant(value));
            },
        }
    }

    /// The statement that adds the field's size to `size`; members of oneofs have none.
    pub(super) fn measure(&self, scope: &Scope) -> TokenStream {
        let (ident, len) = (&self.ident, tag_len(self.number));
        let field = quote!(self.#ident);
        let codec = self.kind.codec(scope);
        match self.shape {
            Shape::Implicit => {
                let (condition, size) = (self.is_set(&field), self.measure_value(&codec, &field));
                quote!(if #condition { size += #size; })
            }
            Shape::Item => {
                let number = Token::u32_unsuffixed(self.number);
                quote! {
                    if let ::core::option::Option::Some(value) = #field {
                        size += __codec::message_set_item_len(#number, value, cache);
                    }
                }
            }
            Shape::Explicit | Shape::Required if let Some(size) = self.kind.fixed_size() => {
                quote!(size += __codec::fixed_len(#len + #size, #field.is_some());)
            }
            Shape::Explicit | Shape::Required => {
                let size = self.measure_value(&codec, &quote!(value));
                quote!(if let ::core::option::Option::Some(value) = #field { size += #size; })
            }
            Shape::Repeated { packed: true } => {
                quote!(size += __codec::packed_len::<#codec>(#len, #field, cache);)
            }
            Shape::Repeated { packed: false } => match &self.kind {
                Kind::Message { group: false, .. } => {
                    quote!(size += __codec::messages_len(#len, #field, cache);)
                }
                Kind::Message { group: true, .. } => {
                    quote!(size += __codec::groups_len(#len, #field, cache);)
                }
                _ => quote!(size += __codec::repeated_len::<#codec>(#len, #field);),
            },
            Shape::Map(key) => {
                let key = key.codec();
                quote!(size += __codec::map_len::<#key, #codec>(#len, &#field, cache);)
            }
            Shape::Oneof(_) => TokenStream::new(),
        }
    }

    /// The size of `value` with its tag.
    pub(super) fn measure_value(&self, codec: &TokenStream, value: &TokenStream) -> TokenStream {
        let len = tag_len(self.number);
        match &self.kind {
            Kind::Message { group: false, .. } => quote!(__codec::message_len(#len, #value, cache)),
            Kind::Message { group: true, .. } => quote!(__codec::group_len(#len, #value, cache)),
            _ => quote!(<#codec as __codec::Leaf>::field_len(#len, #value)),
        }
    }

    /// The statement that writes the field; members of oneofs have none.
    pub(super) fn write(&self, scope: &Scope) -> TokenStream {
        let (ident, tag_) = (&self.ident, self.tag());
        let field = quote!(self.#ident);
        let codec = self.kind.codec(scope);
        match self.shape {
            Shape::Implicit => {
                let (condition, write) = (self.is_set(&field), self.write_value(&codec, &field));
                quote!(if #condition { writer = #write; })
            }
            Shape::Item => {
                let number = Token::u32_unsuffixed(self.number);
                quote! {
                    if let ::core::option::Option::Some(value) = #field {
                        writer = __codec::write_message_set_item(#number, value, cache, writer);
                    }
                }
            }
            Shape::Explicit | Shape::Required => {
                let write = self.write_value(&codec, &quote!(value));
                quote!(if let ::core::option::Option::Some(value) = #field { writer = #write; })
            }
            Shape::Repeated { packed: true } => {
                let tag = tag(self.number, DELIMITED);
                quote!(writer = __codec::write_packed::<#codec>(#tag, #field, cache, writer);)
            }
            Shape::Repeated { packed: false } => match &self.kind {
                Kind::Message { group: false, .. } => {
                    quote!(writer = __codec::write_messages(#tag_, #field, cache, writer);)
                }
                Kind::Message { group: true, .. } => {
                    quote!(writer = __codec::write_groups(#tag_, #field, cache, writer);)
                }
                _ => quote!(writer = __codec::write_repeated::<#codec>(#tag_, #field, writer);),
            },
            Shape::Map(key) => {
                let key = key.codec();
                quote!(writer = __codec::write_map::<#key, #codec>(#tag_, &#field, cache, writer);)
            }
            Shape::Oneof(_) => TokenStream::new(),
        }
    }

    /// Writes `value` behind its tag.
    pub(super) fn write_value(&self, codec: &TokenStream, value: &TokenStream) -> TokenStream {
        let tag = self.tag();
        match &self.kind {
            Kind::Message { group: false, .. } => {
                quote!(__codec::write_message(#tag, #value, cache, writer))
            }
            Kind::Message { group: true, .. } => {
                quote!(__codec::write_group(#tag, #value, cache, writer))
            }
            _ => quote!(<#codec as __codec::Leaf>::put(#tag, #value, writer)),
        }
    }

    fn is_set(&self, value: &TokenStream) -> TokenStream {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.is_set(value),
            _ => quote!(__codec::OpenEnum::number(#value) != 0),
        }
    }

    /// For a field without presence whose number says that it is rare: a word that is zero when it is absent.
    pub(super) fn rare_word(&self) -> Option<TokenStream> {
        // Tags of one byte end with 15.
        if self.shape != Shape::Implicit || self.number < 16 {
            return None;
        }
        let ident = &self.ident;
        Some(match &self.kind {
            Kind::Scalar(Scalar::Double | Scalar::Float) => quote!(self.#ident.to_bits() as u64),
            Kind::Scalar(Scalar::Text | Scalar::Blob) => quote!(self.#ident.len() as u64),
            Kind::Scalar(_) => quote!(self.#ident as u64),
            _ => quote!(__codec::OpenEnum::number(self.#ident) as u64),
        })
    }

    /// Whether `size` or `write` of the field needs the cache.
    pub(super) fn uses_cache(&self) -> bool {
        match self.shape {
            Shape::Map(_) => true,
            Shape::Repeated { packed: true } => true,
            _ => matches!(self.kind, Kind::Message { .. }),
        }
    }
}
