//! A server as operators want it: health checks, reflection, metrics on a page for Prometheus, errors with details.
//!
//! ```text
//! cargo run --example standard                          calls itself, and prints what the page says
//! cargo run --example standard -- serve 127.0.0.1:50051 127.0.0.1:9090
//! grpcurl -plaintext 127.0.0.1:50051 list               and `curl 127.0.0.1:9090` for the page
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use examples::helloworld::{
    self, Greeter, GreeterClient, HelloReply, HelloRequest, register_greeter,
};
use grpc_monoio::{WorkerOptions, Workers, block_on, connect};
use grpc_service::{Arena, Code, Cx, Status};
use grpc_standard::errors::{Details, ErrorDetails, rpc::BadRequest};
use grpc_standard::health::{self, Checker, HealthReporter};
use grpc_standard::metrics::Metrics;
use grpc_standard::reflection::{self, Registry};

struct Polite;

impl Greeter for Polite {
    async fn say_hello<'a>(
        &self,
        cx: &Cx<'a>,
        request: HelloRequest<'a>,
    ) -> Result<HelloReply<'a>, Status> {
        if request.name.is_empty() {
            let wrong = ErrorDetails::new().bad_request(&[("name", "must not be empty")]);
            return Err(wrong.status(Code::InvalidArgument, "the name is empty"));
        }
        let message = cx.arena().alloc_str(&format!("Hello, {}!", request.name));
        Ok(HelloReply { message, ..HelloReply::default() })
    }
}

/// Serves on `address`, and the page on `page`.
fn serve(address: &str, page: TcpListener) -> Result<Workers, Box<dyn Error>> {
    let (metrics, reporter) = (Metrics::new(), HealthReporter::new());
    let sets = [helloworld::FILE_DESCRIPTOR_SET, health::v1::FILE_DESCRIPTOR_SET];
    let registry = Registry::new(sets)?;
    let (counted, shared) = (metrics.clone(), reporter.clone());
    let workers = Workers::start(address.parse()?, WorkerOptions::default(), move |router| {
        register_greeter(&mut router.around_all(counted.server()), Rc::new(Polite));
        health::register(router, &shared);
        reflection::register(router, &registry);
    })?;
    reporter.set_serving("helloworld.Greeter");
    std::thread::spawn(move || {
        for stream in page.incoming().flatten() {
            // One that asks for the page and goes away is nobody's loss.
            let _ = answer(stream, &metrics.prometheus());
        }
    });
    Ok(workers)
}

/// Answers one request of HTTP/1.1, whatever it asks for, with the page.
fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    )
}

/// Calls the server, and asks for its health.
async fn call(address: &str) -> Result<(), Box<dyn Error>> {
    let channel = connect(format!("http://{address}")).await?;
    let checker = Checker::new(channel.clone());
    println!("health: {:?}", checker.check("helloworld.Greeter", Duration::from_secs(5)).await?);
    let (greeter, arena) = (GreeterClient::new(channel), Arena::new());
    let request = HelloRequest { name: "operators", ..HelloRequest::default() };
    println!("{}", greeter.say_hello(&request, &arena).await?.message);
    let request = HelloRequest::default();
    let error = greeter.say_hello(&request, &arena).await.err().ok_or("it should fail")?;
    let details = Details::of(error.status())?;
    for wrong in details.get::<BadRequest<'_>>()?.map_or(&[][..], |bad| bad.field_violations) {
        println!("{}: {} {}", error.code(), wrong.field, wrong.description);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address, page] => {
            serve(address, TcpListener::bind(page)?)?.wait();
            Ok(())
        }
        [] => {
            let page = TcpListener::bind("127.0.0.1:0")?;
            let page_address = page.local_addr()?;
            let workers = serve("127.0.0.1:0", page)?;
            block_on(call(&workers.address().to_string()))??;
            let mut stream = TcpStream::connect(page_address)?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            for line in text.lines().filter(|line| line.contains("started_total{")) {
                println!("{line}");
            }
            workers.stop(Duration::from_secs(1));
            Ok(())
        }
        _ => Err("usage: standard | standard serve ADDRESS PAGE_ADDRESS".into()),
    }
}
