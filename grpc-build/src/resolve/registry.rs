//! All types of a schema by their full names.

use std::collections::{HashMap, HashSet};

use proc_macro2::Ident;

use super::origin::{Externals, Home, Origin};
use super::value_idents;
use crate::Error;
use crate::descriptor::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, feature_set,
    field_descriptor_proto as fd,
};
use crate::features::{Features, file_features};
use crate::model::RustType;
use crate::names;

/// A type of the schema.
pub(super) enum Entry {
    Message {
        rust: RustType,
        module: Ident,
        map_entry: Option<MapEntry>,
        requires: bool,
        /// Whether no floating-point number lies within, nor a message of which that is not known.
        exact: bool,
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
    /// Types that the schema declares and no code stands for.
    absent: HashSet<String>,
    oneofs: HashMap<(String, String), RustType>,
    extensions: HashMap<String, RustType>,
    services: HashMap<String, ServiceNames>,
}

/// What is generated for a service, all at the root of its package.
#[derive(Clone)]
pub(super) struct ServiceNames {
    /// The handler trait.
    pub(super) handler: Ident,
    /// The client stub.
    pub(super) client: Ident,
    /// The module of the methods.
    pub(super) methods: Ident,
    /// The function that registers a handler.
    pub(super) register: Ident,
}

/// The full name of what is declared in a scope.
pub(super) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

impl Registry {
    pub(super) fn new(
        files: &[&FileDescriptorProto<'_>],
        wanted: &HashSet<String>,
        externals: &[(String, String)],
        services: bool,
        keep_enum_prefixes: bool,
    ) -> Result<Self, Error> {
        let mut builder = Builder {
            registry: Self {
                types: HashMap::new(),
                absent: HashSet::new(),
                oneofs: HashMap::new(),
                extensions: HashMap::new(),
                services: HashMap::new(),
            },
            externals: Externals::new(externals)?,
            keep_enum_prefixes,
            taken: HashMap::new(),
            functions: HashMap::new(),
            styled: HashMap::new(),
            uses: Vec::new(),
        };
        // Whose names are written down by their users comes first; others get an underscore where names run into each
        // other.
        for file in files {
            let home = Home::of(file, wanted);
            builder.package(home);
            builder.note_styled(home, &[], file.message_type, file.enum_type);
        }
        for file in files {
            let (features, home) = (file_features(file)?, Home::of(file, wanted));
            for message in file.message_type {
                builder.message(message, home.package, home, &[], features);
            }
            for declared in file.enum_type {
                builder.r#enum(declared, home.package, home, &[], features);
            }
        }
        for file in files {
            let home = Home::of(file, wanted);
            for service in file.service.iter().filter(|_| services) {
                builder.service(service.name.unwrap_or_default(), home);
            }
        }
        for file in files {
            let home = Home::of(file, wanted);
            builder.extensions(file.extension, home.package, home, &[]);
        }
        builder.spread_requirements();
        Ok(builder.registry)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        self.types.get(name.trim_start_matches('.'))
    }

    /// Whether the schema declares this type and no code stands for it.
    pub(super) fn is_absent(&self, name: &str) -> bool {
        self.absent.contains(name.trim_start_matches('.'))
    }

    /// The type that reads and writes the extension with this full name.
    pub(super) fn extension(&self, name: &str) -> Option<&RustType> {
        self.extensions.get(name)
    }

    pub(super) fn service(&self, name: &str) -> Option<&ServiceNames> {
        self.services.get(name)
    }

    pub(super) fn oneof(&self, message: &str, name: &str) -> Option<&RustType> {
        self.oneofs.get(&(message.to_owned(), name.to_owned()))
    }
}

struct Builder {
    registry: Registry,
    externals: Externals,
    keep_enum_prefixes: bool,
    /// The names of types and modules that are taken in each module of each package.
    taken: HashMap<(String, Vec<String>), HashSet<String>>,
    /// The names of functions that are taken at the root of each package.
    functions: HashMap<String, HashSet<String>>,
    /// The types of each module of each package that keep their names, as those are in Rust's style already.
    styled: HashMap<(String, Vec<String>), HashSet<String>>,
    /// Which message has fields of which other one.
    uses: Vec<(String, String)>,
}

impl Builder {
    /// Takes the names of the modules that a package lies in.
    fn package(&mut self, home: Home<'_>) {
        if !home.wanted {
            return;
        }
        let mut around = String::new();
        for part in home.package.split('.').filter(|part| !part.is_empty()) {
            let module = names::ident(&names::module(part)).to_string();
            self.taken(&around, &[]).insert(module);
            around = join(&around, part);
        }
    }

