//! The handler trait, and the adapter that puts it into a router.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{Kind, docs, marker, marker_path};
use crate::model::{Method, Scope, Service};
use crate::names;

pub(super) fn generate(service: &Service, scope: &Scope) -> TokenStream {
    let ident = &service.ident;
    let fallback = format!("Serves `{}`.", service.full_name);
    let register = format_ident!("register_{}", names::snake(&service.name));
    let more = format!("Implement it for a server, and put it into a router with [`{register}`].");
    let doc = docs(&service.comments, &fallback, &more);
    let signatures = service.methods.iter().map(|method| signature(method, scope));
    let handlers = service.methods.iter().map(|method| handler(service, method, scope));
    let routes = service.methods.iter().map(|method| {
        let marker = marker_path(service, method);
        let kind = match Kind::of(method) {
            Kind::Unary => quote!(unary),
            Kind::ServerStreaming => quote!(server_streaming),
            Kind::ClientStreaming => quote!(client_streaming),
            Kind::Bidi => quote!(bidi),
        };
        quote!(router.#kind::<#marker, _>(::core::clone::Clone::clone(&serve));)
    });
    let register_doc =
        format!(" Lets `router` serve the methods of `{}` with `service`.", service.full_name);
    quote! {
        #doc
        #[allow(async_fn_in_trait)] // handlers stay on their thread
        pub trait #ident: 'static {
            #(#signatures)*
        }

        #[doc = #register_doc]
        pub fn #register<S: #ident>(
            router: &mut ::grpc_service::Router,
            service: ::std::rc::Rc<S>,
        ) {
            struct Serve<S>(::std::rc::Rc<S>);

            impl<S> ::core::clone::Clone for Serve<S> {
                fn clone(&self) -> Self {
                    Serve(::std::rc::Rc::clone(&self.0))
                }
            }

            #(#handlers)*

            let serve = Serve(service);
            #(#routes)*
        }
    }
}

/// A method as the handler trait declares it.
fn signature(method: &Method, scope: &Scope) -> TokenStream {
    let (ident, marker) = (&method.ident, marker(method));
    let kind = Kind::of(method);
    let fallback = format!("Serves `{}`.", method.path);
    let more = match kind {
        Kind::Unary => "One request, one response.",
        Kind::ServerStreaming => "One request; any number of responses go into `out`.",
        Kind::ClientStreaming => "Begins a call: a stream of requests, one response.",
        Kind::Bidi => "Begins a call: streams in both directions.",
    };
    let doc = docs(&method.comments, &fallback, more);
    match kind {
        Kind::Unary => {
            let request = method.input.message(scope, "'a");
            let response = method.output.message(scope, "'a");
            quote! {
                #doc
                async fn #ident<'a>(
                    &self,
                    cx: &::grpc_service::Cx<'a>,
                    request: #request,
                ) -> ::core::result::Result<#response, ::grpc_service::Status>;
            }
        }
        Kind::ServerStreaming => {
            let request = method.input.message(scope, "'a");
            let response = method.output.message(scope, "'static");
            quote! {
                #doc
                async fn #ident<'a>(
                    &self,
                    cx: &::grpc_service::Cx<'a>,
                    request: #request,
                    out: &mut ::grpc_service::Sink<'_, #response>,
                ) -> ::core::result::Result<(), ::grpc_service::Status>;
            }
        }
        Kind::ClientStreaming | Kind::Bidi => {
            let call = call_trait(kind);
            let request = method.input.message(scope, "'static");
            let response = method.output.message(scope, "'static");
            let type_doc = format!(" One call of `{ident}`; it may borrow the service.");
            quote! {
                #[doc = #type_doc]
                type #marker<'s>: #call<#request, #response>
                where
                    Self: 's;

                #doc
                async fn #ident(
                    &self,
                    cx: &::grpc_service::Cx<'_>,
                ) -> ::core::result::Result<Self::#marker<'_>, ::grpc_service::Status>;
            }
        }
    }
}

fn call_trait(kind: Kind) -> TokenStream {
    match kind {
        Kind::ClientStreaming => quote!(::grpc_service::server::ClientStreamingCall),
        _ => quote!(::grpc_service::server::BidiCall),
    }
}

/// A method as the router calls it: the trait's future handed on, without one of its own around it.
fn handler(service: &Service, method: &Method, scope: &Scope) -> TokenStream {
    let (service_ident, ident) = (&service.ident, &method.ident);
    let (marker, path) = (marker(method), marker_path(service, method));
    let request = method.input.message(scope, "'a");
    match Kind::of(method) {
        Kind::Unary => {
            let response = method.output.message(scope, "'a");
            quote! {
                impl<S: #service_ident> ::grpc_service::server::UnaryHandler<#path> for Serve<S> {
                    fn call<'a>(
                        &self,
                        cx: &::grpc_service::Cx<'a>,
                        request: #request,
                    ) -> impl ::core::future::Future<
                        Output = ::core::result::Result<#response, ::grpc_service::Status>,
                    > {
                        self.0.#ident(cx, request)
                    }
                }
            }
        }
        Kind::ServerStreaming => {
            let response = method.output.message(scope, "'static");
            quote! {
                impl<S: #service_ident> ::grpc_service::server::ServerStreamingHandler<#path>
                    for Serve<S>
                {
                    fn call<'a>(
                        &self,
                        cx: &::grpc_service::Cx<'a>,
                        request: #request,
                        out: &mut ::grpc_service::Sink<'_, #response>,
                    ) -> impl ::core::future::Future<
                        Output = ::core::result::Result<(), ::grpc_service::Status>,
                    > {
                        self.0.#ident(cx, request, out)
                    }
                }
            }
        }
        kind => {
            let handler = match kind {
                Kind::ClientStreaming => quote!(::grpc_service::server::ClientStreamingHandler),
                _ => quote!(::grpc_service::server::BidiHandler),
            };
            quote! {
                impl<S: #service_ident> #handler<#path> for Serve<S> {
                    type Call<'s> = S::#marker<'s>;

                    fn open<'s>(
                        &'s self,
                        cx: &::grpc_service::Cx<'_>,
                    ) -> impl ::core::future::Future<
                        Output = ::core::result::Result<Self::Call<'s>, ::grpc_service::Status>,
                    > {
                        self.0.#ident(cx)
                    }
                }
            }
        }
    }
}
