//! Reflection of a schema with all that schemas have.

mod common;

use std::collections::BTreeSet;

use common::{Answer, Schema, asking};
use grpc_service::{Code, Router};
use grpc_standard::health::{HealthReporter, v1 as health};
use grpc_standard::reflection::v1::ExtensionRequest;
use grpc_standard::reflection::v1::server_reflection_request::MessageRequest as Query;
use grpc_standard::reflection::{Registry, RegistryError, register};

const FILES: usize = 500;

/// Files that import some of those before them, publicly or not, in each syntax, with everything that has a name.
fn large() -> Schema {
    let mut schema = Schema::default();
    for n in 0..FILES {
        let head = match n % 4 {
            0 => "syntax = \"proto2\";",
            1 => "syntax = \"proto3\";",
            2 => "edition = \"2023\";",
            _ => "edition = \"2024\";",
        };
        let mut text = format!("{head}\npackage p{};\n", n % 7);
        for (index, before) in [n / 2, n / 3, n.wrapping_sub(1)].into_iter().enumerate() {
            let before_is_new = before < n && ![n / 2, n / 3, n - 1][..index].contains(&before);
            if before_is_new {
                let public = if index == 1 { "public " } else { "" };
                text.push_str(&format!("import {public}\"f{before}.proto\";\n"));
            }
        }
        let value = if n % 4 == 0 { 1 } else { 0 };
        text.push_str(&format!(
            "message M{n} {{ message In {{ enum E {{ IN_ONE{n} = {value}; }} }} oneof one {{ int32 a = 1; In b = 2; }} }}\n\
             enum K{n} {{ K_ZERO{n} = {value}; }}\n\
             service S{n} {{ rpc Do(M{n}) returns (M{n}); }}\n"
        ));
        if n == 0 {
            text.push_str("message Base { extensions 100 to 9999; }\n");
        } else if n % 4 != 1 {
            // In proto3 only options are extended.
            let label = if n % 4 == 0 { "optional " } else { "" };
            let field = format!("extend p0.Base {{ {label}int32 x{n} = {}; }}\n", 100 + n);
            if n % 2 == 0 {
                text =
                    text.replace(&format!("message M{n} {{"), &format!("message M{n} {{ {field}"));
            } else {
                text.push_str(&field);
            }
            if !text.contains("\"f0.proto\"") {
                text = text.replacen(";\n", &format!(";\n{}", ""), 1);
                let at = text.find("message").expect("a message");
                text.insert_str(at, "import \"f0.proto\";\n");
            }
        }
        schema.add(&format!("f{n}.proto"), text);
    }
    schema
}

/// The package of the file.
fn package(n: usize) -> String {
    format!("p{}", n % 7)
}

#[test]
fn each_of_500_files_comes_once_in_a_stream_with_all_that_it_imports() {
    let registry = Registry::new([large().set()]).expect("a registry");
    let mut asking = asking(&registry);
    let mut had = BTreeSet::new();
    for file in asking.files(Query::FileByFilename("f499.proto")) {
        assert!(had.insert(file.clone()), "{file} came twice");
    }
    assert!(had.contains("f498.proto") && had.contains("f0.proto"));
    // f499 imports f498, and so on: nothing is left.
    assert_eq!(had.len(), FILES);
    // What was asked for comes again, and nothing else.
    assert_eq!(asking.files(Query::FileByFilename("f250.proto")), ["f250.proto"]);
    // Another stream knows nothing of that.
    asking.again();
    assert_eq!(asking.files(Query::FileByFilename("f1.proto")), ["f1.proto", "f0.proto"]);
    assert_eq!(asking.files(Query::FileByFilename("f2.proto")), ["f2.proto"]);
    assert_eq!(asking.files(Query::FileByFilename("f4.proto")), ["f4.proto", "f3.proto"]);
}

#[test]
fn everything_that_has_a_name_is_found_in_its_file() {
    let registry = Registry::new([large().set()]).expect("a registry");
    let mut asking = asking(&registry);
    for n in [0, 1, 2, 3, 250, 498, 499] {
        let p = package(n);
        let mut names = vec![
            format!("{p}.M{n}"),
            format!("{p}.M{n}.a"),
            format!("{p}.M{n}.one"),
            format!("{p}.M{n}.In"),
            format!("{p}.M{n}.In.E"),
            format!("{p}.M{n}.In.IN_ONE{n}"),
            format!("{p}.K{n}"),
            format!("{p}.K_ZERO{n}"),
            format!("{p}.S{n}"),
            format!("{p}.S{n}.Do"),
        ];
        if n > 0 && n % 4 != 1 {
            let within = if n % 2 == 0 { format!("{p}.M{n}.x{n}") } else { format!("{p}.x{n}") };
            names.push(within);
            let of = ExtensionRequest {
                containing_type: "p0.Base",
                extension_number: 100 + n as i32,
                ..ExtensionRequest::EMPTY
            };
            let files = asking.files(Query::FileContainingExtension(&of));
            assert_eq!(files[0], format!("f{n}.proto"));
        }
        for name in names {
            let files = asking.files(Query::FileContainingSymbol(&name));
            assert_eq!(files[0], format!("f{n}.proto"), "{name}");
        }
        let wrong = [format!("{p}.K{n}.K_ZERO{n}"), format!(".{p}.M{n}"), p, String::new()];
        for name in wrong {
            assert_eq!(asking.code(Query::FileContainingSymbol(&name)), Code::NotFound, "{name}");
        }
    }
}

