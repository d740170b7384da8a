//! The handler trait, and the adapter that puts it into a router.

use proc_macro2::TokenStream;
use quote::quote;

use super::{Kind, docs, marker_path};
use crate::generate::lints;
use crate::model::{Method, Scope, Service};

pub(super) fn generate(service: &Service, scope: &Scope) -> TokenStream {
    let (ident, register) = (&service.handler, &service.register);
    let fallback = format!("Serves `{}`.", service.full_name);
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
        quote!(routes.#kind::<#marker, _>(::core::clone::Clone::clone(&serve));)
    });
    let body = if service.methods.is_empty() {
        quote!(let _ = (routes, service);)
    } else {
        quote! {
            // No type of a schema begins with an underscore.
            struct _Serve<_S>(::std::rc::Rc<_S>);

            impl<_S> ::core::clone::Clone for _Serve<_S> {
                fn clone(&self) -> Self {
                    _Serve(::std::rc::Rc::clone(&self.0))
                }
            }

            #(#handlers)*

            let serve = _Serve(service);
            #(#routes)*
        }
    };
    let register_doc = format!(
        " Lets `routes`, a router or one behind layers, serve the methods of `{}` with `service`.",
        service.full_name
    );
    let lints = lints();
    quote! {
        #doc
        #lints
        #[allow(async_fn_in_trait)] // handlers stay on their thread
        pub trait #ident: 'static {
            #(#signatures)*
        }

        #[doc = #register_doc]
        #lints
        pub fn #register(
            routes: &mut impl ::grpc_service::Routes,
            service: ::std::rc::Rc<impl #ident>,
        ) {
            #body
        }
    }
}

/// A method as the handler trait declares it.
fn signature(method: &Method, scope: &Scope) -> TokenStream {
    let (ident, marker) = (&method.ident, &method.marker);
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
            // One lifetime for all: an implementation may borrow its reply from the service, which is what elided
            // lifetimes say, or from the arena of `cx`.
            quote! {
                #doc
                async fn #ident<'a>(
                    &'a self,
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
    let (handler, marker, path) = (&service.handler, &method.marker, marker_path(service, method));
    // By the trait's name, since `Rc` has methods of its own.
    let (ident, service_) = (&method.ident, quote!(<_S as #handler>));
    let request = method.input.message(scope, "'a");
    match Kind::of(method) {
        Kind::Unary => {
            let response = method.output.message(scope, "'a");
            quote! {
                impl<_S: #handler> ::grpc_service::server::UnaryHandler<#path> for _Serve<_S> {
                    fn call<'a>(
                        &'a self,
                        cx: &::grpc_service::Cx<'a>,
                        request: #request,
                    ) -> impl ::core::future::Future<
                        Output = ::core::result::Result<#response, ::grpc_service::Status>,
                    > {
                        #service_::#ident(&*self.0, cx, request)
                    }
                }
            }
        }
        Kind::ServerStreaming => {
            let response = method.output.message(scope, "'static");
            quote! {
                impl<_S: #handler> ::grpc_service::server::ServerStreamingHandler<#path>
                    for _Serve<_S>
                {
                    fn call<'a>(
                        &self,
                        cx: &::grpc_service::Cx<'a>,
                        request: #request,
                        out: &mut ::grpc_service::Sink<'_, #response>,
                    ) -> impl ::core::future::Future<
                        Output = ::core::result::Result<(), ::grpc_service::Status>,
                    > {
                        #service_::#ident(&*self.0, cx, request, out)
                    }
                }
            }
        }
        kind => {
            let call = match kind {
                Kind::ClientStreaming => quote!(::grpc_service::server::ClientStreamingHandler),
                _ => quote!(::grpc_service::server::BidiHandler),
            };
            quote! {
                impl<_S: #handler> #call<#path> for _Serve<_S> {
                    type Call<'s> = #service_::#marker<'s>;

                    fn open<'s>(
                        &'s self,
                        cx: &::grpc_service::Cx<'_>,
                    ) -> impl ::core::future::Future<
                        Output = ::core::result::Result<Self::Call<'s>, ::grpc_service::Status>,
                    > {
                        #service_::#ident(&*self.0, cx)
                    }
                }
            }
        }
    }
}
