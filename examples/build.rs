//! Generates the examples' messages, handler traits and stubs.

fn main() -> Result<(), grpc_build::Error> {
    grpc_build::compile_protos(&["proto/helloworld.proto", "proto/route_guide.proto"], &["proto"])
}
