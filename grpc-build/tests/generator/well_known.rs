//! What stands for the types of `google.protobuf`.

use std::path::Path;

use grpc_build::Config;

use crate::Folder;

const OPTIONS: &str = "syntax = \"proto3\";\nimport \"google/protobuf/descriptor.proto\";\n\
    extend google.protobuf.FieldOptions { optional bool sensitive = 50001; }\n\
    message A {\n  string name = 1 [(sensitive) = true];\n\
    extend google.protobuf.MessageOptions { A audit = 50002; }\n}\n";

#[test]
fn options_of_ones_own_are_no_code() {
    let folder = Folder::new("options");
    let proto = folder.write("options.proto", OPTIONS);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    assert!(made.contains("pub struct A<'a>"), "{made}");
    assert!(!made.contains("Options") && !made.contains("mod a "), "{made}");
}

#[test]
fn options_extend_descriptor_types_that_there_are() {
    let folder = Folder::new("extended-options");
    let proto = folder.write("options.proto", OPTIONS);
    folder
        .compile(Config::new().extern_path(".google.protobuf", "::descriptors"), &[&proto])
        .unwrap();
    let made = folder.read("_.rs");
    assert!(made.contains("message: &::descriptors::FieldOptions<'a>"), "{made}");
    assert!(made.contains("message: &::descriptors::MessageOptions<'a>"), "{made}");

    let descriptor = Path::new("google/protobuf/descriptor.proto");
    folder.compile(&mut Config::new(), &[&proto, descriptor]).unwrap();
    let made = folder.read("_.rs");
    assert!(made.contains("message: &google::protobuf::FieldOptions<'a>"), "{made}");
    assert!(folder.read("google.protobuf.rs").contains("pub struct FieldOptions<'a>"));
}

#[test]
fn a_type_that_is_not_well_known_is_reported_where_it_is_used() {
    let folder = Folder::new("not-well-known");
    let import = "syntax = \"proto3\";\nimport \"google/protobuf/descriptor.proto\";\n";
    let uses = [
        "message A {\n  google.protobuf.FileDescriptorProto file = 1;\n}\n",
        "message A {\n  map<int32, google.protobuf.FieldDescriptorProto> fields = 1;\n}\n",
        "message A {} service S {\n  rpc Get(A) returns (google.protobuf.FileDescriptorSet);\n}\n",
    ];
    for text in uses {
        let proto = folder.write("uses.proto", &format!("{import}{text}"));
        let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
        assert!(folder.blames(&error, "uses.proto", 4), "{error}");
        assert!(error.message().contains("extern_path"), "{error}");
    }
}

/// A schema with well-known types, compiled from its file and again from its descriptors, imports included.
fn from_file_and_from_descriptors(name: &str, text: &str) -> (Folder, String) {
    let folder = Folder::new(name);
    let proto = folder.write("it.proto", text);
    let set = folder.0.join("it.bin");
    folder.compile(Config::new().file_descriptor_set(&set), &[&proto]).unwrap();
    let from_file = folder.read("it.rs");
    std::fs::remove_dir_all(folder.0.join("out")).unwrap();
    let set = std::fs::read(set).unwrap();
    Config::new().out_dir(folder.0.join("out")).compile_descriptor_set(&set).unwrap();
    (folder, from_file)
}

#[test]
fn a_descriptor_set_that_includes_well_known_types_refers_to_those_that_there_are() {
    let text = "syntax = \"proto3\";\npackage it;\nimport \"google/protobuf/timestamp.proto\";\n\
        import \"google/protobuf/type.proto\";\nimport \"google/protobuf/descriptor.proto\";\n\
        extend google.protobuf.FieldOptions { optional bool sensitive = 50001; }\n\
        message M { google.protobuf.Timestamp at = 1; google.protobuf.Field.Kind kind = 2; }\n";
    let (folder, from_file) = from_file_and_from_descriptors("set-well-known", text);
    let made = folder.read("it.rs");
    assert!(made.contains("::grpc_arena::wkt::Timestamp<'a>"), "{made}");
    assert!(made.contains("::grpc_arena::wkt::field::Kind"), "{made}");
    assert!(made == from_file);
    assert!(!folder.0.join("out/google.protobuf.rs").exists());
}

#[test]
fn whoever_compiles_one_well_known_file_gets_its_types_and_refers_to_the_others() {
    let folder = Folder::new("own-timestamp");
    let text = "syntax = \"proto3\";\npackage it;\nimport \"google/protobuf/timestamp.proto\";\n\
        import \"google/protobuf/duration.proto\";\n\
        message M { google.protobuf.Timestamp at = 1; google.protobuf.Duration lasting = 2; }\n";
    let proto = folder.write("it.proto", text);
    let timestamp = Path::new("google/protobuf/timestamp.proto");
    folder.compile(&mut Config::new(), &[&proto, timestamp]).unwrap();
    let made = folder.read("it.rs");
    assert!(made.contains("super::google::protobuf::Timestamp<'a>"), "{made}");
    assert!(made.contains("::grpc_arena::wkt::Duration<'a>"), "{made}");
    assert!(folder.read("google.protobuf.rs").contains("pub struct Timestamp<'a>"));
}