#[test]
fn numbers_of_extensions_are_those_of_all_files_in_order() {
    let registry = Registry::new([large().set()]).expect("a registry");
    let mut asking = asking(&registry);
    let numbers = (1..FILES as i32).filter(|n| n % 4 != 1).map(|n| 100 + n).collect();
    let asked = asking.ask(Some(Query::AllExtensionNumbersOfType("p0.Base")));
    assert_eq!(asked, Ok(Answer::Numbers("p0.Base".to_owned(), numbers)));
    let asked = asking.ask(Some(Query::AllExtensionNumbersOfType("p0.M0")));
    assert_eq!(asked, Ok(Answer::Numbers("p0.M0".to_owned(), vec![])));
    for name in ["p0.K0", "p0.Absent"] {
        assert_eq!(asking.code(Query::AllExtensionNumbersOfType(name)), Code::NotFound);
    }
}

#[test]
fn a_query_that_finds_nothing_has_its_error_and_the_stream_goes_on() {
    let registry = Registry::new([health::FILE_DESCRIPTOR_SET]).expect("a registry");
    let mut asking = asking(&registry);
    let of = ExtensionRequest { containing_type: "a.B", ..ExtensionRequest::EMPTY };
    for query in [
        Query::FileByFilename("no.proto"),
        Query::FileContainingSymbol("no.Thing"),
        Query::FileContainingExtension(&of),
    ] {
        assert_eq!(asking.code(query), Code::NotFound);
    }
    let Ok(Answer::Error(code, text)) = asking.ask(None) else { panic!("an error") };
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("message_request"), "{text}");
    let name = "x".repeat(4000);
    let Ok(Answer::Error(_, text)) = asking.ask(Some(Query::FileByFilename(&name))) else {
        panic!("an error")
    };
    assert!(text.len() < 400, "{text}");
    let files = asking.files(Query::FileContainingSymbol("grpc.health.v1.Health"));
    assert_eq!(files, ["grpc/health/v1/health.proto"]);
}

#[test]
fn the_services_are_those_of_the_router_and_reflection_in_both_versions() {
    let registry = Registry::new([health::FILE_DESCRIPTOR_SET]).expect("a registry");
    let mut asking = asking(&registry);
    let listed = asking.ask(Some(Query::ListServices("")));
    assert_eq!(listed, Ok(Answer::Services(vec!["a.B".to_owned()])));
    for version in ["v1", "v1alpha"] {
        let name = format!("grpc.reflection.{version}.ServerReflection");
        let files = asking.files(Query::FileContainingSymbol(&name));
        assert_eq!(files, [format!("grpc/reflection/{version}/reflection.proto")]);
    }
    let mut router = Router::new();
    grpc_standard::health::register(&mut router, &HealthReporter::new());
    register(&mut router, &registry);
    let mut paths: Vec<&str> = router.paths().collect();
    paths.sort_unstable();
    assert_eq!(paths[3], "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    assert_eq!(paths[4], "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}

#[test]
fn a_registry_says_what_is_wrong_with_its_files() {
    let mut schema = Schema::default();
    schema.add("a.proto", "syntax = \"proto3\"; package a; message A {}");
    let a = schema.set();
    schema.add(
        "b.proto",
        "syntax = \"proto3\"; package a; import \"a.proto\"; message B { A a = 1; }",
    );
    let both = schema.set();
    // Sets that share files, in either order.
    assert!(Registry::new([&a, &both]).is_ok() && Registry::new([&both, &a]).is_ok());
    let b = &both[a.len()..];
    let missing = RegistryError::Missing { file: "b.proto".into(), import: "a.proto".into() };
    assert_eq!(Registry::new([b]).unwrap_err(), missing);
    let mut schema = Schema::default();
    schema.add("c.proto", "syntax = \"proto3\"; package a; enum A { ZERO = 0; }");
    let twice = RegistryError::Twice {
        name: "a.A".into(),
        first: "a.proto".into(),
        second: "c.proto".into(),
    };
    assert_eq!(Registry::new([a, schema.set()]).unwrap_err(), twice);
    assert!(matches!(Registry::new([b"\x0a\x05abc"]).unwrap_err(), RegistryError::Decode(_)));
    assert_eq!(Registry::new([b"\x0a\x00"]).unwrap_err(), RegistryError::Unnamed);
}
