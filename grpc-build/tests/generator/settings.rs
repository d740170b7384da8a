//! What a configuration changes.

use grpc_build::Config;

use crate::Folder;

/// The types that have the attribute, in the order of the file.
fn marked(made: &str) -> Vec<&str> {
    let items = made.split("#[must_use]").skip(1);
    let names = items.map(|rest| {
        let start = ["pub struct ", "pub enum "].iter().filter_map(|item| rest.find(item)).min();
        let name = rest[start.unwrap()..].split(' ').nth(2).unwrap();
        name.split(['<', '(']).next().unwrap()
    });
    names.collect()
}

#[test]
fn an_attribute_is_for_exactly_what_is_named_or_for_all_types_of_a_package() {
    let folder = Folder::new("attributes");
    let inner = "syntax = \"proto2\";\npackage a.b;\nmessage Other {}\n";
    let inner = folder.write("inner.proto", inner);
    let text = "syntax = \"proto2\";\npackage a;\n\
        message Person { message phone {} oneof contact { int32 n = 1; } extensions 4 to 9; }\n\
        message lower {}\nenum Kind { ONE = 1; }\nextend Person { optional int32 rating = 4; }\n";
    let outer = folder.write("outer.proto", text);
    let compile = |name: &str| {
        let mut config = Config::new();
        folder.compile(config.attribute(name, "#[must_use]"), &[&inner, &outer]).unwrap();
        (folder.read("a.rs"), folder.read("a.b.rs"))
    };
    let (a, b) = compile(".a.Person");
    assert_eq!((marked(&a), marked(&b)), (vec!["Person"], vec![]));
    let (a, b) = compile(".a.lower");
    assert_eq!((marked(&a), marked(&b)), (vec!["Lower"], vec![]));
    let all = vec!["Person", "Contact", "Phone", "Lower", "Kind", "Rating"];
    let (a, b) = compile(".a");
    assert_eq!((marked(&a), marked(&b)), (all.clone(), vec![]));
    let (a, b) = compile(".");
    assert_eq!((marked(&a), marked(&b)), (all, vec!["Other"]));
}

#[test]
fn what_lies_in_an_external_message_lies_in_its_module() {
    let folder = Folder::new("extern-nested");
    let text = "syntax = \"proto3\";\npackage common.x;\n\
        message Money { message Unit { enum Kind { A = 0; } } }\n";
    folder.write("common.proto", text);
    let text = "syntax = \"proto3\";\npackage shop;\nimport \"common.proto\";\n\
        message Cart { common.x.Money all = 1; common.x.Money.Unit unit = 2; \
        common.x.Money.Unit.Kind kind = 3; }\n";
    let proto = folder.write("shop.proto", text);
    let places = [
        // The path of a type may be one by hand; that of a package is for generated code, which has these names.
        (".common.x.Money", "::prices::OldMoney", "OldMoney", "old_money", "unit"),
        (".common.x", "::prices", "Money", "__in_Money", "__in_Unit"),
        (".common", "::prices", "x::Money", "x::__in_Money", "__in_Unit"),
    ];
    for (name, path, message, module, inner) in places {
        folder.compile(Config::new().extern_path(name, path), &[&proto]).unwrap();
        let made = folder.read("shop.rs");
        assert!(made.contains(&format!("&'a ::prices::{message}<'a>")), "{made}");
        assert!(made.contains(&format!("&'a ::prices::{module}::Unit<'a>")), "{made}");
        assert!(made.contains(&format!("pub kind: ::prices::{module}::{inner}::Kind,")), "{made}");
    }
}

#[test]
fn messages_with_a_type_of_a_given_path_derive_neither_eq_nor_hash() {
    let folder = Folder::new("extern-eq");
    let import = "syntax = \"proto3\";\npackage a;\nimport \"google/protobuf/timestamp.proto\";\n";
    let text = "message M { google.protobuf.Timestamp at = 1; }\nmessage Around { M m = 1; }\n\
        message Beside { oneof it { google.protobuf.Timestamp at = 1; } }\n";
    let proto = folder.write("a.proto", &format!("{import}{text}"));
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    assert_eq!(folder.read("a.rs").matches("PartialEq, Eq, Hash").count(), 4);
    for name in [".google.protobuf", ".google.protobuf.Timestamp"] {
        folder.compile(Config::new().extern_path(name, "::other"), &[&proto]).unwrap();
        let made = folder.read("a.rs");
        assert!(made.contains("PartialEq") && !made.contains("Eq, Hash"), "{name}: {made}");
    }
}

