//! A server that forgives few pings, and a client whose keepalive comes each ten seconds.

use std::time::Duration;

use grpc_arena::Arena;
use grpc_proto::Code;

use super::{Outcome, Target, Wrong, checks, fails_as};
use crate::testing::Request;

checks! { a_keepalive_that_is_too_eager_loses_its_connection }

async fn a_keepalive_that_is_too_eager_loses_its_connection(target: Target) -> Outcome {
    let (arena, started) = (Arena::new(), target.host.now());
    let request = Request { delay_ns: 90_000_000_000, ..Request::EMPTY };
    let outcome = target.stub().unary(&request, &arena).await;
    let text = outcome.as_ref().err().map(|status| status.message().to_owned());
    fails_as("sent away", outcome, Code::Unavailable)?;
    let took = target.host.now() - started;
    if !(Duration::from_secs(15)..Duration::from_secs(60)).contains(&took) {
        return Err(Wrong(format!("pings each 10 s were too many after {took:?}")));
    }
    println!("   sent away after {took:?}: {}", text.unwrap_or_default());
    Ok(())
}
