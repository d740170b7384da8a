//! Handler traits and client stubs.
//!
//! For a service `Greeter` this writes, at the root of its package's file,
//!
//! - `mod greeter_methods`: one type a method, which names its path and its messages;
//! - `trait Greeter`: what a server implements;
//! - `fn register_greeter`: puts an implementation into a router;
//! - `struct GreeterClient`: what a client calls.

mod client;
mod server;

use proc_macro2::TokenStream;
use quote::quote;

use crate::generate::{Sides, lints};
use crate::model::{Comments, Idempotency, Method, Scope, Service};

/// The code for one service, placed at the root of its package's file.
///
/// Everything is named by its full path, because the schema's own names are in scope: a message may be called
/// `Result`.
pub(crate) fn generate_service(service: &Service, scope: &Scope, sides: Sides) -> TokenStream {
    let methods = (sides.servers || sides.clients).then(|| methods(service, scope));
    let handler = sides.servers.then(|| server::generate(service, scope));
    let client = sides.clients.then(|| client::generate(service, scope));
    quote! {
        #methods
        #handler
        #client
    }
}

/// Which of the four kinds of call a method has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unary,
    ServerStreaming,
    ClientStreaming,
    Bidi,
}

impl Kind {
    fn of(method: &Method) -> Self {
        match (method.client_streaming, method.server_streaming) {
            (false, false) => Kind::Unary,
            (false, true) => Kind::ServerStreaming,
            (true, false) => Kind::ClientStreaming,
            (true, true) => Kind::Bidi,
        }
    }
}

/// The path of the type that stands for a method from the root of the file.
fn marker_path(service: &Service, method: &Method) -> TokenStream {
    let (module, marker) = (&service.module, &method.marker);
    quote!(#module::#marker)
}

fn methods(service: &Service, scope: &Scope) -> TokenStream {
    let module = &service.module;
    let inner = scope.module(module);
    let items = service.methods.iter().map(|method| {
        let (marker, path) = (&method.marker, &method.path);
        let doc = format!("`{path}`.");
        let descriptor = descriptor(method);
        let request = method.input.message(&inner, "'static");
        let response = method.output.message(&inner, "'static");
        quote! {
            #[doc = #doc]
            #[derive(Clone, Copy, Debug)]
            pub enum #marker {}

            impl ::grpc_service::Method for #marker {
                const PATH: &'static str = #path;
                const DESCRIPTOR: ::grpc_service::MethodDescriptor = #descriptor;
                type Request = #request;
                type Response = #response;
            }
        }
    });
    let markers = service.methods.iter().map(|method| &method.marker);
    let doc =
        format!("The methods of `{}`, as types: their paths and messages.", service.full_name);
    let lints = lints();
    quote! {
        #[doc = #doc]
        #lints
        pub mod #module {
            #(#items)*

            /// All of them, in order of declaration.
            pub const METHODS: &[::grpc_service::MethodDescriptor] =
                &[#(<#markers as ::grpc_service::Method>::DESCRIPTOR),*];
        }
    }
}

/// The method as a value.
fn descriptor(method: &Method) -> TokenStream {
    let path = &method.path;
    let kind = match Kind::of(method) {
        Kind::Unary => quote!(Unary),
        Kind::ServerStreaming => quote!(ServerStreaming),
        Kind::ClientStreaming => quote!(ClientStreaming),
        Kind::Bidi => quote!(Bidi),
    };
    let level = match method.idempotency {
        Idempotency::NoSideEffects => Some(quote!(NoSideEffects)),
        Idempotency::Idempotent => Some(quote!(Idempotent)),
        Idempotency::Unknown => None,
    };
    let level = level.map(|level| quote!(.with_idempotency(::grpc_service::Idempotency::#level)));
    quote!(::grpc_service::MethodDescriptor::new(#path, ::grpc_service::Kind::#kind)#level)
}

/// Doc attributes: the schema's comments, then what we have to add; `fallback` where the schema says nothing.
fn docs(comments: &Comments, fallback: &str, more: &str) -> TokenStream {
    let fallback = comments.is_empty().then(|| fallback.to_owned());
    let more = (!more.is_empty()).then(|| [String::new(), more.to_owned()]);
    let lines = comments.iter().cloned().chain(fallback).chain(more.into_iter().flatten());
    // A space as in `/// text`, which is how the formatted file shows it.
    let lines = lines.map(|line| if line.is_empty() { line } else { format!(" {line}") });
    quote!(#(#[doc = #lines])*)
}
