//! Echo over tonic and tonic-web on one current-thread runtime: `tonic-web-server ADDRESS`.

use benches::peers::tonic::web_server;

fn main() {
    let address = std::env::args()
        .nth(1)
        .and_then(|address| address.parse().ok())
        .expect("an address to listen on");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(web_server().serve(address)).expect("the address is free");
}
