//! Compressed messages, both ways.

use grpc_arena::Arena;
use grpc_proto::Code;
use grpc_service::{Encoding, ResponseMetadata};

use super::{Outcome, Target, checks, fails_as, same, same_bytes};
use crate::interop::pattern;
use crate::testing::{Empty, Reply, Request};

checks! {
    requests_in_every_encoding_get_replies_in_gzip,
    requests_in_every_encoding_get_replies_in_deflate,
    an_encoding_that_the_server_does_not_know_fails_its_call_alone,
}

async fn requests_in_every_encoding_get_replies_in_gzip(target: Target) -> Outcome {
    converse(target, Encoding::Gzip).await
}

async fn requests_in_every_encoding_get_replies_in_deflate(target: Target) -> Outcome {
    converse(target, Encoding::Deflate).await
}

/// With a server that likes to send in `replied`.
async fn converse(target: Target, replied: Encoding) -> Outcome {
    for &encoding in Encoding::ALL {
        if target.of_grpcio && encoding == Encoding::Zstd {
            continue;
        }
        let (mut arena, mut response) = (Arena::new(), ResponseMetadata::default());
        let (stub, payload) = (target.stub(), pattern(100_000, 0));
        let request = Request { payload, ..Request::EMPTY };
        let call = stub.unary(&request, &arena).compress(Some(encoding));
        same_bytes("unary", call.response(&mut response).await?.payload, payload)?;
        same("grpc-encoding", response.headers.encoding(), Some(replied.name()))?;

        let mut stream = stub.bidi().compress(Some(encoding)).await?;
        for (index, size) in [100_000, 0, 1, 5000, 1_000_000, 10].into_iter().enumerate() {
            let payload = pattern(size, 7);
            stream.send(&Request { payload, reply_count: 1, ..Request::EMPTY }).await?;
            let expected = Reply { payload, index: index as u32, ..Reply::EMPTY };
            same("turn", stream.next(&mut arena).await?, Some(expected))?;
        }
        stream.end();
        same("end", stream.next(&mut arena).await?, None)?;
    }
    Ok(())
}

async fn an_encoding_that_the_server_does_not_know_fails_its_call_alone(target: Target) -> Outcome {
    if !target.of_grpcio {
        // Ours knows them all.
        return Ok(());
    }
    let (arena, stub) = (Arena::new(), target.stub());
    let request = Request { payload: pattern(100_000, 0), ..Request::EMPTY };
    let outcome = stub.unary(&request, &arena).compress(Some(Encoding::Zstd)).await;
    // The documents say UNIMPLEMENTED, and ours does.
    fails_as("zstd", outcome, Code::Internal)?;
    stub.empty_call(&Empty::default(), &arena).await?;
    Ok(())
}
