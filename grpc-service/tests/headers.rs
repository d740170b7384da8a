//! When the headers of a response leave, and what becomes of those that come too late.

mod common;

use std::rc::Rc;

use common::{BytesClient, Raw, methods};
use grpc_arena::Arena;
use grpc_proto::{MetadataError, Status};
use grpc_service::server::ServerStreamingHandler;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{ChannelOptions, Cx, Router, Server, ServerOptions, Sink};

#[derive(Clone)]
struct Late;

impl ServerStreamingHandler<methods::Split> for Late {
    async fn call<'a>(
        &self,
        cx: &Cx<'a>,
        request: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        if request.0 == b"asked" {
            cx.append_header("x-early", "1").expect("nothing was sent");
            cx.send_headers()?;
        }
        out.send(&request).await?;
        assert_eq!(cx.append_header("x-late", "1"), Err(MetadataError::HeadersSent));
        assert_eq!(cx.append_header_bin("x-late-bin", b"1"), Err(MetadataError::HeadersSent));
        out.send(&request).await?;
        // Whoever wants them to have left may say so at any time.
        cx.send_headers()?;
        out.send_headers()?;
        out.send(&request).await
    }
}

#[test]
fn headers_that_come_after_the_first_message_are_refused_and_the_stream_goes_on() {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    router.server_streaming::<methods::Split, _>(Late);
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
    let client = BytesClient::new(channel);
    for text in [&b"plain"[..], b"asked"] {
        pair.block_on(async {
            let mut arena = Arena::new();
            let request = Raw(text);
            let mut stream = client.split(&request).await.expect("a stream");
            for _ in 0..3 {
                assert_eq!(stream.next(&mut arena).await, Ok(Some(request)));
            }
            assert_eq!(stream.next(&mut arena).await, Ok(None));
        });
    }
}
