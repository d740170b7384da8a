//! Generates the messages and stubs of the standard services.

use grpc_build::Config;

fn main() -> Result<(), grpc_build::Error> {
    Config::new().compile_protos(&["proto/grpc/health/v1/health.proto"], &["proto"])
}