#[test]
fn without_services_there_are_messages_alone() {
    let folder = Folder::new("without-services");
    let text = "syntax = \"proto3\";\nmessage M {}\nservice S { rpc Get(M) returns (M); }\n";
    let proto = folder.write("it.proto", text);
    folder.compile(Config::new().services(false), &[&proto]).unwrap();
    let made = folder.read("_.rs");
    assert!(made.contains("pub struct M<'a>") && !made.contains("grpc_service"), "{made}");
    folder.compile(Config::new().services(true), &[&proto]).unwrap();
    assert!(folder.read("_.rs").contains("pub struct SClient"));
}

#[test]
fn a_member_of_a_oneof_takes_attributes_as_any_field_does() {
    let folder = Folder::new("attribute-member");
    let text =
        "syntax = \"proto3\";\npackage a;\nmessage M { oneof o { int32 x = 1; M y = 2; } }\n";
    let proto = folder.write("it.proto", text);
    folder
        .compile(Config::new().attribute(".a.M.y", "#[doc(alias = \"why\")]"), &[&proto])
        .unwrap();
    let made = folder.read("a.rs");
    assert_eq!(made.matches("#[doc(alias = \"why\")]\n        Y(").count(), 1, "{made}");
    assert_eq!(made.matches("alias").count(), 1, "{made}");
}

