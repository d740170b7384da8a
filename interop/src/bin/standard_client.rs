//! Our clients of the standard services, against a server with health checks and the puppet.
//!
//! ```text
//! standard_client --server_port=10000 [--runtime=monoio|tokio]
//! ```

use std::process::ExitCode;
use std::time::Duration;

use grpc_service::{Arena, Code, LocalFuture};
use grpc_standard::errors::{Details, rpc};
use grpc_standard::health::{Checker, ServingStatus};
use interop::flags::Flags;
use interop::puppeteer::{FailRequest, PuppetClient, SetHealthRequest};
use interop::runtime::Server;

const PATIENCE: Duration = Duration::from_secs(20);

type Outcome = Result<(), String>;
type Case = fn(Server) -> LocalFuture<Outcome>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let flags = Flags::of_process(&["server_host", "server_port", "runtime"])?;
    let server = Server::of(&flags)?;
    let cases: [(&str, Case); 4] = [
        ("health_is_checked", |server| Box::pin(check(server))),
        ("health_is_watched", |server| Box::pin(watch(server))),
        ("errors_are_read", |server| Box::pin(errors(server))),
        ("errors_that_are_too_large_keep_their_code", |server| Box::pin(too_large(server))),
    ];
    let runtime = server.runtime();
    let all = async {
        let mut passed = true;
        for (name, case) in cases {
            match case(server.clone()).await {
                Ok(()) => println!("PASS {name}"),
                Err(why) => {
                    passed = false;
                    println!("FAIL {name}: {why}");
                }
            }
        }
        passed
    };
    runtime.run(all).map_err(|error| error.to_string())
}

/// Fails unless both are equal.
fn same<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{found:?} is not {expected:?}")) }
}

async fn check(server: Server) -> Outcome {
    let checker = Checker::new(server.channel()?);
    let known = checker.check("", PATIENCE).await.map_err(|error| error.code());
    same(&known, &Ok(ServingStatus::SERVING))?;
    let absent = checker.check("absent", PATIENCE).await.map_err(|error| error.code());
    same(&absent, &Err(Code::NotFound))
}

async fn watch(server: Server) -> Outcome {
    let channel = server.channel()?;
    // The server may have been asked before.
    let service = &format!("watched by {}", std::process::id());
    let watching = Checker::new(channel.clone()).watch(service).await;
    let mut watching = watching.map_err(|error| error.to_string())?;
    let puppet = PuppetClient::new(channel);
    let first = watching.next().await.map_err(|error| error.to_string())?;
    same(&first, &Some(ServingStatus::SERVICE_UNKNOWN))?;
    for (serving, status) in [
        (true, ServingStatus::SERVING),
        (false, ServingStatus::NOT_SERVING),
        (true, ServingStatus::SERVING),
    ] {
        let arena = Arena::new();
        let request = SetHealthRequest { service, serving, ..SetHealthRequest::EMPTY };
        let set = puppet.set_health(&request, &arena).timeout(PATIENCE).await;
        set.map_err(|error| error.to_string())?;
        let next = watching.next().await.map_err(|error| error.to_string())?;
        same(&next, &Some(status))?;
    }
    Ok(())
}

/// Lets the server fail; returns what the call ended with.
async fn fail(server: &Server, debug_bytes: i32) -> Result<grpc_service::Status, String> {
    let (puppet, arena) = (PuppetClient::new(server.channel()?), Arena::new());
    let violations = [("card.year", "has passed"), ("name", "must not be empty")];
    let violations = grpc_arena::codec::Map::collect_in(violations, &arena);
    let request = FailRequest {
        code: 3,
        message: "wrong: 100 %",
        violations,
        debug_bytes,
        ..FailRequest::EMPTY
    };
    match puppet.fail(&request, &arena).timeout(PATIENCE).await {
        Ok(_) => Err("the call succeeded".to_owned()),
        Err(error) => Ok(error.into_status()),
    }
}

async fn errors(server: Server) -> Outcome {
    let status = fail(&server, 3).await?;
    same(&(status.code(), status.message()), &(Code::InvalidArgument, "wrong: 100 %"))?;
    let details = Details::of(&status).map_err(|error| error.to_string())?;
    let bad = details.get::<rpc::BadRequest<'_>>().map_err(|error| error.to_string())?;
    let violations = bad.map_or(&[][..], |bad| bad.field_violations);
    let violations: Vec<_> = violations.iter().map(|it| (it.field, it.description)).collect();
    same(&violations, &vec![("card.year", "has passed"), ("name", "must not be empty")])?;
    let debug = details.get::<rpc::DebugInfo<'_>>().map_err(|error| error.to_string())?;
    same(&debug.map(|debug| debug.detail), &Some("xxx"))
}

/// A server may leave the details out, as ours does, or end the call with a status about them, as grpcio does.
async fn too_large(server: Server) -> Outcome {
    let status = fail(&server, 20_000).await?;
    let cut = status.code() == Code::InvalidArgument && status.details().is_empty();
    if cut || status.code() == Code::ResourceExhausted {
        return Ok(());
    }
    Err(format!("the call ended with {} {:?}", status.code(), status.message()))
}
