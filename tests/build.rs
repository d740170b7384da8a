//! Generates the messages and stubs that the tests share.

fn main() -> Result<(), grpc_build::Error> {
    grpc_build::compile_protos(&["proto/interop.proto", "proto/bytes.proto"], &["proto"])?;
    messages()?;
    names()
}

/// Names that could collide with each other or with what is generated for all.
fn names() -> Result<(), grpc_build::Error> {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // The others are imported.
    let protos = ["names", "old"].map(|name| format!("proto/names/{name}.proto"));
    grpc_build::Config::new()
        .out_dir(out.join("names"))
        .include_file("all.rs")
        .compile_protos(&protos, &["proto"])
}

/// The messages that show what proto2, proto3 and editions can say, in a folder of their own.
fn messages() -> Result<(), grpc_build::Error> {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let protos = ["edition", "edition24", "set", "three", "two"];
    let protos = protos.map(|name| format!("proto/messages/{name}.proto"));
    grpc_build::Config::new()
        .out_dir(out.join("messages"))
        .include_file("all.rs")
        .attribute(".messages.three.Login.unknown", "#[doc(alias = \"unknown fields of a login\")]")
        .attribute(".messages.three.Color", "#[allow(clippy::derived_hash_with_manual_eq)]")
        .compile_protos(&protos, &["proto"])?;
    // From descriptors that include those of `google.protobuf`.
    let set = out.join("options.bin");
    grpc_build::Config::new()
        .out_dir(out.join("from-file"))
        .file_descriptor_set(&set)
        .compile_protos(&["proto/messages/options.proto"], &["proto"])?;
    let set = std::fs::read(set).expect("descriptors");
    grpc_build::Config::new().out_dir(out.join("from-set")).compile_descriptor_set(&set)
}
