//! Enums: open ones as a struct around the number, closed ones as an enum.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::{Generator, deprecated, docs, lints};
use crate::model::{Enum, EnumValue};

impl Generator<'_> {
    pub(super) fn r#enum(&self, declared: &Enum) -> TokenStream {
        let mut out =
            if declared.closed { self.closed_enum(declared) } else { self.open_enum(declared) };
        let (ident, full_name) = (declared.rust.ident(), &declared.full_name);
        let kind = if declared.closed { quote!(closed) } else { quote!(open) };
        let lints = lints();
        let (distinct, first) = (distinct(declared), declared.values.iter().map(|it| &it.name));
        let (names, values) = (first, declared.values.iter().map(|value| &value.ident));
        out.extend(quote! {
            #lints
            impl #ident {
                /// The values that have names, in order of declaration, each number once.
                pub const fn values() -> &'static [Self] {
                    &[#(Self::#distinct),*]
                }

                /// The value with this name in the schema.
                pub fn from_name(name: &str) -> ::core::option::Option<Self> {
                    ::core::option::Option::Some(match name {
                        #(#names => Self::#values,)*
                        _ => return ::core::option::Option::None,
                    })
                }
            }

            ::grpc_arena::__enum_conversions!(#kind #ident #full_name);
        });
        out.extend(self.type_alias(&declared.full_name, &declared.rust.ident()));
        out
    }

    fn value_head(&self, declared: &Enum, value: &EnumValue) -> TokenStream {
        let docs = docs(&value.comments, &format!("`{}`.", value.name));
        let deprecated = deprecated(value.deprecated);
        let attributes = self.attributes(&format!("{}.{}", declared.full_name, value.name), false);
        quote!(#docs #deprecated #attributes)
    }

    fn open_enum(&self, declared: &Enum) -> TokenStream {
        let ident = declared.rust.ident();
        let docs = docs(&declared.comments, &format!("The enum `{}`.", declared.full_name));
        let deprecated = deprecated(declared.deprecated);
        let attributes = self.attributes(&declared.full_name, true);
        let mut constants = TokenStream::new();
        for value in &declared.values {
            let (head, name, number) = (
                self.value_head(declared, value),
                &value.ident,
                Literal::i32_unsuffixed(value.number),
            );
            constants.extend(quote!(#head pub const #name: Self = Self(#number);));
        }
        let (numbers, names) = numbers_and_names(declared);
        let lints = lints();
        quote! {
            #docs
            #deprecated
            #attributes
            #lints
            #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
            #[repr(transparent)]
            pub struct #ident(
                /// The number, which need not have a name.
                pub i32,
            );

            #lints
            impl #ident {
                #constants

                /// The name in the schema, if the number has one.
                pub const fn name(self) -> ::core::option::Option<&'static str> {
                    match self.0 {
                        #(#numbers => ::core::option::Option::Some(#names),)*
                        _ => ::core::option::Option::None,
                    }
                }
            }

            #lints
            impl ::core::fmt::Debug for #ident {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    match self.name() {
                        ::core::option::Option::Some(name) => f.write_str(name),
                        ::core::option::Option::None => ::core::fmt::Debug::fmt(&self.0, f),
                    }
                }
            }

            #lints
            impl ::grpc_arena::codec::OpenEnum for #ident {
                const DEFAULT: Self = Self(0);

                #[inline(always)]
                fn from_number(number: i32) -> Self {
                    Self(number)
                }

                #[inline(always)]
                fn number(self) -> i32 {
                    self.0
                }
            }
        }
    }

    fn closed_enum(&self, declared: &Enum) -> TokenStream {
        let ident = declared.rust.ident();
        let docs = docs(&declared.comments, &format!("The enum `{}`.", declared.full_name));
        let deprecated = deprecated(declared.deprecated);
        let attributes = self.attributes(&declared.full_name, true);
        let (mut variants, mut aliases) = (TokenStream::new(), TokenStream::new());
        for value in &declared.values {
            let (head, name, number) = (
                self.value_head(declared, value),
                &value.ident,
                Literal::i32_unsuffixed(value.number),
            );
            if value.alias {
                let first = declared.values.iter().find(|first| first.number == value.number);
                let first = first.map(|first| &first.ident);
                aliases.extend(quote!(#head #[allow(non_upper_case_globals)] pub const #name: Self = Self::#first;));
            } else {
                variants.extend(quote!(#head #name = #number,));
            }
        }
        let (numbers, names) = numbers_and_names(declared);
        let distinct = distinct(declared);
        let first = declared.values.first().map(|value| &value.ident);
        let lints = lints();
        quote! {
            #docs
            #deprecated
            #attributes
            #lints
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            #[repr(i32)]
            pub enum #ident { #variants }

            #lints
            impl #ident {
                #aliases

                /// The name in the schema.
                pub const fn name(self) -> &'static str {
                    match self {
                        #(Self::#distinct => #names,)*
                    }
                }

                /// The value with this number.
                pub const fn from_number(number: i32) -> ::core::option::Option<Self> {
                    match number {
                        #(#numbers => ::core::option::Option::Some(Self::#distinct),)*
                        _ => ::core::option::Option::None,
                    }
                }
            }

            #lints
            impl ::core::default::Default for #ident {
                fn default() -> Self {
                    Self::#first
                }
            }

            #lints
            impl ::grpc_arena::codec::ClosedEnum for #ident {
                const DEFAULT: Self = Self::#first;

                #[inline]
                fn from_number(number: i32) -> ::core::option::Option<Self> {
                    Self::from_number(number)
                }

                #[inline(always)]
                fn number(self) -> i32 {
                    self as i32
                }
            }
        }
    }
}

/// The first value of each number.
fn distinct(declared: &Enum) -> Vec<&Ident> {
    let distinct = declared.values.iter().filter(|value| !value.alias);
    distinct.map(|value| &value.ident).collect()
}

/// The distinct numbers and the first name of each.
fn numbers_and_names(declared: &Enum) -> (Vec<Literal>, Vec<&str>) {
    let distinct = declared.values.iter().filter(|value| !value.alias);
    distinct.map(|value| (Literal::i32_unsuffixed(value.number), value.name.as_str())).unzip()
}
