//! Generates the messages and stubs that the tests share.

fn main() -> Result<(), grpc_build::Error> {
    grpc_build::compile_protos(&["proto/interop.proto"], &["proto"])
}
