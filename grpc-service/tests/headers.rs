//! When the headers of a response leave, and what becomes of those that come too late.

mod common;

use std::rc::Rc;

use common::{Bytes, BytesClient, Raw, connect_with, methods};
use grpc_arena::Arena;
use grpc_proto::{Code, Limits, Metadata, MetadataError, Status};
use grpc_service::server::{BidiCall, ClientStreamingCall, ServerStreamingHandler};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{ChannelOptions, Cx, ResponseMetadata, Router, Server, ServerOptions, Sink};

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
        // A handler that wants them sent may call this at any time.
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

/// Adds metadata and fails, in each of the four kinds of call.
#[derive(Clone)]
struct Failing {
    message: &'static str,
    header: String,
    trailer: String,
}

impl Failing {
    fn fail(&self, cx: &Cx<'_>) -> Status {
        let add = || -> Result<(), Status> {
            cx.append_header("x-head", "1")?;
            cx.append_header("x-head", &self.header)?;
            cx.append_header_bin("x-head-bin", &[0, 255])?;
            cx.append_trailer("x-tail", "1")?;
            cx.append_trailer("x-tail", &self.trailer)?;
            cx.append_trailer_bin("x-tail-bin", &[255, 0])?;
            cx.append_trailer("x-head", "3")?;
            Ok(())
        };
        add().expect("valid metadata");
        Status::new(Code::FailedPrecondition, self.message)
    }
}

impl Bytes for Failing {
    async fn echo<'a>(&self, cx: &Cx<'a>, _: Raw<'a>) -> Result<Raw<'a>, Status> {
        Err(self.fail(cx))
    }

    async fn split<'a>(
        &self,
        cx: &Cx<'a>,
        _: Raw<'a>,
        _: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        Err(self.fail(cx))
    }

    type Join<'s> = Failing;

    async fn join(&self, _: &Cx<'_>) -> Result<Failing, Status> {
        Ok(self.clone())
    }

    type Chat<'s> = Failing;

    async fn chat(&self, _: &Cx<'_>) -> Result<Failing, Status> {
        Ok(self.clone())
    }
}

impl ClientStreamingCall<Raw<'static>, Raw<'static>> for Failing {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, _: Raw<'a>) -> Result<(), Status> {
        Err(self.fail(cx))
    }

    async fn finish<'a>(self, _: &Cx<'a>) -> Result<Raw<'a>, Status> {
        Ok(Raw(b""))
    }
}

impl BidiCall<Raw<'static>, Raw<'static>> for Failing {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        _: Raw<'a>,
        _: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        Err(self.fail(cx))
    }
}

/// The status, headers and trailers of one call of each kind.
fn failures(failing: Failing, limits: Limits) -> Vec<(Status, Metadata, Metadata)> {
    let (client, mut pair) = connect_with(failing, Limits::default(), limits);
    let mut ends = Vec::new();
    pair.block_on(async {
        let (mut arena, mut beside) = (Arena::new(), ResponseMetadata::default());
        let failed = client.echo(&Raw(b"x"), &arena).response(&mut beside).await;
        ends.push((
            failed.unwrap_err().into_status(),
            beside.headers.clone(),
            beside.trailers.clone(),
        ));
        let mut split = client.split(&Raw(b"x")).await.expect("a stream");
        let status = split.next(&mut arena).await.unwrap_err();
        let headers = split.headers().await.clone();
        ends.push((
            status.into_status(),
            headers,
            split.trailers().expect("the end was met").clone(),
        ));
        let mut join = client.join().await.expect("a stream");
        join.send(&Raw(b"x")).await.expect("the call is open");
        let status = join.finish_with(&arena, &mut beside).await.unwrap_err();
        ends.push((status.into_status(), beside.headers, beside.trailers));
        let mut chat = client.chat().await.expect("a stream");
        chat.send(&Raw(b"x")).await.expect("the call is open");
        let (sending, mut answers) = chat.split();
        let status = answers.next(&mut arena).await.unwrap_err();
        let headers = answers.headers().await.clone();
        ends.push((
            status.into_status(),
            headers,
            answers.trailers().expect("the end was met").clone(),
        ));
        sending.end();
    });
    ends
}

#[test]
fn metadata_added_before_an_error_is_in_its_trailers_only() {
    let failing = Failing { message: "not yet", header: "2".into(), trailer: "2".into() };
    let mut expected = Metadata::new();
    for value in ["1", "2"] {
        expected.append("x-head", value).unwrap();
    }
    expected.append_bin("x-head-bin", &[0, 255]).unwrap();
    for value in ["1", "2"] {
        expected.append("x-tail", value).unwrap();
    }
    expected.append_bin("x-tail-bin", &[255, 0]).unwrap();
    expected.append("x-head", "3").unwrap();
    let ends = failures(failing, Limits::default());
    assert_eq!(ends.len(), 4);
    for (status, headers, trailers) in ends {
        assert_eq!(status, Status::new(Code::FailedPrecondition, "not yet"));
        assert!(headers.is_empty(), "{headers:?}");
        assert_eq!(trailers, expected);
    }
}

#[test]
fn metadata_too_long_for_one_list_leaves_in_two_and_the_status_stays() {
    let failing = Failing { message: "m", header: "h".repeat(600), trailer: "t".repeat(600) };
    let mut limits = Limits::default();
    limits.max_header_list_size = 1100;
    for (status, headers, trailers) in failures(failing, limits) {
        assert_eq!(status, Status::new(Code::FailedPrecondition, "m"));
        assert_eq!(headers.values("x-head").map(<[u8]>::len).collect::<Vec<_>>(), [1, 600]);
        assert_eq!(trailers.values("x-tail").map(<[u8]>::len).collect::<Vec<_>>(), [1, 600]);
    }
}
