//! Generates the examples' messages, handler traits and stubs.

fn main() -> Result<(), grpc_build::Error> {
    let protos = ["proto/helloworld.proto", "proto/route_guide.proto", "proto/countdown.proto"];
    grpc_build::compile_protos(&protos, &["proto"])?;
    // For the example without a runtime: only messages, which need only `grpc-arena`.
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    grpc_build::Config::new()
        .services(false)
        .out_dir(out.join("messages"))
        .compile_protos(&["proto/helloworld.proto"], &["proto"])
}
