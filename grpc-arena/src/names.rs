//! What all generated enums have besides their names and numbers.

use core::fmt;

/// A name or a number that no value of an enum has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName {
    schema: &'static str,
}

impl UnknownName {
    /// For the enum with this full name in the schema.
    pub const fn of(schema: &'static str) -> Self {
        Self { schema }
    }

    /// The full name of the enum in the schema.
    pub const fn schema(self) -> &'static str {
        self.schema
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the enum `{}` has no such value", self.schema)
    }
}

impl core::error::Error for UnknownName {}

/// Conversions of an enum: from and to its number, and from and to its name in the schema.
#[doc(hidden)]
#[macro_export]
macro_rules! __enum_conversions {
    (open $name:ident $schema:literal) => {
        #[allow(deprecated)]
        impl ::core::convert::From<i32> for $name {
            fn from(number: i32) -> Self {
                Self(number)
            }
        }

        #[allow(deprecated)]
        impl ::core::convert::From<$name> for i32 {
            fn from(value: $name) -> i32 {
                value.0
            }
        }

        #[allow(deprecated)]
        impl ::core::fmt::Display for $name {
            /// The name in the schema, or the number where it has none.
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self.name() {
                    ::core::option::Option::Some(name) => f.pad(name),
                    ::core::option::Option::None => ::core::fmt::Display::fmt(&self.0, f),
                }
            }
        }

        $crate::__enum_conversions!(from_str $name $schema);
    };
    (closed $name:ident $schema:literal) => {
        #[allow(deprecated)]
        impl ::core::convert::TryFrom<i32> for $name {
            type Error = $crate::UnknownName;

            fn try_from(number: i32) -> ::core::result::Result<Self, $crate::UnknownName> {
                Self::from_number(number).ok_or($crate::UnknownName::of($schema))
            }
        }

        #[allow(deprecated)]
        impl ::core::convert::From<$name> for i32 {
            fn from(value: $name) -> i32 {
                value as i32
            }
        }

        #[allow(deprecated)]
        impl ::core::fmt::Display for $name {
            /// The name in the schema.
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.name())
            }
        }

        $crate::__enum_conversions!(from_str $name $schema);
    };
    (from_str $name:ident $schema:literal) => {
        #[allow(deprecated)]
        impl ::core::str::FromStr for $name {
            type Err = $crate::UnknownName;

            fn from_str(name: &str) -> ::core::result::Result<Self, $crate::UnknownName> {
                Self::from_name(name).ok_or($crate::UnknownName::of($schema))
            }
        }
    };
}
