//! Files of an edition.

use grpc_build::Config;

use crate::Folder;

#[test]
fn editions_that_are_known_are_read_without_protoc() {
    let folder = Folder::new("edition");
    for year in ["2023", "2024"] {
        let text = format!("edition = \"{year}\";\nmessage M {{\n  int32 n = 1;\n}}\n");
        let proto = folder.write("it.proto", &text);
        folder.compile(&mut Config::new(), &[&proto]).unwrap();
        assert!(folder.read("_.rs").contains("pub n: ::core::option::Option<i32>"));
    }
}

#[test]
fn an_edition_that_is_not_known_is_refused_with_those_that_are() {
    let folder = Folder::new("edition-unknown");
    let cases =
        [("edition = \"2026\";\nmessage M {}\n", 1), ("// Of late.\n\n  edition = \"2099\";\n", 3)];
    for (text, line) in cases {
        let proto = folder.write("it.proto", text);
        let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
        assert!(folder.blames(&error, "it.proto", line), "{error}");
        assert!(error.message().contains("write \"2023\" or \"2024\""), "{error}");
    }
}

#[test]
fn an_edition_that_is_not_known_is_reported_by_its_number() {
    let folder = Folder::new("unknown-edition");
    let compile = |edition: &[u8]| {
        let file = [&b"\x0a\x08it.proto\x62\x08editions"[..], edition].concat();
        let set = [&[0x0a, u8::try_from(file.len()).unwrap()], &file[..]].concat();
        Config::new().out_dir(folder.0.join("out")).compile_descriptor_set(&set)
    };
    compile(&[0x70, 0xe8, 0x07]).unwrap();
    let wrong: [(&[u8], &str); 3] = [
        (&[0x70, 0xeb, 0x07], "the edition with the number 1003"),
        (&[0x70, 0x01], "Edition1TestOnly"),
        (&[], "the syntax `editions` without an edition"),
    ];
    for (bytes, what) in wrong {
        let error = compile(bytes).unwrap_err();
        let text = format!("it.proto: {what} is not supported; proto2, proto3, 2023 and 2024 are");
        assert_eq!(error.to_string(), text);
    }
}
