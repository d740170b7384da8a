//! Where the code of each type is: generated here, at a path outside, or nowhere.

use std::collections::HashSet;

use syn::ext::IdentExt as _;

use crate::Error;
use crate::descriptor::FileDescriptorProto;
use crate::model::RustType;
use crate::names;

/// The package whose well-known types `grpc_arena` has.
const GOOGLE: &str = "google.protobuf";

/// What is declared in [`GOOGLE`] and lies in `grpc_arena::wkt`.
pub(crate) const WELL_KNOWN: [&str; 28] = [
    "Any",
    "Api",
    "BoolValue",
    "BytesValue",
    "DoubleValue",
    "Duration",
    "Empty",
    "Enum",
    "EnumValue",
    "Field",
    "FieldMask",
    "FloatValue",
    "Int32Value",
    "Int64Value",
    "ListValue",
    "Method",
    "Mixin",
    "NullValue",
    "Option",
    "SourceContext",
    "StringValue",
    "Struct",
    "Syntax",
    "Timestamp",
    "Type",
    "UInt32Value",
    "UInt64Value",
    "Value",
];

/// Whether a package is [`GOOGLE`] or lies within.
pub(crate) fn is_google(package: &str) -> bool {
    package.strip_prefix(GOOGLE).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The file that something is declared in: its package, and whether code is generated for it.
#[derive(Clone, Copy)]
pub(super) struct Home<'a> {
    pub(super) package: &'a str,
    pub(super) wanted: bool,
}

impl<'a> Home<'a> {
    pub(super) fn of(file: &FileDescriptorProto<'a>, wanted: &HashSet<String>) -> Self {
        let wanted = file.name.is_some_and(|name| wanted.contains(name));
        Self { package: file.package.unwrap_or_default(), wanted }
    }
}

/// Where the code of a type is.
pub(super) enum Origin {
    /// Generated.
    Here,
    /// At a path outside.
    Elsewhere(RustType),
    /// Nowhere: there is none.
    Nowhere,
}

/// The Rust paths that were given for packages and types, the longest names first, so that the most specific one matches.
pub(super) struct Externals(Vec<(String, syn::Path)>);

impl Externals {
    pub(super) fn new(externals: &[(String, String)]) -> Result<Self, Error> {
        let mut out = Vec::new();
        for (name, path) in externals {
            let path = syn::parse_str(path)
                .map_err(|_| Error::new(format!("`{path}` is no Rust path")))?;
            out.push((name.trim_start_matches('.').to_owned(), path));
        }
        out.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Ok(Self(out))
    }

    /// Where the code of a type is. A build that compiles files of [`GOOGLE`] itself gets its own types.
    pub(super) fn origin(&self, full_name: &str, home: Home<'_>) -> Origin {
        if let Some(rust) = self.find(full_name, home) {
            return Origin::Elsewhere(rust);
        }
        if home.wanted || !is_google(home.package) {
            return Origin::Here;
        }
        let name = full_name.strip_prefix(GOOGLE).unwrap_or_default();
        let outermost = name.split('.').nth(1);
        if home.package == GOOGLE && outermost.is_some_and(|name| WELL_KNOWN.contains(&name)) {
            return Origin::Elsewhere(behind(syn::parse_quote!(::grpc_arena::wkt), name));
        }
        Origin::Nowhere
    }

    /// Whether a path was given for a name or for what it lies in.
    pub(super) fn name(&self, full_name: &str) -> bool {
        self.0.iter().any(|(prefix, _)| lies_in(full_name, prefix))
    }

    /// The external type that stands for a name, if one does: the given path, and behind it what the name has more.
    fn find(&self, full_name: &str, home: Home<'_>) -> Option<RustType> {
        let (prefix, path) = self.0.iter().find(|(prefix, _)| lies_in(full_name, prefix))?;
        let (rest, mut path) = (&full_name[prefix.len()..], path.clone());
        if lies_in(home.package, prefix) {
            let (package, declared) = rest.split_at(home.package.len() - prefix.len());
            return Some(declared_behind(modules_behind(path, package), declared));
        }
        // What is declared in a message of which only the path is known lies in the module beside its struct.
        if !rest.is_empty()
            && let Some(last) = path.segments.last_mut()
        {
            last.ident = names::ident(&names::module(&last.ident.unraw().to_string()));
        }
        Some(behind(path, rest))
    }
}

/// Whether `name` is `outer` or declared in it; everything is in the package without a name.
fn lies_in(name: &str, outer: &str) -> bool {
    let rest = name.strip_prefix(outer);
    outer.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The parts of a name, as `.Person.Phone`.
fn parts(name: &str) -> Vec<&str> {
    name.split('.').filter(|part| !part.is_empty()).collect()
}

fn modules_behind(mut path: syn::Path, package: &str) -> syn::Path {
    let modules = names::package_modules(package).into_iter().map(syn::PathSegment::from);
    path.segments.extend(modules);
    path
}

/// The type that another crate generates at `path` for `name`, as `.Person.Phone`: by names that do not depend on which
/// files that crate compiles.
fn declared_behind(mut path: syn::Path, name: &str) -> RustType {
    let parts = parts(name);
    for (i, part) in parts.iter().enumerate() {
        let ident = if i + 1 < parts.len() {
            names::module_alias(part)
        } else {
            names::type_alias(part).unwrap_or_else(|| names::ident(&names::camel(part)))
        };
        path.segments.push(ident.into());
    }
    RustType::external(path)
}

/// The type that lies behind `path` as `rest`, as `.Person.Phone`: by names in Rust's style.
fn behind(mut path: syn::Path, rest: &str) -> RustType {
    let parts = parts(rest);
    for (i, part) in parts.iter().enumerate() {
        let name = if i + 1 == parts.len() { names::camel(part) } else { names::module(part) };
        path.segments.push(names::ident(&name).into());
    }
    RustType::external(path)
}
