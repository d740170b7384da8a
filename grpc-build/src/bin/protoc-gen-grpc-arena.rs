//! The plugin for `protoc`: `protoc --grpc-arena_out=OUT [--grpc-arena_opt=OPTION,..] FILE..`.
//!
//! Options: `include_file=NAME`, `extern_path=.proto.name=::rust::path`, `only=.proto.name`, `services=false`,
//! `clients=false`, `servers=false`, `keep_enum_prefixes=true`. `extern_path` and `only` may be given several times.

use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut request = Vec::new();
    let result = std::io::stdin()
        .read_to_end(&mut request)
        .map_err(|error| error.to_string())
        .and_then(|_| grpc_build::run_plugin(&request).map_err(|error| error.to_string()))
        .and_then(|response| {
            std::io::stdout().write_all(&response).map_err(|error| error.to_string())
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("protoc-gen-grpc-arena: {error}");
            ExitCode::FAILURE
        }
    }
}
