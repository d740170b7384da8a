//! Generates the messages and stubs of the standard services.

use std::path::PathBuf;

use grpc_build::Config;

fn main() -> Result<(), grpc_build::Error> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    Config::new().compile_protos(
        &["proto/grpc/health/v1/health.proto", "proto/grpc/reflection/v1/reflection.proto"],
        &["proto"],
    )?;
    Config::new().services(false).compile_protos(&["proto/index.proto"], &["proto"])?;
    Config::new().google_apis(true).compile_protos(
        &["google/rpc/status.proto", "google/rpc/error_details.proto"],
        &["proto"],
    )?;
    // Its messages are those of v1: only the descriptors are needed.
    Config::new()
        .out_dir(out.join("v1alpha"))
        .compile_protos(&["proto/grpc/reflection/v1alpha/reflection.proto"], &["proto"])
}