#[test]
fn an_attribute_for_nothing_that_is_generated_is_reported() {
    let folder = Folder::new("attribute-lost");
    folder.write("b.proto", "syntax = \"proto3\";\npackage b;\nmessage M { int32 n = 1; }\n");
    let a = "syntax = \"proto3\";\npackage a;\nimport \"b.proto\";\nenum E { ZERO = 0; }\n\
        message M { oneof o { int32 x = 1; } map<int32, E> map = 2; b.M b = 3; }\n\
        service S { rpc Get(M) returns (M); }\n";
    let proto = folder.write("a.proto", a);
    let compile = |name: &str| {
        let mut config = Config::new();
        folder.compile(config.attribute(name, "#[doc(hidden)]"), &[&proto])
    };
    for name in [
        ".",
        ".a",
        ".b",
        ".a.M",
        ".a.M.o",
        ".a.M.x",
        ".a.M.map",
        ".a.E",
        ".a.E.ZERO",
        ".b.M.n",
        "a.M",
    ] {
        compile(name).unwrap();
    }
    for name in [".c", ".a.Person", ".a.M.n", ".a.M.MapEntry", ".a.E.ONE", ".a.S", "M"] {
        let error = compile(name).unwrap_err();
        let text = format!(
            "the attribute `#[doc(hidden)]` is for `{name}`, which names no type, field, value or package that is \
            generated"
        );
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn what_is_no_attribute_is_reported_as_it_was_given() {
    let folder = Folder::new("attribute-form");
    let proto = folder.write("it.proto", "syntax = \"proto3\";\npackage a;\nmessage M {}\n");
    for attribute in
        ["must_use", "#must_use", "#[must_use", "#[must_use] pub", "#![allow(x)]", "", "\""]
    {
        let mut config = Config::new();
        let error = folder.compile(config.attribute(".a.M", attribute), &[&proto]).unwrap_err();
        let text = format!("`{attribute}`, for `.a.M`, is no attribute, as `#[must_use]` is one");
        assert_eq!(error.to_string(), text);
    }
    let two = "#[must_use]\n#[doc(hidden)]";
    folder.compile(Config::new().attribute(".a.M", two), &[&proto]).unwrap();
}

/// A schema of which parts are chosen.
const MANY: &str = "syntax = \"proto3\";\npackage a;\n\
    message Asked { Used used = 1; map<string, Outer.Within> map = 2; Kind kind = 3; message Idle {} }\n\
    message Used { Asked back = 1; }\nmessage Outer { message Within {} Idle idle = 1; }\nmessage Idle {}\n\
    message Other {}\nenum Kind { KIND_NONE = 0; }\nenum Rest { REST_NONE = 0; }\n\
    service Main { rpc Get(Asked) returns (Used); rpc Set(Other) returns (Other); }\n\
    service Side { rpc Go(Other) returns (Other); }\n";

fn types(made: &str) -> Vec<&str> {
    let items = made.lines().filter_map(|line| line.trim().strip_prefix("pub struct "));
    let mut out = items.map(|item| item.split(['<', '(', ' ']).next().unwrap()).collect::<Vec<_>>();
    out.sort_unstable();
    out
}

#[test]
fn what_is_chosen_is_generated_with_what_it_needs() {
    let folder = Folder::new("only");
    let proto = folder.write("it.proto", MANY);
    let with = ["Asked", "Idle", "Kind", "Outer", "Used", "Within"];
    let cases: [(&[&str], Vec<&str>); 4] = [
        (&[".a.Used"], with.to_vec()),
        (&[".a.Main.Get"], [&with[..3], &["MainClient"], &with[3..]].concat()),
        (&[".a.Rest", ".a.Idle"], vec!["Idle", "Rest"]),
        (&[".a.Side"], vec!["Other", "SideClient"]),
    ];
    for (names, expected) in cases {
        let mut config = Config::new();
        names.iter().for_each(|name| {
            config.only(*name);
        });
        folder.compile(&mut config, &[&proto]).unwrap();
        let made = folder.read("a.rs");
        assert_eq!(types(&made), expected, "{names:?}");
        assert!(!made.contains("fn set"), "{names:?}");
    }
    let error = folder.compile(Config::new().only(".a.Gone"), &[&proto]).unwrap_err();
    let what = "which is chosen, names no package, message, enum, service or method of the schema";
    assert_eq!(error.to_string(), format!("`.a.Gone`, {what}"));
}

#[test]
fn extensions_of_what_is_chosen_are_generated_wherever_they_are_declared() {
    let folder = Folder::new("only-extensions");
    let text = "syntax = \"proto2\";\npackage a;\nmessage A { extensions 100 to 200; }\n\
        message B { extend A { optional C inner = 100; optional int32 plain = 101; } }\n\
        message C {}\nextend A { optional D outer = 102; }\nmessage D {}\n\
        message E { extend B2 { optional int32 other = 100; } }\nmessage B2 { extensions 100; }\n";
    let proto = folder.write("it.proto", text);
    folder.compile(Config::new().only(".a.A"), &[&proto]).unwrap();
    let made = folder.read("a.rs");
    assert_eq!(types(&made), ["A", "B", "C", "D", "Inner", "Outer", "Plain"]);
}

#[test]
fn clients_and_servers_are_generated_alone() {
    let folder = Folder::new("sides");
    let proto = folder.write("it.proto", MANY);
    for (clients, servers) in [(true, true), (true, false), (false, true), (false, false)] {
        folder.compile(Config::new().clients(clients).servers(servers), &[&proto]).unwrap();
        let made = folder.read("a.rs");
        assert_eq!(made.contains("pub struct MainClient"), clients);
        assert_eq!(made.contains("pub trait Main"), servers);
        assert_eq!(made.contains("pub mod main_methods"), clients || servers);
    }
}

#[test]
fn values_of_enums_keep_their_prefix_where_that_is_asked_for() {
    let folder = Folder::new("prefixes");
    let proto = folder.write("it.proto", MANY);
    folder.compile(&mut Config::new(), &[&proto]).unwrap();
    assert!(folder.read("a.rs").contains("pub const NONE: Self"));
    folder.compile(Config::new().keep_enum_prefixes(true), &[&proto]).unwrap();
    assert!(folder.read("a.rs").contains("pub const KIND_NONE: Self"));
}

#[test]
fn several_packages_have_a_file_that_includes_them_all() {
    let folder = Folder::new("all");
    let one = folder.write("one.proto", "syntax = \"proto3\";\npackage a.b;\nmessage A {}\n");
    let two = folder.write("two.proto", "syntax = \"proto3\";\nmessage B {}\n");
    folder.compile(&mut Config::new(), &[&one]).unwrap();
    assert!(!folder.0.join("out/_all.rs").exists());
    folder.compile(&mut Config::new(), &[&one, &two]).unwrap();
    let made = folder.read("_all.rs");
    assert!(
        made.contains("include!(\"_.rs\");") && made.contains("include!(\"a.b.rs\");"),
        "{made}"
    );
    assert!(made.contains("pub mod a {"), "{made}");
}

#[test]
fn the_plugin_takes_the_settings_as_options() {
    let answer = |options: &str| {
        let head = [0x12, u8::try_from(options.len()).unwrap()];
        let answer = grpc_build::run_plugin(&[&head[..], options.as_bytes()].concat()).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let known =
        "include_file=all.rs,services=true,clients=false,servers=true,keep_enum_prefixes=true";
    assert!(!answer(known).contains("not known"));
    assert!(answer("only=.a.Gone").contains("`.a.Gone`, which is chosen, names no package"));
    for option in ["clients=maybe", "servers", "keep_enum_prefixes=1", "only"] {
        assert!(answer(option).contains(&format!("the option `{option}` is not known")));
    }
}

/// The names of the files of an encoded descriptor set, read by hand.
fn file_names(mut set: &[u8]) -> Vec<String> {
    fn field<'a>(bytes: &mut &'a [u8]) -> (u8, &'a [u8]) {
        let (tag, mut len, mut place) = (bytes[0], 0usize, 1);
        loop {
            len |= usize::from(bytes[place] & 0x7f) << (7 * (place - 1));
            place += 1;
            if bytes[place - 1] < 0x80 {
                break;
            }
        }
        let value = &bytes[place..][..len];
        *bytes = &bytes[place + len..];
        (tag, value)
    }
    let mut names = Vec::new();
    while !set.is_empty() {
        let (tag, mut file) = field(&mut set);
        assert_eq!(tag, 1 << 3 | 2);
        // `name` comes first.
        let (tag, name) = field(&mut file);
        assert_eq!(tag, 1 << 3 | 2);
        names.push(String::from_utf8(name.to_vec()).unwrap());
        while !file.is_empty() {
            if file[0] & 7 != 2 {
                // A number of one byte.
                file = &file[2..];
                continue;
            }
            let (tag, _) = field(&mut file);
            assert_ne!(tag, 9 << 3 | 2, "source information");
        }
    }
    names
}

#[test]
fn code_for_servers_carries_the_descriptors_of_its_services_alone() {
    let folder = Folder::new("descriptors");
    folder.write("deep.proto", "syntax = \"proto3\";\npackage deep;\nmessage Deep {}\n");
    let text = "syntax = \"proto3\";\npackage base;\nimport public \"deep.proto\";\n";
    folder.write("base.proto", text);
    let text = "syntax = \"proto3\";\npackage shop;\nimport \"base.proto\";\n\
        message FILE_DESCRIPTOR_SET {}\n// Sells.\nservice Shop { rpc Buy(deep.Deep) returns (deep.Deep); }\n";
    let shop = folder.write("shop.proto", text);
    let text = "syntax = \"proto3\";\npackage shop;\nmessage Other {}\n";
    let other = folder.write("other.proto", text);
    folder.compile(&mut Config::new(), &[&other, &shop]).unwrap();
    let names = file_names(&std::fs::read(folder.0.join("out/shop.descriptors.bin")).unwrap());
    assert_eq!(names, ["deep.proto", "base.proto", "shop.proto"]);
    let constant = |text: &str| {
        let rest = text.split("pub const ").find(|rest| rest.starts_with("FILE_DESCRIPTOR_SET"));
        rest.map(|rest| rest.split(':').next().unwrap().to_owned())
    };
    assert!(constant(&folder.read("shop.rs")).is_some());
    assert!(folder.read("shop.rs").contains("include_bytes!(\"shop.descriptors.bin\")"));
    assert_eq!(constant(&folder.read("deep.rs")), None);
    assert!(!folder.0.join("out/deep.descriptors.bin").exists());
    for config in [
        Config::new().descriptors(false),
        Config::new().servers(false),
        Config::new().services(false),
        Config::new().only(".shop.Other"),
    ] {
        folder.compile(config, &[&other, &shop]).unwrap();
        assert_eq!(constant(&folder.read("shop.rs")), None);
    }
}
