//! Error statuses.

use grpc_arena::Arena;
use grpc_proto::Code;

use super::{Outcome, Target, Wrong, checks, fails_as, fails_with, same, same_bytes};
use crate::interop::{MAX_REPLY, pattern};
use crate::testing::{Empty, Failure, Reply, Request};

checks! {
    every_code_and_message_arrives,
    details_arrive,
    streams_end_with_their_status_after_their_messages,
    a_failed_stream_ends_though_the_client_still_writes,
    an_oversize_message_exhausts_resources,
    an_oversize_reply_exhausts_resources,
}

/// Multi-byte characters of every length, and what percent-encoding must not trip over.
pub(super) const MESSAGES: [&str; 7] = [
    "",
    "plain",
    "100 % of %20 and %zz",
    "naïve Überraschung",
    "ошибка ✓ 失敗 🦀",
    "line\nbreak\ttab \x7f",
    "  spaces outside ",
];

async fn every_code_and_message_arrives(target: Target) -> Outcome {
    for &code in &Code::ALL[1..] {
        for message in MESSAGES {
            let arena = Arena::new();
            let failure = Failure { code: code.number().into(), message, ..Failure::EMPTY };
            let request = Request { failure: Some(&failure), ..Request::EMPTY };
            fails_with("unary", target.stub().unary(&request, &arena).await, code, message)?;
        }
    }
    Ok(())
}

async fn details_arrive(target: Target) -> Outcome {
    let arena = Arena::new();
    let details = pattern(300, 9);
    let failure = Failure { code: 3, message: "ж", details, ..Failure::EMPTY };
    let request = Request { failure: Some(&failure), ..Request::EMPTY };
    match target.stub().unary(&request, &arena).await {
        Err(status) => {
            same("status", (status.code(), status.message()), (Code::InvalidArgument, "ж"))?;
            same_bytes("details", status.details(), details)
        }
        Ok(reply) => Err(Wrong(format!("succeeded with {reply:?}"))),
    }
}

async fn streams_end_with_their_status_after_their_messages(target: Target) -> Outcome {
    let stub = target.stub();
    let (code, message) = (Code::DataLoss, MESSAGES[4]);
    let failure = Failure { code: code.number().into(), message, ..Failure::EMPTY };
    let failing = Request { failure: Some(&failure), ..Request::EMPTY };
    let request = Request { reply_count: 3, reply_size: Some(1000), ..failing };
    let mut arena = Arena::new();
    let expected = |index| Some(Reply { payload: pattern(1000, index), index, ..Reply::EMPTY });

    let mut replies = stub.server_stream(&request).await?;
    for index in 0..3 {
        same("reply", replies.next(&mut arena).await?, expected(index))?;
    }
    fails_with("server stream", replies.next(&mut arena).await, code, message)?;

    let (mut requests, mut replies) = stub.bidi().await?.split();
    requests.send(&request).await?;
    requests.end();
    for index in 0..3 {
        same("reply", replies.next(&mut arena).await?, expected(index))?;
    }
    fails_with("bidi", replies.next(&mut arena).await, code, message)?;

    let mut requests = stub.client_stream().await?;
    requests.send(&Request { payload: b"x", ..Request::EMPTY }).await?;
    requests.send(&failing).await?;
    fails_with("client stream", requests.finish(&arena).await, code, message)
}

async fn a_failed_stream_ends_though_the_client_still_writes(target: Target) -> Outcome {
    let failure = Failure { code: 8, message: "enough", ..Failure::EMPTY };
    let mut arena = Arena::new();
    let mut call = target.stub().bidi().await?;
    call.send(&Request { failure: Some(&failure), ..Request::EMPTY }).await?;
    fails_with("bidi", call.next(&mut arena).await, Code::ResourceExhausted, "enough")
}

async fn an_oversize_message_exhausts_resources(target: Target) -> Outcome {
    let arena = Arena::new();
    let request = Request { payload: pattern(MAX_REPLY, 0), ..Request::EMPTY };
    fails_as("unary", target.stub().unary(&request, &arena).await, Code::ResourceExhausted)?;
    target.stub().empty_call(&Empty::default(), &arena).await?;
    Ok(())
}

async fn an_oversize_reply_exhausts_resources(target: Target) -> Outcome {
    let arena = Arena::new();
    let request = Request { reply_size: Some(MAX_REPLY as u32), ..Request::EMPTY };
    fails_as("unary", target.stub().unary(&request, &arena).await, Code::ResourceExhausted)?;
    target.stub().empty_call(&Empty::default(), &arena).await?;
    Ok(())
}
