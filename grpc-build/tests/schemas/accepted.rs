//! What protoc takes and readers of schemas often do not.

use std::path::Path;

use grpc_build::Config;

use crate::{Memory, compile, compile_text, files, folder};

/// Each has the descriptors that protoc makes: `tests/schemas/run.sh` asserts it.
#[test]
fn files_with_odd_corners_are_taken() {
    let accepted = files(&folder("accepted"));
    assert!(accepted.len() >= 15, "{} files", accepted.len());
    for (name, text) in accepted {
        if let Err(error) = compile(&[&name], &Memory::imported().with(&name, text)) {
            panic!("{error}");
        }
    }
}

#[test]
fn comments_that_are_not_utf8_are_kept_with_replacements() {
    let texts: [&[u8]; 4] = [
        b"syntax = \"proto3\";\n// Gr\xf6\xdfe\nmessage M { int32 n = 1; }\n",
        b"/* \xe9 */\n\nsyntax = \"proto3\";\nmessage M { int32 n = 1; }\n",
        b"syntax = \"proto3\";\nmessage M { int32 n = 1; // \x93quoted\x94\n}\n",
        b"\xef\xbb\xbf// \xa9\n\nsyntax = \"proto3\";\nmessage M { int32 n = 1; }\n",
    ];
    for text in texts {
        let set = compile_text(text).unwrap().descriptor_set;
        let replaced = set.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes());
        assert!(replaced, "{:?}", String::from_utf8_lossy(text));
    }
}

/// The same comments as protoc passes them on.
#[test]
fn comments_that_are_not_utf8_pass_in_descriptors_and_requests() {
    fn part(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }
    let location = [part(0x0a, &[4, 0]), part(0x12, &[1, 0, 9]), part(0x1a, b" Gr\xf6\xdfe\n")];
    let info = part(0x0a, &location.concat());
    let file = [
        part(0x0a, b"it.proto"),
        part(0x22, &part(0x0a, b"M")),
        part(0x4a, &info),
        part(0x62, b"proto3"),
    ];
    let out = std::env::temp_dir().join(format!("grpc-build-latin1-{}", std::process::id()));
    let set = part(0x0a, &file.concat());
    Config::new().out_dir(&out).compile_descriptor_set(&set).unwrap();
    let made = std::fs::read_to_string(out.join("_.rs")).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    assert!(made.contains("/// Gr\u{fffd}\u{fffd}e"), "{made}");

    let request = [part(0x0a, b"it.proto"), part(0x7a, &file.concat())].concat();
    let answer = grpc_build::run_plugin(&request).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("/// Gr\u{fffd}\u{fffd}e"));
}

#[test]
fn well_known_files_are_carried_and_apis_on_request() {
    let text = "syntax = \"proto3\"; import \"google/protobuf/any.proto\"; message M { google.protobuf.Any a = 1; }";
    compile_text(text).unwrap();
    let out = std::env::temp_dir().join(format!("grpc-build-apis-{}", std::process::id()));
    std::fs::create_dir_all(&out).unwrap();
    let proto = out.join("it.proto");
    let text = "syntax = \"proto3\";\nimport \"google/api/annotations.proto\";\nimport \"google/rpc/status.proto\";\n\
        message M { google.rpc.Status s = 1; }\n\
        service S { rpc Get(M) returns (M) { option (google.api.http) = { get: \"/v1\" }; } }\n";
    std::fs::write(&proto, text).unwrap();
    let compile = |carried| {
        let mut config = Config::new();
        config.out_dir(&out).google_apis(carried).compile_protos(&[&proto], &[&out])
    };
    compile(true).unwrap();
    let error = compile(false).unwrap_err();
    assert_eq!(error.line(), Some(2), "{error}");
    std::fs::remove_dir_all(&out).unwrap();
}

/// The inputs on which the library before this front end failed. They lie beside the repository and may be missing.
#[test]
fn the_inputs_that_failed_before_are_taken() {
    let faults = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/faults/schemas");
    let faults = std::env::var_os("SCHEMA_FAULTS").map_or(faults, Into::into);
    if !faults.is_dir() {
        eprintln!("skipped: {} is missing", faults.display());
        return;
    }
    let out = std::env::temp_dir().join(format!("grpc-build-faults-{}", std::process::id()));
    let mut taken = 0;
    let names =
        ["parser", "not-utf8", "aggext", "extrange", "optinf", "mapname", "doclink", "comments"];
    for name in names {
        let folder = faults.join(name);
        for (file, _) in files(&folder) {
            let mut config = Config::new();
            let result = config
                .out_dir(&out)
                .google_apis(true)
                .compile_protos(&[folder.join(&file)], &[&folder]);
            result.unwrap_or_else(|error| panic!("{error}"));
            taken += 1;
        }
    }
    assert!(taken > 20, "{taken}");
    let folder = faults.join("pkgscope");
    for order in [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"]] {
        let protos = order.map(|name| folder.join(format!("{name}.proto")));
        Config::new().out_dir(&out).compile_protos(&protos, &[&folder]).unwrap();
    }
    let late = faults.join("edition2026.proto");
    let error = Config::new().out_dir(&out).compile_protos(&[late], &[&faults]).unwrap_err();
    assert!(error.message().contains("write \"2023\" or \"2024\""), "{error}");
    std::fs::remove_dir_all(&out).unwrap();
}

#[test]
fn blank_lines_of_block_comments_stay() {
    let texts = [
        "/*\n  One.\n\n  Two.\n*/\nmessage M { int32 n = 1; }\n",
        "/* One.\r\n\r\n   Two. */\r\nmessage M { int32 n = 1; }\r\n",
        "/**\n * One.\n *\n * Two.\n */\nmessage M { int32 n = 1; }\n",
        "/* One.\n \t\n Two.*/\nmessage M { int32 n = 1; }\n",
        "message M {\n  int32 n = 1; /* One.\n\n  Two. */\n}\n",
    ];
    let folder = std::env::temp_dir().join(format!("grpc-build-blank-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let proto = folder.join("it.proto");
    for text in texts {
        std::fs::write(&proto, format!("syntax = \"proto3\";\n{text}")).unwrap();
        Config::new().out_dir(&folder).compile_protos(&[&proto], &[&folder]).unwrap();
        let made = std::fs::read_to_string(folder.join("_.rs")).unwrap();
        let lines = made.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        assert!(lines.contains("/// One.\n///\n/// Two.\n"), "{text:?}: {made}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
