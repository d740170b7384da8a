//! Generates the service that the worlds of services run.

fn main() -> Result<(), grpc_build::Error> {
    grpc_build::compile_protos(&["proto/world.proto"], &["proto"])
}
