//! Generates the messages that the decoder is held against prost with, and the service that hostile peers speak to.

fn main() -> Result<(), grpc_build::Error> {
    grpc_build::compile_protos(&["proto/message.proto", "proto/service.proto"], &["proto"])
}
