//! All types of a schema by their full names.

use std::collections::{HashMap, HashSet};

use proc_macro2::Ident;

use super::{file_features, value_idents};
use crate::Error;
use crate::descriptor::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, feature_set,
    field_descriptor_proto as fd,
};
use crate::features::Features;
use crate::model::RustType;
use crate::names;

/// A type of the schema.
pub(super) enum Entry {
    Message {
        rust: RustType,
        module: Ident,
        map_entry: Option<MapEntry>,
        requires: bool,
        /// Whether its extensions are written as Items (`message_set_wire_format`).
        message_set: bool,
        external: bool,
    },
    Enum {
        rust: RustType,
        closed: bool,
        values: Vec<(String, Ident)>,
        external: bool,
    },
}

/// What a map's entry holds.
pub(super) struct MapEntry {
    pub(super) key: fd::Type,
    pub(super) value: fd::Type,
    pub(super) value_type: Option<String>,
}

/// All types by their full names, without a leading dot.
pub(super) struct Registry {
    types: HashMap<String, Entry>,
    oneofs: HashMap<(String, String), RustType>,
    extensions: HashMap<String, RustType>,
}

/// The full name of what is declared in a scope.
pub(super) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

impl Registry {
    pub(super) fn new(
        set: &FileDescriptorSet<'_>,
        externals: &[(String, String)],
    ) -> Result<Self, Error> {
        let mut builder = Builder {
            registry: Self {
                types: HashMap::new(),
                oneofs: HashMap::new(),
                extensions: HashMap::new(),
            },
            externals: externals_by_length(externals)?,
            taken: HashMap::new(),
            uses: Vec::new(),
        };
        for file in set.file {
            let features = file_features(file)?;
            let package = file.package.unwrap_or_default();
            for message in file.message_type {
                builder.message(message, package, package, &[], features);
            }
            for declared in file.enum_type {
                builder.r#enum(declared, package, package, &[], features);
            }
        }
        // Last, so that they give way to messages and enums.
        for file in set.file {
            let package = file.package.unwrap_or_default();
            builder.extensions(file.extension, package, package, &[]);
        }
        builder.spread_requirements();
        Ok(builder.registry)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        self.types.get(name.trim_start_matches('.'))
    }

    /// The type that reads and writes the extension with this full name.
    pub(super) fn extension(&self, name: &str) -> Option<&RustType> {
        self.extensions.get(name)
    }

    pub(super) fn oneof(&self, message: &str, name: &str) -> Option<&RustType> {
        self.oneofs.get(&(message.to_owned(), name.to_owned()))
    }
}

/// The longest names first, so that the most specific one matches.
fn externals_by_length(externals: &[(String, String)]) -> Result<Vec<(String, syn::Path)>, Error> {
    let mut out = Vec::new();
    for (name, path) in externals {
        let path =
            syn::parse_str(path).map_err(|_| Error::new(format!("`{path}` is no Rust path")))?;
        out.push((name.trim_start_matches('.').to_owned(), path));
    }
    out.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    Ok(out)
}

struct Builder {
    registry: Registry,
    externals: Vec<(String, syn::Path)>,
    /// The names of types and modules that are taken in each module of each package.
    taken: HashMap<(String, Vec<String>), HashSet<String>>,
    /// Which message has fields of which other one.
    uses: Vec<(String, String)>,
}

impl Builder {
    fn message(
        &mut self,
        message: &DescriptorProto<'_>,
        scope: &str,
        package: &str,
        modules: &[Ident],
        features: Features,
    ) {
        let name = message.name.unwrap_or_default();
        let full_name = join(scope, name);
        let features = features.overridden(message.options.and_then(|options| options.features));
        let is_map_entry = message.options.is_some_and(|options| options.map_entry == Some(true));
        let external = self.external(&full_name);
        let (rust, module) = match &external {
            Some(rust) => (rust.clone(), names::ident(&names::snake(name))),
            // Entries of maps become no type and take no name.
            None if is_map_entry => {
                let ident = names::ident(&names::camel(name));
                (RustType::generated(package, modules, ident.clone()), ident)
            }
            None => {
                let taken = self.taken(package, modules);
                let ident = names::unique(names::camel(name), taken);
                let module = names::unique(names::snake(name), taken);
                (RustType::generated(package, modules, ident), module)
            }
        };
        let inner = [modules, core::slice::from_ref(&module)].concat();
        for nested in message.nested_type {
            self.message(nested, &full_name, package, &inner, features);
        }
        for nested in message.enum_type {
            self.r#enum(nested, &full_name, package, &inner, features);
        }
        for oneof in message.oneof_decl {
            let name = oneof.name.unwrap_or_default();
            let mut rust_name = names::camel(name);
            let taken = self.taken(package, &inner);
            if taken.contains(&rust_name) {
                rust_name.push_str("Oneof");
            }
            let ident = names::unique(rust_name, taken);
            let rust = RustType::generated(package, &inner, ident);
            self.registry.oneofs.insert((full_name.clone(), name.to_owned()), rust);
        }
        self.extensions(message.extension, &full_name, package, &inner);
        let mut requires = false;
        for field in message.field {
            requires |=
                features.of_field(field).presence == feature_set::FieldPresence::LegacyRequired;
            if let Some(name) = field.type_name {
                self.uses.push((full_name.clone(), name.trim_start_matches('.').to_owned()));
            }
        }
        let map_entry = is_map_entry.then(|| map_entry(message)).flatten();
        let message_set = is_message_set(message);
        let external = external.is_some();
        let entry = Entry::Message { rust, module, map_entry, requires, message_set, external };
        self.registry.types.insert(full_name, entry);
    }

