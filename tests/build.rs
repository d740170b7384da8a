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

/// The messages that show what the three syntaxes can say, in a folder of their own.
fn messages() -> Result<(), grpc_build::Error> {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let protos = ["proto/messages/three.proto", "proto/messages/two.proto"];
    grpc_build::Config::new()
        .out_dir(out.join("messages"))
        .include_file("all.rs")
        .attribute(".messages.three.Login.unknown", "#[doc(alias = \"unknown fields of a login\")]")
        .attribute(".messages.three.Color", "#[allow(clippy::derived_hash_with_manual_eq)]")
        .compile_protos(&protos, &["proto"])?;
    // The built-in parser stops at proto3 and at the numbers of fields, descriptors do not. `protoc -I. -o
    // messages/edition.binpb messages/edition.proto`, and likewise the others; what 2024 imports for options alone is
    // left out on purpose.
    for name in ["edition", "edition24", "set"] {
        let file = format!("proto/messages/{name}.binpb");
        println!("cargo:rerun-if-changed={file}");
        let set = std::fs::read(file).expect("descriptors");
        grpc_build::Config::new().out_dir(out.join("edition")).compile_descriptor_set(&set)?;
    }
    // From descriptors that include those of `google.protobuf`.
    let set = out.join("options.bin");
    grpc_build::Config::new()
        .out_dir(out.join("from-file"))
        .file_descriptor_set(&set)
        .compile_protos(&["proto/messages/options.proto"], &["proto"])?;
    let set = std::fs::read(set).expect("descriptors");
    grpc_build::Config::new().out_dir(out.join("from-set")).compile_descriptor_set(&set)
}
