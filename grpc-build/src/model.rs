//! A schema with everything resolved: what the generators work from.
//!
//! Names are looked up, features inherited, and Rust names chosen, so that a generator only has to write them down.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::names;

/// The comments of a declaration, as lines of Markdown that rustdoc renders safely. Empty when there are none.
pub(crate) type Comments = Vec<String>;

/// One package: everything that goes into one Rust file.
#[derive(Debug)]
pub(crate) struct Package {
    /// The full name, as `a.b`; empty for files without one.
    pub(crate) name: String,
    /// The messages at the outermost level, in order of the files and of declaration.
    pub(crate) messages: Vec<Message>,
    /// The enums at the outermost level.
    pub(crate) enums: Vec<Enum>,
    /// The extensions at the outermost level.
    pub(crate) extensions: Vec<Extension>,
    /// The services.
    pub(crate) services: Vec<Service>,
}

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    /// The full name in the schema, as `a.b.Person.Phone`.
    pub(crate) full_name: String,
    /// Where the struct lies.
    pub(crate) rust: RustType,
    /// The module for what is declared within.
    pub(crate) module: Ident,
    /// The comments.
    pub(crate) comments: Comments,
    /// Whether it is deprecated.
    pub(crate) deprecated: bool,
    /// The fields in ascending order of their numbers, those of oneofs included.
    pub(crate) fields: Vec<Field>,
    /// The oneofs; synthetic ones of `optional` fields are no part of them.
    pub(crate) oneofs: Vec<Oneof>,
    /// The messages declared within, without the entries of maps.
    pub(crate) messages: Vec<Message>,
    /// The enums declared within.
    pub(crate) enums: Vec<Enum>,
    /// The extensions declared within.
    pub(crate) extensions: Vec<Extension>,
    /// Whether a `required` field lies here or, through any path of fields, within.
    pub(crate) requires: bool,
    /// Whether its values equal themselves: it holds no floating-point number, here or within.
    pub(crate) exact: bool,
}

/// A field.
#[derive(Debug)]
pub(crate) struct Field {
    /// The name in the schema.
    pub(crate) name: String,
    /// The name in Rust.
    pub(crate) ident: Ident,
    /// The name of the method that returns the value or its default.
    pub(crate) accessor: Ident,
    /// The number.
    pub(crate) number: u32,
    /// The comments.
    pub(crate) comments: Comments,
    /// Whether it is deprecated.
    pub(crate) deprecated: bool,
    /// The type of a value.
    pub(crate) kind: Kind,
    /// How often it occurs, and how absence is told.
    pub(crate) shape: Shape,
    /// Whether `Debug` leaves it out (`debug_redact`).
    pub(crate) redacted: bool,
    /// The declared default of a scalar with explicit presence.
    pub(crate) default: Option<Literal>,
}

/// How often a field occurs, and how absence is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Once; absent is the same as the default value.
    Implicit,
    /// Once or not at all.
    Explicit,
    /// Once, or the message is refused.
    Required,
    /// Any number of times.
    Repeated {
        /// Whether it is written as one packed list.
        packed: bool,
    },
    /// A map with these keys; the kind is that of the values.
    Map(MapKey),
    /// A member of the oneof with this index.
    Oneof(usize),
    /// Once or not at all, as an Item: an extension of a MessageSet.
    Item,
}

/// The key of a map: one of the leaves but floating point and bytes.
pub(crate) type MapKey = Scalar;

/// The type of a value.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A number, a string, or bytes.
    Scalar(Scalar),
    /// An enum.
    Enum {
        /// The type.
        rust: RustType,
        /// Whether it holds named values only.
        closed: bool,
        /// Its first value, as the Rust name of the constant or variant.
        first: Ident,
    },
    /// A message.
    Message {
        /// The type.
        rust: RustType,
        /// Whether it is written between group tags instead of behind a length.
        group: bool,
        /// Whether a `required` field lies within.
        requires: bool,
        /// Whether its values equal themselves.
        exact: bool,
    },
}

/// A number, a string, or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    Text,
    Blob,
}

/// A declared default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    /// Of a number or bool, as Rust writes it.
    Plain(String),
    /// Of a string.
    Text(String),
    /// Of bytes.
    Blob(Vec<u8>),
    /// Of an enum: the Rust name of the constant or variant.
    Enum(Ident),
}

/// A oneof.
#[derive(Debug)]
pub(crate) struct Oneof {
    /// The name in the schema.
    pub(crate) name: String,
    /// The name of the field in Rust.
    pub(crate) ident: Ident,
    /// Where the enum lies.
    pub(crate) rust: RustType,
    /// The comments.
    pub(crate) comments: Comments,
    /// The variants: the name in Rust and the index into the message's fields.
    pub(crate) variants: Vec<(Ident, usize)>,
    /// Whether a variant borrows, so that the enum has a lifetime parameter.
    pub(crate) borrows: bool,
    /// Whether its values equal themselves.
    pub(crate) exact: bool,
}

/// An enum.
#[derive(Debug)]
pub(crate) struct Enum {
    /// The full name in the schema.
    pub(crate) full_name: String,
    /// Where the type lies.
    pub(crate) rust: RustType,
    /// The comments.
    pub(crate) comments: Comments,
    /// Whether it is deprecated.
    pub(crate) deprecated: bool,
    /// Whether it holds named values only.
    pub(crate) closed: bool,
    /// The values in order of declaration.
    pub(crate) values: Vec<EnumValue>,
}

