//! Files of an edition, where they cannot be read.

use grpc_build::Config;

use crate::Folder;

#[test]
fn whoever_compiles_a_file_of_an_edition_without_protoc_is_told_to_take_it() {
    let folder = Folder::new("edition");
    let hint =
        "the built-in parser reads proto2 and proto3; for an edition set PROTOC or Config::protoc";
    let cases = [
        ("edition = \"2023\";\nmessage M {}\n", 1, true),
        ("// Of late.\n\n  edition = \"2024\";\n", 3, true),
        ("editor = \"2023\";\n", 1, false),
        ("syntax = \"proto3\";\nmessage M {\n  int32 edition = ;\n}\n", 3, false),
    ];
    for (text, line, hinted) in cases {
        let proto = folder.write("it.proto", text);
        let error = folder.compile(&mut Config::new(), &[&proto]).unwrap_err();
        assert_eq!((error.file(), error.line()), (Some("it.proto"), Some(line)), "{error}");
        assert_eq!(error.message().ends_with(hint), hinted, "{error}");
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
