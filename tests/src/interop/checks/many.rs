//! Many calls at once.

use grpc_arena::Arena;
use grpc_proto::{Code, Metadata};
use grpc_service::{LocalFuture, ResponseMetadata};

use super::statuses::MESSAGES;
use super::{Outcome, Target, append, append_bin, checks, fails_with, reflected, same, same_bytes};
use crate::interop::{INITIAL, TRAILING, crc32, pattern};
use crate::testing::{Empty, Failure, Reply, Request, Summary};

checks! {
    sixty_four_in_flight_of_every_size,
    ten_thousand_mixed_calls_at_once,
}

async fn sixty_four_in_flight_of_every_size(target: Target) -> Outcome {
    for (size, rounds) in [(0, 8), (100, 8), (10 << 10, 8), (100 << 10, 4), ((4 << 20) - 5, 1)] {
        let calls = |target: Target| async move {
            let mut arena = Arena::new();
            for _ in 0..rounds {
                arena.reset();
                let payload = pattern(size, 0);
                let reply =
                    target.stub().unary(&Request { payload, ..Request::EMPTY }, &arena).await?;
                same_bytes("payload", reply.payload, payload)?;
            }
            Ok(())
        };
        let tasks =
            (0..64).map(|_| -> LocalFuture<Outcome> { Box::pin(calls(target.clone())) }).collect();
        target.gather(tasks).await?;
    }
    Ok(())
}

async fn ten_thousand_mixed_calls_at_once(target: Target) -> Outcome {
    // A stride that is prime to the number visits all, and mixes the kinds.
    let numbers = (0..10_000_u32).map(|i| i * 7919 % 10_000);
    target.gather(numbers.map(|n| mixed(target.clone(), n)).collect()).await
}

fn mixed(target: Target, n: u32) -> LocalFuture<Outcome> {
    match n % 10 {
        0..=2 => Box::pin(unary(target, n)),
        3 => Box::pin(empty(target)),
        4 => Box::pin(server_stream(target, n)),
        5 => Box::pin(client_stream(target, n)),
        6 => Box::pin(bidi(target, n)),
        7 => Box::pin(failing(target, n)),
        8 => Box::pin(with_metadata(target, n)),
        _ => Box::pin(streaming_failure(target, n)),
    }
}

async fn unary(target: Target, n: u32) -> Outcome {
    let arena = Arena::new();
    let payload = pattern(n as usize % 1500, n);
    let request = Request { payload, delay_ns: u64::from(n % 3) * 1_000_000, ..Request::EMPTY };
    let reply = target.stub().unary(&request, &arena).await?;
    same_bytes("payload", reply.payload, payload)
}

async fn empty(target: Target) -> Outcome {
    let arena = Arena::new();
    same("reply", target.stub().empty_call(&Empty::default(), &arena).await?, Empty::default())
}

async fn server_stream(target: Target, n: u32) -> Outcome {
    let mut arena = Arena::new();
    let size = n % 700;
    let request = Request { reply_count: n % 8, reply_size: Some(size), ..Request::EMPTY };
    let mut replies = target.stub().server_stream(&request).await?;
    for index in 0..n % 8 {
        let payload = pattern(size as usize, index);
        same(
            "reply",
            replies.next(&mut arena).await?,
            Some(Reply { payload, index, ..Reply::EMPTY }),
        )?;
    }
    same("end", replies.next(&mut arena).await?, None)
}

async fn client_stream(target: Target, n: u32) -> Outcome {
    let arena = Arena::new();
    let size = n as usize % 900;
    let mut requests = target.stub().client_stream().await?;
    let mut checksum = 0;
    for index in 0..n % 7 {
        let payload = pattern(size, index);
        checksum = crc32(checksum, payload);
        requests.send(&Request { payload, ..Request::EMPTY }).await?;
    }
    let summary = requests.finish(&arena).await?;
    let messages = u64::from(n % 7);
    same(
        "summary",
        summary,
        Summary { messages, bytes: messages * size as u64, checksum, ..Summary::EMPTY },
    )
}

async fn bidi(target: Target, n: u32) -> Outcome {
    let mut arena = Arena::new();
    let mut call = target.stub().bidi().await?;
    for turn in 0..1 + n % 3 {
        let payload = pattern(n as usize % 600, turn);
        call.send(&Request { payload, reply_count: 1, ..Request::EMPTY }).await?;
        let reply = call.next(&mut arena).await?;
        same("reply", reply, Some(Reply { payload, index: turn, ..Reply::EMPTY }))?;
    }
    call.end();
    same("end", call.next(&mut arena).await?, None)
}

async fn failing(target: Target, n: u32) -> Outcome {
    let arena = Arena::new();
    let code = Code::ALL[1 + n as usize / 10 % 16];
    let message = format!("{} №{n}", MESSAGES[n as usize / 10 % MESSAGES.len()]);
    let failure = Failure { code: code.number().into(), message: &message, ..Failure::EMPTY };
    let request = Request { failure: Some(&failure), ..Request::EMPTY };
    fails_with("unary", target.stub().unary(&request, &arena).await, code, &message)
}

async fn with_metadata(target: Target, n: u32) -> Outcome {
    let arena = Arena::new();
    let mut sent = Metadata::new();
    append(&mut sent, INITIAL, "n", &n.to_string());
    append(&mut sent, INITIAL, "n", "again");
    append_bin(&mut sent, TRAILING, "n-bin", &n.to_be_bytes());
    let mut response = ResponseMetadata::default();
    let request = Request { reply_size: Some(n % 100), ..Request::EMPTY };
    let reply =
        target.stub().unary(&request, &arena).metadata(&sent).response(&mut response).await?;
    same_bytes("payload", reply.payload, pattern(n as usize % 100, 0))?;
    reflected(target.of, INITIAL, &sent, &response.headers)?;
    reflected(target.of, TRAILING, &sent, &response.trailers)
}

async fn streaming_failure(target: Target, n: u32) -> Outcome {
    let mut arena = Arena::new();
    let message = format!("№{n}");
    let failure = Failure { code: 10, message: &message, ..Failure::EMPTY };
    let request =
        Request { reply_count: 2, reply_size: Some(20), failure: Some(&failure), ..Request::EMPTY };
    let mut replies = target.stub().server_stream(&request).await?;
    for index in 0..2 {
        let payload = pattern(20, index);
        same(
            "reply",
            replies.next(&mut arena).await?,
            Some(Reply { payload, index, ..Reply::EMPTY }),
        )?;
    }
    fails_with("stream", replies.next(&mut arena).await, Code::Aborted, &message)
}
