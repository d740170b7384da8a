//! A page in a browser calls gRPC methods: gRPC-Web, `/healthz` and the page itself on the port of a gRPC server.
//!
//! ```text
//! cd examples/web && npm ci && npm run build && cd ../..
//! cargo run --release --example web --features web -- 127.0.0.1:8080
//! ```
//!
//! Then open http://127.0.0.1:8080/. More arguments are origins whose pages may call too.

use std::error::Error;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use examples::countdown::{Countdown, StartRequest, Tick, register_countdown};
use examples::helloworld::{Greeter, HelloReply, HelloRequest, register_greeter};
use grpc_monoio::{WorkerOptions, Workers};
use grpc_service::{Cx, Sink, Status};
use grpc_web::{Cors, HttpResponse, Web};

struct Polite;

impl Greeter for Polite {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        if request.name.is_empty() {
            return Err(Status::invalid_argument("a name is needed: send one"));
        }
        let message = cx.arena().alloc_str(&format!("Hello, {}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

struct Counting;

impl Countdown for Counting {
    async fn start<'a>(
        &self,
        cx: &Cx<'a>,
        request: StartRequest<'a>,
        out: &mut Sink<'_, Tick<'static>>,
    ) -> Result<(), Status> {
        for left in (1..=request.from).rev() {
            out.send(&Tick { left, ..Tick::default() }).await?;
            cx.sleep(Duration::from_millis(request.step_ms.into())).await;
        }
        Ok(())
    }
}

/// A file of the page, read once.
fn file(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("web").join(name);
    std::fs::read(&path).unwrap_or_else(|error| {
        eprintln!("{}: {error}; run `npm ci && npm run build` there", path.display());
        Vec::new()
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned()).parse()?;
    let (page, script) = (file("index.html"), file("bundle.js"));
    let web = Web::new().cors(Cors::origins(arguments)).healthz(|| true).handler(move |request| {
        match request.path() {
            "/" => Some(HttpResponse::new(200, "text/html; charset=utf-8", page.clone())),
            "/bundle.js" => Some(HttpResponse::new(200, "text/javascript", script.clone())),
            _ => None,
        }
    });
    let workers = Workers::start(address, WorkerOptions::default().web(web), |router| {
        register_greeter(router, Rc::new(Polite));
        register_countdown(router, Rc::new(Counting));
    })?;
    println!("serving {}", workers.address());
    workers.wait();
    Ok(())
}
