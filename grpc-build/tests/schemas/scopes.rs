//! Names: only imported packages take part in look-up, so the order of files makes no difference.

use std::collections::BTreeMap;

use crate::{Memory, compile};

/// The descriptors of a set by the names of their files.
fn by_file(set: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut rest = set;
    while !rest.is_empty() {
        assert_eq!(rest[0], 0x0a);
        let (mut len, mut at) = (0, 1);
        for shift in (0..).step_by(7) {
            let byte = rest[at];
            at += 1;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let file = &rest[at..at + len];
        // The name is the first field, and short.
        let name = &file[2..2 + usize::from(file[1])];
        out.insert(name.to_vec(), file.to_vec());
        rest = &rest[at + len..];
    }
    out
}

#[test]
fn packages_that_are_not_imported_take_no_part_in_look_up() {
    let sources = Memory::default()
        .with("a.proto", "syntax = \"proto3\"; package x.y.common; message A {}")
        .with("b.proto", "syntax = \"proto3\"; package common; message B {}")
        .with(
            "c.proto",
            "syntax = \"proto3\"; package x.y.c; import \"b.proto\"; message C { common.B b = 1; }",
        );
    for names in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"], ["a", "c", "b"]] {
        let names = names.map(|name| format!("{name}.proto"));
        compile(&names.each_ref().map(String::as_str), &sources).unwrap();
    }
}

/// A generator of numbers that is the same from run to run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Files whose packages are parts of each other's names, and that refer to each other by short names.
fn forest(numbers: &mut Numbers) -> (Vec<String>, Memory) {
    let packages = ["a", "b", "a.b", "b.a", "a.b.a", "b.b", "a.a"];
    let mut names = Vec::new();
    let mut sources = Memory::default();
    let mut packages_of: Vec<&str> = Vec::new();
    for i in 0..6 {
        let package = packages[numbers.below(packages.len())];
        let mut text = format!("syntax = \"proto3\";\npackage {package};\n");
        let mut fields = String::new();
        for (j, home) in packages_of.iter().enumerate() {
            if numbers.below(2) == 0 {
                text.push_str(&format!("import \"f{j}.proto\";\n"));
                let short = match numbers.below(16) {
                    0 => home.rsplit('.').next().unwrap().to_owned(),
                    1 | 2 => (*home).to_owned(),
                    _ => format!(".{home}"),
                };
                fields.push_str(&format!("  {short}.M{j} f{j} = {};\n", j + 1));
            }
        }
        text.push_str(&format!("message M{i} {{\n{fields}}}\n"));
        names.push(format!("f{i}.proto"));
        sources = sources.with(&names[i], text);
        packages_of.push(package);
    }
    (names, sources)
}

#[test]
fn the_order_of_files_makes_no_difference() {
    let mut numbers = Numbers(17);
    let mut taken = 0;
    for _ in 0..80 {
        let (names, sources) = forest(&mut numbers);
        let mut order = names.iter().map(String::as_str).collect::<Vec<_>>();
        let first = compile(&order, &sources);
        for _ in 0..3 {
            for i in (1..order.len()).rev() {
                order.swap(i, numbers.below(i + 1));
            }
            let again = compile(&order, &sources);
            match (&first, again) {
                (Ok(first), Ok(again)) => {
                    assert!(by_file(&first.descriptor_set) == by_file(&again.descriptor_set));
                }
                (first, again) => assert_eq!(first.is_ok(), again.is_ok(), "{order:?}"),
            }
        }
        taken += usize::from(first.is_ok());
    }
    assert!((10..78).contains(&taken), "{taken} of 80 are taken: the test says little");
}