    /// Notes which types of a module keep their names: others make way for them, in whichever order the files come.
    fn note_styled(
        &mut self,
        home: Home<'_>,
        modules: &[Ident],
        messages: &[DescriptorProto<'_>],
        enums: &[EnumDescriptorProto<'_>],
    ) {
        if !home.wanted {
            return;
        }
        let names = messages.iter().map(|it| it.name).chain(enums.iter().map(|it| it.name));
        let styled = names.flatten().filter(|name| names::camel(name) == **name);
        let key = (home.package.to_owned(), modules.iter().map(Ident::to_string).collect());
        self.styled.entry(key).or_default().extend(styled.map(str::to_owned));
    }

    /// The Rust name of the type `name` in a module.
    fn type_ident(&mut self, name: &str, package: &str, modules: &[Ident]) -> Ident {
        let key = (package.to_owned(), modules.iter().map(Ident::to_string).collect());
        let mut rust = names::camel(name);
        let kept = self.styled.get(&key);
        while rust != name && kept.is_some_and(|kept| kept.contains(&rust)) {
            rust.push('_');
        }
        names::unique(rust, self.taken.entry(key).or_default())
    }

    fn service(&mut self, name: &str, home: Home<'_>) {
        let (camel, snake) = (names::camel(name), names::snake(name));
        let taken = self.taken(home.package, &[]);
        let handler = names::unique(camel.clone(), taken);
        let client = names::unique(format!("{camel}Client"), taken);
        let methods = names::unique(format!("{snake}_methods"), taken);
        let functions = self.functions.entry(home.package.to_owned()).or_default();
        let register = names::unique(format!("register_{snake}"), functions);
        let names = ServiceNames { handler, client, methods, register };
        self.registry.services.insert(join(home.package, name), names);
    }

    fn message(
        &mut self,
        message: &DescriptorProto<'_>,
        scope: &str,
        home: Home<'_>,
        modules: &[Ident],
        features: Features,
    ) {
        let name = message.name.unwrap_or_default();
        let full_name = join(scope, name);
        let features = features.overridden(message.options.and_then(|options| options.features));
        let is_map_entry = message.options.is_some_and(|options| options.map_entry == Some(true));
        let (rust, module, external) = match self.externals.origin(&full_name, home) {
            Origin::Elsewhere(rust) => (rust, names::ident(&names::module(name)), true),
            Origin::Nowhere => {
                self.absent(message, full_name);
                return;
            }
            // Entries of maps become no type and take no name.
            Origin::Here if is_map_entry => {
                let ident = names::ident(&names::camel(name));
                (RustType::generated(home.package, modules, ident.clone()), ident, false)
            }
            Origin::Here => {
                let ident = self.type_ident(name, home.package, modules);
                let taken = self.taken(home.package, modules);
                let module = names::unique(names::module(name), taken);
                (RustType::generated(home.package, modules, ident), module, false)
            }
        };
        let inner = [modules, core::slice::from_ref(&module)].concat();
        self.note_styled(home, &inner, message.nested_type, message.enum_type);
        for nested in message.nested_type {
            self.message(nested, &full_name, home, &inner, features);
        }
        for nested in message.enum_type {
            self.r#enum(nested, &full_name, home, &inner, features);
        }
        for oneof in message.oneof_decl {
            let name = oneof.name.unwrap_or_default();
            let mut rust_name = names::camel(name);
            let taken = self.taken(home.package, &inner);
            if taken.contains(&rust_name) {
                rust_name.push_str("Oneof");
            }
            let ident = names::unique(rust_name, taken);
            let rust = RustType::generated(home.package, &inner, ident);
            self.registry.oneofs.insert((full_name.clone(), name.to_owned()), rust);
        }
        self.extensions(message.extension, &full_name, home, &inner);
        let mut requires = false;
        // What another crate has at the path of an external type need not be `Eq`.
        let mut exact = !external || !self.externals.name(&full_name);
        for field in message.field {
            exact &= !matches!(field.r#type, Some(fd::Type::Double | fd::Type::Float));
            requires |=
                features.of_field(field).presence == feature_set::FieldPresence::LegacyRequired;
            if let Some(name) = field.type_name {
                self.uses.push((full_name.clone(), name.trim_start_matches('.').to_owned()));
            }
        }
        let map_entry = is_map_entry.then(|| map_entry(message)).flatten();
        let message_set = is_message_set(message);
        let entry =
            Entry::Message { rust, module, map_entry, requires, exact, message_set, external };
        self.registry.types.insert(full_name, entry);
    }

    fn r#enum(
        &mut self,
        declared: &EnumDescriptorProto<'_>,
        scope: &str,
        home: Home<'_>,
        modules: &[Ident],
        features: Features,
    ) {
        let name = declared.name.unwrap_or_default();
        let full_name = join(scope, name);
        let features = features.overridden(declared.options.and_then(|options| options.features));
        let closed = features.enums == feature_set::EnumType::Closed;
        let (rust, external) = match self.externals.origin(&full_name, home) {
            Origin::Elsewhere(rust) => (rust, true),
            Origin::Nowhere => {
                self.registry.absent.insert(full_name);
                return;
            }
            Origin::Here => {
                let ident = self.type_ident(name, home.package, modules);
                (RustType::generated(home.package, modules, ident), false)
            }
        };
        let values = value_idents(declared, closed, self.keep_enum_prefixes);
        let entry = Entry::Enum { rust, closed, values, external };
        self.registry.types.insert(full_name, entry);
    }

    fn extensions(
        &mut self,
        fields: &[FieldDescriptorProto<'_>],
        scope: &str,
        home: Home<'_>,
        modules: &[Ident],
    ) {
        for field in fields {
            if self.registry.is_absent(field.extendee.unwrap_or_default()) {
                continue;
            }
            let name = field.name.unwrap_or_default();
            let ident = names::unique(names::variant(name), self.taken(home.package, modules));
            let rust = RustType::generated(home.package, modules, ident);
            self.registry.extensions.insert(join(scope, name), rust);
        }
    }

    fn taken(&mut self, package: &str, modules: &[Ident]) -> &mut HashSet<String> {
        let modules = modules.iter().map(Ident::to_string).collect();
        self.taken.entry((package.to_owned(), modules)).or_default()
    }

    /// Notes that no code stands for a message and what is declared within.
    fn absent(&mut self, message: &DescriptorProto<'_>, full_name: String) {
        for nested in message.nested_type {
            self.absent(nested, join(&full_name, nested.name.unwrap_or_default()));
        }
        for nested in message.enum_type {
            self.registry.absent.insert(join(&full_name, nested.name.unwrap_or_default()));
        }
        self.registry.absent.insert(full_name);
    }

    /// Marks all messages that reach a `required` field, or a floating-point number, through their fields, however far.
    fn spread_requirements(&mut self) {
        let mut users = HashMap::<&str, Vec<&str>>::new();
        for (user, used) in &self.uses {
            users.entry(used).or_default().push(user);
        }
        let types = &self.registry.types;
        let requiring = |entry: &Entry| matches!(entry, Entry::Message { requires: true, .. });
        let inexact = |entry: &Entry| matches!(entry, Entry::Message { exact: false, .. });
        let (requiring, inexact) =
            (reached(types, &users, requiring), reached(types, &users, inexact));
        for name in requiring {
            if let Some(Entry::Message { requires, .. }) = self.registry.types.get_mut(&name) {
                *requires = true;
            }
        }
        for name in inexact {
            if let Some(Entry::Message { exact, .. }) = self.registry.types.get_mut(&name) {
                *exact = false;
            }
        }
    }
}

/// The messages for which `holds`, and all that use them, however far.
fn reached(
    types: &HashMap<String, Entry>,
    users: &HashMap<&str, Vec<&str>>,
    holds: impl Fn(&Entry) -> bool,
) -> HashSet<String> {
    let first = types.iter().filter(|(_, entry)| holds(entry)).map(|(name, _)| name.as_str());
    let mut open = first.collect::<Vec<_>>();
    let mut all = open.iter().map(|name| (*name).to_owned()).collect::<HashSet<_>>();
    while let Some(name) = open.pop() {
        for user in users.get(name).into_iter().flatten() {
            if all.insert((*user).to_owned()) {
                open.push(user);
            }
        }
    }
    all
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
