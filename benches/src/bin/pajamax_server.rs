//! Echo over pajamax, which serves each connection in a thread of its own: `pajamax-server ADDRESS`.

// The generated code says `::prost` and means the version that pajamax was written against.
extern crate prost_013 as prost;

// For its allocator, which all servers share.
use benches as _;
use pajamax::Response;

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod echo {
    include!(concat!(env!("OUT_DIR"), "/pajamax/bench.rs"));
}

struct Echo;

impl echo::Echo for Echo {
    fn unary(&self, request: echo::Payload) -> Response<echo::Payload> {
        Ok(request)
    }
}

fn main() {
    let address = std::env::args().nth(1).expect("an address to listen on");
    pajamax::Config::new()
        .add_service(echo::EchoServer::new(Echo))
        .serve(address)
        .expect("the address is free");
}
