//! The four kinds of call.

use grpc_arena::Arena;

use super::{Outcome, Target, checks, same, same_bytes};
use crate::interop::{crc32, pattern};
use crate::testing::{Empty, Reply, Request, Summary};

checks! {
    empty_call,
    unary_echoes_every_size,
    unary_carries_a_message_of_exactly_4_mib,
    unary_makes_replies_of_the_size_asked_for,
    server_stream_keeps_order,
    client_stream_is_summed,
    bidi_answers_in_turn,
    bidi_reads_what_was_written_ahead,
    streams_without_a_message_end_with_ok,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

async fn empty_call(target: Target) -> Outcome {
    let arena = Arena::new();
    let reply = target.stub().empty_call(&Empty::default(), &arena).await?;
    same("reply", reply, Empty::default())
}

async fn unary_echoes_every_size(target: Target) -> Outcome {
    for size in [0, 1, 100, 10 * KIB, 16 * KIB - 5, 65535, 65536, 100 * KIB, MIB] {
        echo(&target, size).await?;
    }
    Ok(())
}

async fn unary_carries_a_message_of_exactly_4_mib(target: Target) -> Outcome {
    // One byte of tag, four of length.
    echo(&target, 4 * MIB - 5).await
}

async fn echo(target: &Target, size: usize) -> Outcome {
    let arena = Arena::new();
    let payload = pattern(size, 0);
    let reply = target.stub().unary(&Request { payload, ..Request::EMPTY }, &arena).await?;
    same_bytes("payload", reply.payload, payload)
}

async fn unary_makes_replies_of_the_size_asked_for(target: Target) -> Outcome {
    for size in [0, 1, 100, 100 * KIB, 4 * MIB - 5] {
        let arena = Arena::new();
        let request =
            Request { payload: b"not this", reply_size: Some(size as u32), ..Request::EMPTY };
        let reply = target.stub().unary(&request, &arena).await?;
        same_bytes("payload", reply.payload, pattern(size, 0))?;
    }
    Ok(())
}

async fn server_stream_keeps_order(target: Target) -> Outcome {
    for (count, size) in [(0, 0), (1, 10), (1000, 50), (30, 100 * KIB)] {
        let mut arena = Arena::new();
        let request =
            Request { reply_count: count, reply_size: Some(size as u32), ..Request::EMPTY };
        let mut replies = target.stub().server_stream(&request).await?;
        let mut index = 0;
        while let Some(reply) = replies.next(&mut arena).await? {
            same("index", reply.index, index)?;
            same_bytes("payload", reply.payload, pattern(size, index))?;
            index += 1;
        }
        same("replies", index, count)?;
    }
    Ok(())
}

async fn client_stream_is_summed(target: Target) -> Outcome {
    for (count, size) in [(0, 0), (1, 10), (1000, 50), (30, 100 * KIB)] {
        let arena = Arena::new();
        let mut requests = target.stub().client_stream().await?;
        let mut checksum = 0;
        for index in 0..count {
            let payload = pattern(size, index);
            checksum = crc32(checksum, payload);
            requests.send(&Request { payload, ..Request::EMPTY }).await?;
        }
        let summary = requests.finish(&arena).await?;
        let bytes = u64::from(count) * size as u64;
        same(
            "summary",
            summary,
            Summary { messages: count.into(), bytes, checksum, ..Summary::EMPTY },
        )?;
    }
    Ok(())
}

async fn bidi_answers_in_turn(target: Target) -> Outcome {
    let mut arena = Arena::new();
    let mut call = target.stub().bidi().await?;
    for turn in 0..100 {
        let payload = pattern(turn as usize * 50, turn);
        call.send(&Request { payload, reply_count: 1, ..Request::EMPTY }).await?;
        let reply = call.next(&mut arena).await?;
        same("reply", reply, Some(Reply { payload, index: turn, ..Reply::EMPTY }))?;
    }
    call.end();
    same("end", call.next(&mut arena).await?, None)
}

async fn bidi_reads_what_was_written_ahead(target: Target) -> Outcome {
    let mut arena = Arena::new();
    let (mut requests, mut replies) = target.stub().bidi().await?.split();
    let writing: grpc_service::LocalFuture<Outcome> = Box::pin(async move {
        for n in 0..200 {
            requests
                .send(&Request { reply_size: Some(n * 10), reply_count: n % 4, ..Request::EMPTY })
                .await?;
        }
        requests.end();
        Ok(())
    });
    let reading: grpc_service::LocalFuture<Outcome> = Box::pin(async move {
        let sizes = (0..200).flat_map(|n| (0..n % 4).map(move |_| n * 10));
        for (index, size) in (0..).zip(sizes) {
            let payload = pattern(size as usize, index);
            let reply = replies.next(&mut arena).await?;
            same("reply", reply, Some(Reply { payload, index, ..Reply::EMPTY }))?;
        }
        same("end", replies.next(&mut arena).await?, None)
    });
    target.gather(vec![writing, reading]).await
}

/// As `empty_stream` of the interoperability tests, and its like for a stream of requests alone.
async fn streams_without_a_message_end_with_ok(target: Target) -> Outcome {
    let mut arena = Arena::new();
    let timeout = std::time::Duration::from_secs(10);
    let mut call = target.stub().bidi().timeout(timeout).await?;
    call.end();
    same("bidi", call.next(&mut arena).await?, None)?;
    let requests = target.stub().client_stream().timeout(timeout).await?;
    same("client stream", requests.finish(&arena).await?, Summary::EMPTY)
}
