//! A server that chooses its frames: early trailers, refused streams, GOAWAY, messages in the smallest pieces.

use grpc_arena::Arena;
use grpc_proto::{Code, Metadata, Processed};
use grpc_service::{LocalFuture, ResponseMetadata};

use super::{Outcome, Target, checks, fails_as, same, same_bytes};
use crate::interop::pattern;
use crate::testing::Request;

checks! {
    a_reply_arrives_in_five_byte_frames_plain_and_padded,
    a_refused_stream_is_reported_as_such,
    early_trailers_end_a_call_that_still_sends,
    a_stream_without_a_message_ends_in_an_empty_data_frame,
    a_goaway_lets_calls_below_it_finish_and_refuses_those_above,
}

/// The metadata that tells the server what to do.
fn asking(what: &str) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.append("x-frames", what).expect("a valid entry");
    metadata
}

async fn a_reply_arrives_in_five_byte_frames_plain_and_padded(target: Target) -> Outcome {
    for what in ["tiny", "padded"] {
        let arena = Arena::new();
        let reply = target.stub().unary(&Request::EMPTY, &arena).metadata(&asking(what)).await?;
        same_bytes(what, reply.payload, pattern(314_159, 0))?;
    }
    Ok(())
}

async fn a_refused_stream_is_reported_as_such(target: Target) -> Outcome {
    let (arena, mut response) = (Arena::new(), ResponseMetadata::default());
    let (stub, metadata) = (target.stub(), asking("refuse"));
    let call = stub.unary(&Request::EMPTY, &arena).metadata(&metadata).response(&mut response);
    fails_as("refused", call.await, Code::Unavailable)?;
    same("processed", response.processed, Some(Processed::Refused))
}

async fn early_trailers_end_a_call_that_still_sends(target: Target) -> Outcome {
    let mut arena = Arena::new();
    let mut call = target.stub().bidi().metadata(&asking("early")).await?;
    call.send(&Request { payload: b"still sending", ..Request::EMPTY }).await?;
    fails_as("early", call.next(&mut arena).await, Code::FailedPrecondition)?;
    // The server was told that the rest would not come: NO_ERROR.
    let reply = target.stub().unary(&Request::EMPTY, &arena).metadata(&asking("resets")).await?;
    same_bytes("resets", reply.payload, &[0])
}

async fn a_stream_without_a_message_ends_in_an_empty_data_frame(target: Target) -> Outcome {
    let arena = Arena::new();
    let metadata = asking("end");
    let mut call = target.stub().bidi().metadata(&metadata).await?;
    call.end();
    let mut reply_arena = Arena::new();
    let reply = call.next(&mut reply_arena).await?;
    same("the frame with END_STREAM", reply.map(|reply| reply.payload), Some(&b"DATA"[..]))?;
    let requests = target.stub().client_stream().metadata(&metadata).await?;
    same("DATA frames with END_STREAM", requests.finish(&arena).await?.messages, 1)
}

async fn a_goaway_lets_calls_below_it_finish_and_refuses_those_above(target: Target) -> Outcome {
    let slow = |target: Target| -> LocalFuture<Outcome> {
        Box::pin(async move {
            let arena = Arena::new();
            let metadata = asking("slow");
            let reply = target.stub().unary(&Request::EMPTY, &arena).metadata(&metadata).await?;
            same_bytes("slow", reply.payload, b"slow")
        })
    };
    let reported = |target: Target| -> LocalFuture<Outcome> {
        Box::pin(async move {
            // After the slow ones for sure.
            target.sleep(std::time::Duration::from_millis(100)).await;
            let (arena, mut response) = (Arena::new(), ResponseMetadata::default());
            let (stub, metadata) = (target.stub(), asking("go"));
            let call = stub.unary(&Request::EMPTY, &arena).metadata(&metadata);
            fails_as("told", call.response(&mut response).await, Code::Unavailable)?;
            same("processed", response.processed, Some(Processed::Refused))?;
            // While the slow ones are still at it, nothing new begins here.
            let call = stub.unary(&Request::EMPTY, &arena).response(&mut response);
            fails_as("late", call.await, Code::Unavailable)?;
            same("processed", response.processed, Some(Processed::No))
        })
    };
    let tasks = (0..5).map(|_| slow(target.clone())).chain([reported(target.clone())]);
    target.gather(tasks.collect()).await
}
