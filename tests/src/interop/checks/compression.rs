//! Compressed messages, both ways.

use grpc_arena::Arena;
use grpc_proto::Code;
use grpc_service::{Encoding, ResponseMetadata};

use super::{Outcome, Peer, Target, checks, fails_as, same, same_bytes};
use crate::interop::pattern;
use crate::testing::{Empty, Reply, Request};

checks! {
    requests_in_every_encoding_get_replies_in_gzip,
    requests_in_every_encoding_get_replies_in_deflate,
    requests_in_every_encoding_get_plain_replies,
    an_encoding_that_the_server_does_not_know_fails_its_call_alone,
}

async fn requests_in_every_encoding_get_replies_in_gzip(target: Target) -> Outcome {
    converse(target, Some(Encoding::Gzip)).await
}

async fn requests_in_every_encoding_get_replies_in_deflate(target: Target) -> Outcome {
    converse(target, Some(Encoding::Deflate)).await
}

async fn requests_in_every_encoding_get_plain_replies(target: Target) -> Outcome {
    converse(target, None).await
}

/// With a server that likes to send in `replied`.
async fn converse(target: Target, replied: Option<Encoding>) -> Outcome {
    let replied = replied.map(Encoding::name);
    for &encoding in Encoding::ALL {
        if target.of != Peer::Ours && encoding == Encoding::Zstd {
            continue;
        }
        let (mut arena, mut response) = (Arena::new(), ResponseMetadata::default());
        let (stub, payload) = (target.stub(), pattern(100_000, 0));
        let request = Request { payload, ..Request::EMPTY };
        let call = stub.unary(&request, &arena).compress(Some(encoding));
        same_bytes("unary", call.response(&mut response).await?.payload, payload)?;
        let stated = response.headers.encoding().filter(|&name| name != "identity");
        same("grpc-encoding", stated, replied)?;

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
    // The documents say UNIMPLEMENTED.
    let code = match target.of {
        // It knows them all.
        Peer::Ours => return Ok(()),
        Peer::Grpcio => Code::Internal,
        Peer::GrpcJs => Code::Unimplemented,
    };
    let (arena, stub) = (Arena::new(), target.stub());
    let request = Request { payload: pattern(100_000, 0), ..Request::EMPTY };
    let outcome = stub.unary(&request, &arena).compress(Some(Encoding::Zstd)).await;
    fails_as("zstd", outcome, code)?;
    stub.empty_call(&Empty::default(), &arena).await?;
    Ok(())
}
