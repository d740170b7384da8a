use std::path::Path;

fn main() -> Result<(), grpc_build::Error> {
    // Both are installed by run.sh, the suite's own files and those that `protoc` brings along.
    let env = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; start run.sh instead"))
    };
    let (suite, library) = (env("CONFORMANCE_PROTOS"), env("PROTOBUF_INCLUDE"));
    println!("cargo:rerun-if-env-changed=CONFORMANCE_PROTOS");
    println!("cargo:rerun-if-env-changed=PROTOBUF_INCLUDE");
    let protos = [
        "conformance/conformance.proto",
        "google/protobuf/test_messages_proto2.proto",
        "google/protobuf/test_messages_proto3.proto",
        "google/protobuf/test_messages_edition2023.proto",
        "google/protobuf/test_messages_proto2_editions.proto",
        "google/protobuf/test_messages_proto3_editions.proto",
    ];
    let protos = protos.map(|name| Path::new(&suite).join(name));
    grpc_build::Config::new().include_file("all.rs").compile_protos(&protos, &[suite, library])
}
