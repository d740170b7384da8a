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
fn what_lies_in_an_external_message_lies_in_the_module_beside_it() {
    let folder = Folder::new("extern-nested");
    let text = "syntax = \"proto3\";\npackage common.x;\n\
        message Money { message Unit { enum Kind { A = 0; } } }\n";
    folder.write("common.proto", text);
    let text = "syntax = \"proto3\";\npackage shop;\nimport \"common.proto\";\n\
        message Cart { common.x.Money all = 1; common.x.Money.Unit unit = 2; \
        common.x.Money.Unit.Kind kind = 3; }\n";
    let proto = folder.write("shop.proto", text);
    let places = [
        (".common.x.Money", "::prices::OldMoney", "OldMoney", "old_money"),
        (".common.x", "::prices", "Money", "money"),
        (".common", "::prices", "x::Money", "x::money"),
    ];
    for (name, path, message, module) in places {
        folder.compile(Config::new().extern_path(name, path), &[&proto]).unwrap();
        let made = folder.read("shop.rs");
        assert!(made.contains(&format!("&'a ::prices::{message}<'a>")), "{made}");
        assert!(made.contains(&format!("&'a ::prices::{module}::Unit<'a>")), "{made}");
        assert!(made.contains(&format!("pub kind: ::prices::{module}::unit::Kind,")), "{made}");
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
