//! Generates the services of the interop tests, and the puppet of the standard services.

fn main() -> Result<(), grpc_build::Error> {
    grpc_build::Config::new()
        .compile_protos(&["proto/grpc/testing/test.proto", "proto/puppet.proto"], &["proto"])
}
