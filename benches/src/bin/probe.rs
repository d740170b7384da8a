//! A client without a runtime: `probe ADDRESS`, which reads commands from its standard input.

fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .and_then(|address| address.parse().ok())
        .expect("the address of a server");
    benches::probe::obey(address)
}
