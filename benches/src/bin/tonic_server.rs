//! Echo over tonic on one current-thread runtime: `tonic-server ADDRESS`.

use benches::peers::tonic_echo as echo;
use tonic::{Request, Response, Status, transport::Server};

struct Echo;

#[tonic::async_trait]
impl echo::echo_server::Echo for Echo {
    async fn unary(
        &self,
        request: Request<echo::Payload>,
    ) -> Result<Response<echo::Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

fn main() {
    let address = std::env::args()
        .nth(1)
        .and_then(|address| address.parse().ok())
        .expect("an address to listen on");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let service = echo::echo_server::EchoServer::new(Echo);
    runtime
        .block_on(Server::builder().add_service(service).serve(address))
        .expect("the address is free");
}
