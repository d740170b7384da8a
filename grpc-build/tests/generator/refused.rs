//! Schemas that grammar and names let pass, and that the rules of proto3 refuse.

use grpc_build::Config;

use crate::Folder;

const SHUT: &str = "syntax = \"proto2\";\npackage two;\nenum Shut { ZERO = 0; }\nmessage M { extensions 4 to 9; }\n";

#[test]
fn messages_of_proto3_hold_open_enums_only() {
    let folder = Folder::new("closed");
    folder.write("two.proto", SHUT);
    let head = "syntax = \"proto3\";\nimport \"two.proto\";\n";
    let uses = [
        "message A {\n  two.Shut shut = 1;\n}\n",
        "message A {\n  optional two.Shut shut = 1;\n}\n",
        "message A {\n  repeated two.Shut shut = 1;\n}\n",
        "message A {\n  map<int32, two.Shut> shut = 1;\n}\n",
        "message A { oneof o {\n  two.Shut shut = 1;\n} }\n",
    ];
    for text in uses {
        let proto = folder.write("three.proto", &format!("{head}{text}"));
        let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
        assert!(folder.blames(&error, "three.proto", 4), "{error}");
        assert!(error.message().contains("open ones only"), "{error}");
    }
}

#[test]
fn proto3_has_no_message_sets() {
    let folder = Folder::new("set-of-proto3");
    let text =
        "syntax = \"proto3\";\n\nmessage Set {\n  option message_set_wire_format = true;\n}\n";
    let proto = folder.write("set.proto", text);
    let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
    assert!(folder.blames(&error, "set.proto", 4), "{error}");
    assert!(error.message().starts_with("proto3 has no MessageSets"), "{error}");
}