    fn r#enum(
        &mut self,
        declared: &EnumDescriptorProto<'_>,
        scope: &str,
        package: &str,
        modules: &[Ident],
        features: Features,
    ) {
        let name = declared.name.unwrap_or_default();
        let full_name = join(scope, name);
        let features = features.overridden(declared.options.and_then(|options| options.features));
        let closed = features.enums == feature_set::EnumType::Closed;
        let external = self.external(&full_name);
        let rust = external.clone().unwrap_or_else(|| {
            let ident = names::unique(names::camel(name), self.taken(package, modules));
            RustType::generated(package, modules, ident)
        });
        let values = value_idents(declared, closed);
        let entry = Entry::Enum { rust, closed, values, external: external.is_some() };
        self.registry.types.insert(full_name, entry);
    }

    fn extensions(
        &mut self,
        fields: &[FieldDescriptorProto<'_>],
        scope: &str,
        package: &str,
        modules: &[Ident],
    ) {
        for field in fields {
            let name = field.name.unwrap_or_default();
            let ident = names::unique(names::variant(name), self.taken(package, modules));
            let rust = RustType::generated(package, modules, ident);
            self.registry.extensions.insert(join(scope, name), rust);
        }
    }

    fn taken(&mut self, package: &str, modules: &[Ident]) -> &mut HashSet<String> {
        let modules = modules.iter().map(Ident::to_string).collect();
        self.taken.entry((package.to_owned(), modules)).or_default()
    }

    /// The external type that stands for a name, if one does: the given path, and behind it what the name has more.
    fn external(&self, full_name: &str) -> Option<RustType> {
        let (rest, path) = self.externals.iter().find_map(|(prefix, path)| {
            let rest = full_name.strip_prefix(prefix.as_str())?;
            (rest.is_empty() || rest.starts_with('.') || prefix.is_empty()).then_some((rest, path))
        })?;
        let mut path: syn::Path = path.clone();
        let parts = rest.split('.').filter(|part| !part.is_empty()).collect::<Vec<_>>();
        for (i, part) in parts.iter().enumerate() {
            let name = if i + 1 == parts.len() { names::camel(part) } else { names::snake(part) };
            path.segments.push(names::ident(&name).into());
        }
        Some(RustType::external(path))
    }

    /// Marks all messages that reach a `required` field through their fields, however far.
    fn spread_requirements(&mut self) {
        let mut users = HashMap::<&str, Vec<&str>>::new();
        for (user, used) in &self.uses {
            users.entry(used).or_default().push(user);
        }
        let requires = |entry: &Entry| matches!(entry, Entry::Message { requires: true, .. });
        let types = &self.registry.types;
        let mut reached =
            types.iter().filter(|(_, entry)| requires(entry)).map(|(name, _)| name.as_str());
        let mut open = reached.by_ref().collect::<Vec<_>>();
        let mut all = open.iter().map(|name| (*name).to_owned()).collect::<HashSet<_>>();
        while let Some(name) = open.pop() {
            for user in users.get(name).into_iter().flatten() {
                if all.insert((*user).to_owned()) {
                    open.push(user);
                }
            }
        }
        for name in all {
            if let Some(Entry::Message { requires, .. }) = self.registry.types.get_mut(&name) {
                *requires = true;
            }
        }
    }
}

/// Whether a message has the option `message_set_wire_format`.
fn is_message_set(message: &DescriptorProto<'_>) -> bool {
    message.options.is_some_and(|options| options.message_set_wire_format == Some(true))
}

fn map_entry(message: &DescriptorProto<'_>) -> Option<MapEntry> {
    let field = |number| message.field.iter().find(|field| field.number == Some(number));
    Some(MapEntry {
        key: field(1)?.r#type?,
        value: field(2)?.r#type?,
        value_type: field(2)?.type_name.map(str::to_owned),
    })
}
