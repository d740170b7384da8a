//! Metadata, both ways.

use grpc_arena::Arena;
use grpc_proto::{Code, Metadata};
use grpc_service::ResponseMetadata;

use super::{Outcome, Peer, Target, checks, fails_with, reflected, reflected_fields, same};
use crate::interop::{INITIAL, TRAILING};
use crate::testing::{Empty, Failure, Request};

checks! {
    metadata_comes_back_on_all_kinds,
    metadata_comes_back_beside_an_error,
}

fn sent() -> Metadata {
    let mut sent = reflected_fields(INITIAL);
    sent.extend(&reflected_fields(TRAILING));
    sent
}

fn both(of: Peer, sent: &Metadata, response: &ResponseMetadata) -> Outcome {
    reflected(of, INITIAL, sent, &response.headers)?;
    reflected(of, TRAILING, sent, &response.trailers)
}

async fn metadata_comes_back_on_all_kinds(target: Target) -> Outcome {
    let (sent, stub) = (sent(), target.stub());
    let request = Request { reply_count: 2, ..Request::EMPTY };
    let mut arena = Arena::new();
    let mut response = ResponseMetadata::default();
    stub.empty_call(&Empty::default(), &arena).metadata(&sent).response(&mut response).await?;
    both(target.of, &sent, &response)?;
    stub.unary(&request, &arena).metadata(&sent).response(&mut response).await?;
    both(target.of, &sent, &response)?;
    let mut requests = stub.client_stream().metadata(&sent).await?;
    requests.send(&request).await?;
    requests.finish_with(&arena, &mut response).await?;
    both(target.of, &sent, &response)?;

    let mut replies = stub.server_stream(&request).metadata(&sent).await?;
    reflected(target.of, INITIAL, &sent, replies.headers().await)?;
    let mut seen = 0;
    while replies.next(&mut arena).await?.is_some() {
        seen += 1;
    }
    same("replies", seen, 2)?;
    reflected(target.of, TRAILING, &sent, replies.trailers().expect("the stream has ended"))?;

    let (mut requests, mut replies) = stub.bidi().metadata(&sent).await?.split();
    requests.send(&request).await?;
    requests.end();
    reflected(target.of, INITIAL, &sent, replies.headers().await)?;
    while replies.next(&mut arena).await?.is_some() {}
    reflected(target.of, TRAILING, &sent, replies.trailers().expect("the stream has ended"))
}

async fn metadata_comes_back_beside_an_error(target: Target) -> Outcome {
    let (sent, arena) = (sent(), Arena::new());
    let mut response = ResponseMetadata::default();
    let failure = Failure { code: 9, message: "as asked", ..Failure::EMPTY };
    let request = Request { failure: Some(&failure), ..Request::EMPTY };
    let outcome =
        target.stub().unary(&request, &arena).metadata(&sent).response(&mut response).await;
    fails_with("unary", outcome, Code::FailedPrecondition, "as asked")?;
    both(target.of, &sent, &response)
}
