//! The client stub.

use proc_macro2::TokenStream;
use quote::quote;

use super::{Kind, docs, marker_path};
use crate::generate::{deprecated, lints};
use crate::model::{Method, Scope, Service};

pub(super) fn generate(service: &Service, scope: &Scope) -> TokenStream {
    let ident = &service.client;
    let doc = format!(" Calls `{}`.", service.full_name);
    let methods = service.methods.iter().map(|method| stub(service, method, scope));
    // Deprecation warns callers: a server of an old method has no choice.
    let (deprecated, lints) = (deprecated(service.deprecated), lints());
    quote! {
        #[doc = #doc]
        #[doc = ""]
        #[doc = " A method returns a call that is set up with its builder methods and then awaited."]
        #deprecated
        #lints
        #[derive(Clone, Debug)]
        pub struct #ident {
            channel: ::grpc_service::Channel,
        }

        #lints
        impl #ident {
            /// A client whose calls go to `channel`.
            pub fn new(channel: ::grpc_service::Channel) -> Self {
                Self { channel }
            }

            /// Where the calls go.
            pub fn channel(&self) -> &::grpc_service::Channel {
                &self.channel
            }

            #(#methods)*
        }
    }
}

fn stub(service: &Service, method: &Method, scope: &Scope) -> TokenStream {
    let ident = &method.stub;
    let marker = marker_path(service, method);
    let kind = Kind::of(method);
    let fallback = format!("Calls `{}`.", method.path);
    let more = match kind {
        Kind::Unary => "Awaiting it gives the response, which lives in `arena`.",
        Kind::ServerStreaming => "Awaiting it sends the request and gives the stream of responses.",
        Kind::ClientStreaming => "Awaiting it gives the stream for the requests.",
        Kind::Bidi => "Awaiting it gives the streams of both directions.",
    };
    let doc = docs(&method.comments, &fallback, more);
    let deprecated = deprecated(method.deprecated);
    let call = quote!(::grpc_service::client::Call);
    let body = match kind {
        Kind::Unary => {
            let request = method.input.message(scope, "'r");
            quote! {
                pub fn #ident<'r, 'a>(
                    &'r self,
                    request: &'r #request,
                    arena: &'a ::grpc_service::Arena,
                ) -> #call<'r, #marker, ::grpc_service::client::Unary<'r, 'a, #marker>> {
                    #call::unary(&self.channel, request, arena)
                }
            }
        }
        Kind::ServerStreaming => {
            let request = method.input.message(scope, "'r");
            quote! {
                pub fn #ident<'r>(
                    &'r self,
                    request: &'r #request,
                ) -> #call<'r, #marker, ::grpc_service::client::ServerStreaming<'r, #marker>> {
                    #call::server_streaming(&self.channel, request)
                }
            }
        }
        Kind::ClientStreaming => quote! {
            pub fn #ident(
                &self,
            ) -> #call<'_, #marker, ::grpc_service::client::ClientStreaming> {
                #call::client_streaming(&self.channel)
            }
        },
        Kind::Bidi => quote! {
            pub fn #ident(&self) -> #call<'_, #marker, ::grpc_service::client::Bidi> {
                #call::bidi(&self.channel)
            }
        },
    };
    quote! {
        #doc
        #deprecated
        #body
    }
}
