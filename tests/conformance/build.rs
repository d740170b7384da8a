use std::path::Path;

fn main() -> Result<(), grpc_build::Error> {
    // run.sh installs the suite's files. The front end reads them, editions included, and carries the well-known files.
    let suite = std::env::var("CONFORMANCE_PROTOS")
        .expect("CONFORMANCE_PROTOS is not set; start run.sh instead");
    println!("cargo:rerun-if-env-changed=CONFORMANCE_PROTOS");
    let protos = [
        "conformance/conformance.proto",
        "google/protobuf/test_messages_proto2.proto",
        "google/protobuf/test_messages_proto3.proto",
        "google/protobuf/test_messages_edition2023.proto",
        "google/protobuf/test_messages_proto2_editions.proto",
        "google/protobuf/test_messages_proto3_editions.proto",
    ];
    let protos = protos.map(|name| Path::new(&suite).join(name));
    grpc_build::Config::new().include_file("all.rs").compile_protos(&protos, &[suite])
}