/// A value of an enum.
#[derive(Debug)]
pub(crate) struct EnumValue {
    /// The name in the schema.
    pub(crate) name: String,
    /// The name in Rust: of a constant when the enum is open, of a variant when it is closed.
    pub(crate) ident: Ident,
    /// The number.
    pub(crate) number: i32,
    /// The comments.
    pub(crate) comments: Comments,
    /// Whether it is deprecated.
    pub(crate) deprecated: bool,
    /// Whether a value before it has the same number.
    pub(crate) alias: bool,
}

/// An extension: a field of a message that is declared elsewhere.
#[derive(Debug)]
pub(crate) struct Extension {
    /// The message that is extended.
    pub(crate) extendee: RustType,
    /// The full name of that message.
    pub(crate) extendee_name: String,
    /// A message of the one field, whose name in Rust is `value`.
    pub(crate) message: Message,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    /// The full name in the schema, as `helloworld.Greeter`.
    pub(crate) full_name: String,
    /// The handler trait, as `Greeter`.
    pub(crate) handler: Ident,
    /// The client stub, as `GreeterClient`.
    pub(crate) client: Ident,
    /// The module of the methods, as `greeter_methods`.
    pub(crate) module: Ident,
    /// The function that registers a handler, as `register_greeter`.
    pub(crate) register: Ident,
    /// The comments.
    pub(crate) comments: Comments,
    /// Whether it is deprecated.
    pub(crate) deprecated: bool,
    /// The methods in order of declaration.
    pub(crate) methods: Vec<Method>,
}

/// What the schema says of calls that are made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idempotency {
    Unknown,
    NoSideEffects,
    Idempotent,
}

/// A method of a service.
#[derive(Debug)]
pub(crate) struct Method {
    /// The name in the handler trait, as `say_hello`.
    pub(crate) ident: Ident,
    /// The name in the client stub, as `say_hello`.
    pub(crate) stub: Ident,
    /// The type that stands for it, as `SayHello`.
    pub(crate) marker: Ident,
    /// The path of its calls, as `/helloworld.Greeter/SayHello`.
    pub(crate) path: String,
    /// The comments.
    pub(crate) comments: Comments,
    /// Whether it is deprecated.
    pub(crate) deprecated: bool,
    /// The type of the requests.
    pub(crate) input: RustType,
    /// The type of the responses.
    pub(crate) output: RustType,
    /// What the schema says of calls that are made twice.
    pub(crate) idempotency: Idempotency,
    /// Whether the client sends any number of requests.
    pub(crate) client_streaming: bool,
    /// Whether the server sends any number of responses.
    pub(crate) server_streaming: bool,
}

/// Where a Rust type lies.
#[derive(Clone, Debug)]
pub(crate) struct RustType {
    /// The modules from the root of the generated tree; `None` for a type given by `extern_path`.
    place: Option<Place>,
    /// The path of an external type.
    external: Option<syn::Path>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    package: Vec<Ident>,
    modules: Vec<Ident>,
    ident: Ident,
}

impl RustType {
    /// A generated type.
    pub(crate) fn generated(package: &str, modules: &[Ident], ident: Ident) -> Self {
        let package = names::package_modules(package);
        Self { place: Some(Place { package, modules: modules.to_vec(), ident }), external: None }
    }

    /// A type of another crate or module.
    pub(crate) fn external(path: syn::Path) -> Self {
        Self { place: None, external: Some(path) }
    }

    /// Its own name.
    pub(crate) fn ident(&self) -> Ident {
        match (&self.place, &self.external) {
            (Some(place), _) => place.ident.clone(),
            (None, Some(path)) => path.segments.last().expect("a path has a segment").ident.clone(),
            (None, None) => unreachable!("a type lies somewhere"),
        }
    }

    /// The path to it from `from`, without lifetime arguments.
    pub(crate) fn path(&self, from: &Scope) -> TokenStream {
        let Some(place) = &self.place else {
            let path = &self.external;
            return quote!(#path);
        };
        let mut here = from.package.clone();
        here.extend(from.modules.iter().cloned());
        let mut there = place.package.clone();
        there.extend(place.modules.iter().cloned());
        let same_package = from.package == place.package;
        // Within a package, up to its root and down again reads best; between packages, up to what they share.
        let shared = if same_package {
            let nested =
                from.modules.iter().zip(&place.modules).take_while(|(a, b)| a == b).count();
            from.package.len() + if nested == from.modules.len() { nested } else { 0 }
        } else {
            here.iter().zip(&there).take_while(|(a, b)| a == b).count()
        };
        let up = (shared..here.len()).map(|_| format_ident!("super"));
        let down = there[shared..].iter().cloned();
        let ident = &place.ident;
        let modules = up.chain(down);
        quote!(#(#modules::)* #ident)
    }

    /// The path of a message with the lifetime `lifetime`, as `super::Person<'a>`.
    pub(crate) fn message(&self, from: &Scope, lifetime: &str) -> TokenStream {
        let path = self.path(from);
        let lifetime = syn::Lifetime::new(lifetime, proc_macro2::Span::call_site());
        quote!(#path<#lifetime>)
    }
}

/// The module that code is generated for, from which paths start.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    package: Vec<Ident>,
    modules: Vec<Ident>,
}

impl Scope {
    /// The root of a package's file.
    pub(crate) fn package(name: &str) -> Self {
        Self { package: names::package_modules(name), modules: Vec::new() }
    }

    /// A module within.
    #[must_use]
    pub(crate) fn module(&self, ident: &Ident) -> Self {
        let mut inner = self.clone();
        inner.modules.push(ident.clone());
        inner
    }
}
