//! From descriptors to the model: names looked up, features inherited, Rust names chosen.

mod check;
mod defaults;
mod imports;
mod origin;
mod registry;

use std::collections::HashSet;
use std::ops::Range;

use proc_macro2::Ident;

use crate::Error;
use crate::comments::SourceInfo;
use crate::descriptor::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto, feature_set,
    field_descriptor_proto as fd, method_options::IdempotencyLevel,
};
use crate::features::{Features, file_features};
use crate::model::{
    Enum, EnumValue, Extension, Field, Idempotency, Kind, Message, Method, Oneof, Package,
    RustType, Scalar, Service, Shape,
};
use crate::names;
use registry::{Entry, Registry};

pub(crate) use imports::with_used;
#[cfg(test)]
pub(crate) use origin::WELL_KNOWN;
pub(crate) use origin::is_google;

/// The packages of those files whose names are in `wanted`, in order of their names. `externals` are pairs of a name
/// in the schema, as `.google.protobuf`, and the Rust path that stands for it. Services are left out unless `services`.
pub(crate) fn resolve(
    set: &FileDescriptorSet<'_>,
    wanted: &HashSet<String>,
    externals: &[(String, String)],
    services: bool,
    keep_enum_prefixes: bool,
) -> Result<Vec<Package>, Error> {
    let files = distinct(set);
    let named = |name: &String| files.iter().any(|file| file.name == Some(name));
    if let Some(name) = wanted.iter().filter(|name| !named(name)).min() {
        return Err(Error::at(
            name,
            None,
            "the file was asked for and is not among the descriptors",
        ));
    }
    files.iter().try_for_each(|file| check::names(file))?;
    let registry = Registry::new(&files, wanted, externals, services, keep_enum_prefixes)?;
    let mut packages = Vec::<Package>::new();
    for file in files.iter().filter(|file| file.name.is_some_and(|name| wanted.contains(name))) {
        let name = file.package.unwrap_or_default();
        let index = match packages.iter().position(|package| package.name == name) {
            Some(index) => index,
            None => {
                let modules = names::package_modules(name);
                let same = |package: &&Package| names::package_modules(&package.name) == modules;
                if let Some(other) = packages.iter().find(same) {
                    let what = format!(
                        "the packages `{}` and `{name}` are one module in Rust",
                        other.name
                    );
                    return Err(SourceInfo::of(file).error(file, &[2], what));
                }
                packages.push(Package {
                    name: name.to_owned(),
                    messages: Vec::new(),
                    enums: Vec::new(),
                    extensions: Vec::new(),
                    services: Vec::new(),
                });
                packages.len() - 1
            }
        };
        FileResolver::new(file, &registry)?.add_to(&mut packages[index])?;
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// The files of a set, each name once: sets that were put together, as by `cat`, may hold a file in several copies.
fn distinct<'s, 'a>(set: &'s FileDescriptorSet<'a>) -> Vec<&'s FileDescriptorProto<'a>> {
    let mut seen = HashSet::new();
    set.file.iter().filter(|file| seen.insert(file.name)).collect()
}

/// The numbers that fields have, extensions included.
const NUMBERS: Range<u32> = 1..1 << 29;

/// The numbers that extensions of a MessageSet have: they are values of a field, and parts of no tag.
const MESSAGE_SET_NUMBERS: Range<u32> = 1..i32::MAX as u32;

/// What users call on messages and their types: an accessor of such a name would be called in its place.
const METHODS: [&str; 7] =
    ["clone", "copy_in", "decode", "default", "encode", "encode_to_vec", "encoded_len"];

/// One file on its way into its package.
struct FileResolver<'a> {
    file: &'a FileDescriptorProto<'a>,
    registry: &'a Registry,
    source: SourceInfo<'a>,
    features: Features,
}

/// A path in the descriptor: `numbers` and then `more`.
fn path(numbers: &[i32], more: &[i32]) -> Vec<i32> {
    [numbers, more].concat()
}

fn index(i: usize) -> i32 {
    i32::try_from(i).unwrap_or(i32::MAX)
}

impl<'a> FileResolver<'a> {
    fn new(file: &'a FileDescriptorProto<'a>, registry: &'a Registry) -> Result<Self, Error> {
        Ok(Self { file, registry, source: SourceInfo::of(file), features: file_features(file)? })
    }

    fn add_to(&self, package: &mut Package) -> Result<(), Error> {
        let scope = self.file.package.unwrap_or_default();
        for (i, message) in self.file.message_type.iter().enumerate() {
            package.messages.extend(self.message(message, scope, &[4, index(i)], self.features)?);
        }
        for (i, declared) in self.file.enum_type.iter().enumerate() {
            package.enums.extend(self.r#enum(declared, scope, &[5, index(i)])?);
        }
        for (i, service) in self.file.service.iter().enumerate() {
            package.services.extend(self.service(service, scope, &[6, index(i)])?);
        }
        for (i, extension) in self.file.extension.iter().enumerate() {
            package.extensions.extend(self.extension(
                extension,
                scope,
                &[7, index(i)],
                self.features,
            )?);
        }
        Ok(())
    }

    fn error(&self, path: &[i32], message: impl std::fmt::Display) -> Error {
        self.source.error(self.file, path, message)
    }

    fn entry(&self, name: &str, path: &[i32]) -> Result<&'a Entry, Error> {
        self.registry.find(name).ok_or_else(|| {
            let plain = name.trim_start_matches('.');
            let what = if self.registry.is_absent(name) {
                "has no type in `grpc_arena::wkt`: compile its file too, or name a type by `extern_path`"
            } else {
                "is not defined"
            };
            self.error(path, format!("the type `{plain}` {what}"))
        })
    }

    /// A message that is to be generated; `None` for the entry of a map or a type that lies elsewhere.
    fn message(
        &self,
        message: &'a DescriptorProto<'a>,
        scope: &str,
        at: &[i32],
        features: Features,
    ) -> Result<Option<Message>, Error> {
        let options = message.options;
        if options.is_some_and(|options| options.map_entry == Some(true)) {
            return Ok(None);
        }
        let features = features.overridden(options.and_then(|options| options.features));
        let full_name = registry::join(scope, message.name.unwrap_or_default());
        let Entry::Message { rust, module, requires, exact, message_set, external: false, .. } =
            self.entry(&full_name, at)?
        else {
            return Ok(None);
        };
        if *message_set && self.file.syntax == Some("proto3") {
            let what = format!("`{full_name}` is a MessageSet, which proto3 has not");
            return Err(self.error(at, what));
        }
        if *message_set && !message.field.is_empty() {
            let what = format!("`{full_name}` is a MessageSet, which has extensions and no fields");
            return Err(self.error(&path(at, &[2, 0]), what));
        }
        let (fields, oneofs) = self.fields(message, &full_name, at, features)?;
        let mut out = Message {
            rust: rust.clone(),
            module: module.clone(),
            comments: self.source.comments(at),
            deprecated: options.is_some_and(|options| options.deprecated == Some(true)),
            fields,
            oneofs,
            messages: Vec::new(),
            enums: Vec::new(),
            extensions: Vec::new(),
            requires: *requires,
            exact: *exact,
            full_name,
        };
        for (i, nested) in message.nested_type.iter().enumerate() {
            out.messages.extend(self.message(
                nested,
                &out.full_name,
                &path(at, &[3, index(i)]),
                features,
            )?);
        }
        for (i, nested) in message.enum_type.iter().enumerate() {
            out.enums.extend(self.r#enum(nested, &out.full_name, &path(at, &[4, index(i)]))?);
        }
        for (i, extension) in message.extension.iter().enumerate() {
            out.extensions.extend(self.extension(
                extension,
                &out.full_name,
                &path(at, &[6, index(i)]),
                features,
            )?);
        }
        Ok(Some(out))
    }

    /// The fields of a message in order of their numbers, and its oneofs.
    fn fields(
        &self,
        message: &'a DescriptorProto<'a>,
        full_name: &str,
        at: &[i32],
        features: Features,
    ) -> Result<(Vec<Field>, Vec<Oneof>), Error> {
        let mut taken = HashSet::from(["unknown".to_owned()]);
        let real = |oneof: usize| {
            message.field.iter().any(|field| {
                field.oneof_index == Some(index(oneof)) && field.proto3_optional != Some(true)
            })
        };
        // Where each oneof of the descriptor comes to lie among those that are generated.
        let mut places = Vec::new();
        let mut oneofs = Vec::new();
        for (i, oneof) in message.oneof_decl.iter().enumerate() {
            places.push(real(i).then_some(oneofs.len()));
            if real(i) {
                let name = oneof.name.unwrap_or_default();
                let own = features.overridden(oneof.options.and_then(|options| options.features));
                let rust = self
                    .registry
                    .oneof(full_name, name)
                    .ok_or_else(|| self.error(at, "a oneof is lost"))?;
                oneofs.push((
                    own,
                    Oneof {
                        name: name.to_owned(),
                        ident: names::unique(names::snake(name), &mut taken),
                        rust: rust.clone(),
                        comments: self.source.comments(&path(at, &[8, index(i)])),
                        variants: Vec::new(),
                        borrows: false,
                        exact: true,
                    },
                ));
            }
        }
        let mut fields = Vec::new();
        for (i, field) in message.field.iter().enumerate() {
            let at = path(at, &[2, index(i)]);
            let oneof = field
                .oneof_index
                .and_then(|i| usize::try_from(i).ok())
                .and_then(|i| *places.get(i)?);
            let inherited =
                oneof.and_then(|place| oneofs.get(place)).map_or(features, |(own, _)| *own);
            let mut resolved = self.field(field, &at, inherited, NUMBERS, &mut taken)?;
            if let Some(place) = oneof {
                resolved.shape = Shape::Oneof(place);
            }
            self.check_closed(&resolved, &at, inherited)?;
            fields.push(resolved);
        }
        fields.sort_by_key(|field| field.number);
        for field in &mut fields {
            let name = field.ident.to_string();
            if METHODS.contains(&name.as_str()) {
                field.accessor = names::unique(format!("{name}_"), &mut taken);
            }
        }
        let mut oneofs = oneofs.into_iter().map(|(_, oneof)| oneof).collect::<Vec<_>>();
        for (place, oneof) in oneofs.iter_mut().enumerate() {
            let mut taken = HashSet::new();
            for (i, field) in
                fields.iter().enumerate().filter(|(_, field)| field.shape == Shape::Oneof(place))
            {
                oneof.variants.push((names::unique(names::variant(&field.name), &mut taken), i));
                oneof.borrows |= field.kind.borrows();
                oneof.exact &= field.kind.is_exact();
            }
        }
        Ok((fields, oneofs))
    }

    fn field(
        &self,
        field: &'a FieldDescriptorProto<'a>,
        at: &[i32],
        inherited: Features,
        numbers: Range<u32>,
        taken: &mut HashSet<String>,
    ) -> Result<Field, Error> {
        let features = inherited.of_field(field);
        let name = field.name.unwrap_or_default();
        let number = field.number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
        if !numbers.contains(&number) {
            return Err(self.error(at, format!("the number of the field `{name}` is out of range")));
        }
        let repeated = field.label == Some(fd::Label::Repeated);
        let (kind, shape) = match self.map_entry(field, at)? {
            Some((key, value)) => (value, Shape::Map(key)),
            None => {
                let kind = self.kind(field, features, at)?;
                let packed = features.repeated == feature_set::RepeatedFieldEncoding::Packed
                    && kind.packable();
                let shape = match features.presence {
                    _ if repeated => Shape::Repeated { packed },
                    feature_set::FieldPresence::LegacyRequired => Shape::Required,
                    feature_set::FieldPresence::Implicit
                        if !matches!(kind, Kind::Message { .. }) =>
                    {
                        Shape::Implicit
                    }
                    _ => Shape::Explicit,
                };
                (kind, shape)
            }
        };
        let default = match field.default_value {
            Some(text) => Some(self.default(text, &kind, field, at)?),
            None => None,
        };
        let ident = names::unique(names::snake(name), taken);
        Ok(Field {
            name: name.to_owned(),
            accessor: ident.clone(),
            ident,
            number,
            comments: self.source.comments(at),
            deprecated: field.options.is_some_and(|options| options.deprecated == Some(true)),
            kind,
            shape,
            redacted: field.options.is_some_and(|options| options.debug_redact == Some(true)),
            default,
        })
    }

    /// Refuses a closed enum where an absent value is a zero, which may have no name. proto3 has none at all; there the
    /// parser lets them pass.
    fn check_closed(&self, field: &Field, at: &[i32], inherited: Features) -> Result<(), Error> {
        if !matches!(field.kind, Kind::Enum { closed: true, .. }) {
            return Ok(());
        }
        let implicit = match field.shape {
            Shape::Implicit => true,
            // The value in an entry inherits what holds around it.
            Shape::Map(_) => inherited.presence == feature_set::FieldPresence::Implicit,
            _ => false,
        };
        let what = if self.file.syntax == Some("proto3") {
            "its enum is closed, and messages of proto3 have open ones only"
        } else if implicit {
            "its enum is closed, so the field needs explicit presence: its zero may have no name"
        } else {
            return Ok(());
        };
        Err(self.error(at, format!("`{}`: {what}", field.name)))
    }

    /// The kinds of key and value when the field is a map.
    fn map_entry(
        &self,
        field: &FieldDescriptorProto<'a>,
        at: &[i32],
    ) -> Result<Option<(Scalar, Kind)>, Error> {
        let Some(name) = field.type_name else { return Ok(None) };
        let Entry::Message { map_entry: Some(entry), .. } = self.entry(name, at)? else {
            return Ok(None);
        };
        let Some(key) = scalar(entry.key) else {
            return Err(self.error(at, "a map's key is no scalar"));
        };
        let kind = match &entry.value_type {
            None => match scalar(entry.value) {
                Some(value) => Kind::Scalar(value),
                None => return Err(self.error(at, "a map's value has no type")),
            },
            // Values of maps are never groups, whatever the file's features say.
            Some(name) => self.type_of(name, false, at)?,
        };
        Ok(Some((key, kind)))
    }

    fn kind(
        &self,
        field: &FieldDescriptorProto<'a>,
        features: Features,
        at: &[i32],
    ) -> Result<Kind, Error> {
        if let Some(scalar) = field.r#type.and_then(scalar) {
            return Ok(Kind::Scalar(scalar));
        }
        let name = field.type_name.ok_or_else(|| self.error(at, "the field has no type"))?;
        self.type_of(name, features.messages == feature_set::MessageEncoding::Delimited, at)
    }

    fn type_of(&self, name: &str, group: bool, at: &[i32]) -> Result<Kind, Error> {
        Ok(match self.entry(name, at)? {
            Entry::Message { rust, requires, exact, .. } => {
                Kind::Message { rust: rust.clone(), group, requires: *requires, exact: *exact }
            }
            Entry::Enum { rust, closed, values, .. } => Kind::Enum {
                rust: rust.clone(),
                closed: *closed,
                first: values.first().map(|(_, ident)| ident.clone()).ok_or_else(|| {
                    self.error(
                        at,
                        format!("the enum `{}` has no values", name.trim_start_matches('.')),
                    )
                })?,
            },
        })
    }

    /// An extension; `None` when no code stands for what it extends, as for options of one's own in descriptors.
    fn extension(
        &self,
        field: &'a FieldDescriptorProto<'a>,
        scope: &str,
        at: &[i32],
        features: Features,
    ) -> Result<Option<Extension>, Error> {
        let extendee_name = field.extendee.unwrap_or_default().trim_start_matches('.');
        if self.registry.is_absent(extendee_name) {
            return Ok(None);
        }
        let Entry::Message { rust: extendee, message_set, .. } = self.entry(extendee_name, at)?
        else {
            return Err(
                self.error(at, format!("`{extendee_name}` is no message and cannot be extended"))
            );
        };
        let full_name = registry::join(scope, field.name.unwrap_or_default());
        let rust = self
            .registry
            .extension(&full_name)
            .ok_or_else(|| self.error(at, "an extension is lost"))?;
        let numbers = if *message_set { MESSAGE_SET_NUMBERS } else { NUMBERS };
        let mut resolved = self.field(field, at, features, numbers, &mut HashSet::new())?;
        resolved.ident = names::ident("value");
        resolved.accessor = resolved.ident.clone();
        // What is absent is told from what is zero, in proto3 too.
        if resolved.shape == Shape::Implicit {
            resolved.shape = Shape::Explicit;
        }
        self.check_closed(&resolved, at, features)?;
        if *message_set {
            let message = matches!(resolved.kind, Kind::Message { group: false, .. });
            if !message || resolved.shape != Shape::Explicit {
                let what = "an extension of a MessageSet is an optional message";
                return Err(self.error(at, format!("`{full_name}`: {what}")));
            }
            resolved.shape = Shape::Item;
        }
        let comments = std::mem::take(&mut resolved.comments);
        let message = Message {
            rust: rust.clone(),
            module: names::ident(&names::snake(field.name.unwrap_or_default())),
            comments,
            deprecated: resolved.deprecated,
            requires: matches!(resolved.kind, Kind::Message { requires: true, .. }),
            exact: resolved.kind.is_exact(),
            fields: vec![resolved],
            oneofs: Vec::new(),
            messages: Vec::new(),
            enums: Vec::new(),
            extensions: Vec::new(),
            full_name,
        };
        Ok(Some(Extension {
            extendee: extendee.clone(),
            extendee_name: extendee_name.to_owned(),
            message,
        }))
    }

    fn r#enum(
        &self,
        declared: &'a EnumDescriptorProto<'a>,
        scope: &str,
        at: &[i32],
    ) -> Result<Option<Enum>, Error> {
        let full_name = registry::join(scope, declared.name.unwrap_or_default());
        let Entry::Enum { rust, closed, values, external: false } = self.entry(&full_name, at)?
        else {
            return Ok(None);
        };
        let mut numbers = HashSet::new();
        let values =
            declared.value.iter().zip(values).enumerate().map(|(i, (value, (name, ident)))| {
                EnumValue {
                    name: name.clone(),
                    ident: ident.clone(),
                    number: value.number.unwrap_or_default(),
                    comments: self.source.comments(&path(at, &[2, index(i)])),
                    deprecated: value
                        .options
                        .is_some_and(|options| options.deprecated == Some(true)),
                    alias: !numbers.insert(value.number),
                }
            });
        Ok(Some(Enum {
            rust: rust.clone(),
            comments: self.source.comments(at),
            deprecated: declared.options.is_some_and(|options| options.deprecated == Some(true)),
            closed: *closed,
            values: values.collect(),
            full_name,
        }))
    }

    /// A service; `None` when none are to be generated.
    fn service(
        &self,
        service: &'a ServiceDescriptorProto<'a>,
        scope: &str,
        at: &[i32],
    ) -> Result<Option<Service>, Error> {
        let full_name = registry::join(scope, service.name.unwrap_or_default());
        let Some(names) = self.registry.service(&full_name).cloned() else { return Ok(None) };
        let mut taken = MethodNames::new();
        let methods = service.method.iter().enumerate().map(|(i, method)| {
            self.method(method, &full_name, &path(at, &[2, index(i)]), &mut taken)
        });
        Ok(Some(Service {
            handler: names.handler,
            client: names.client,
            module: names.methods,
            register: names.register,
            comments: self.source.comments(at),
            deprecated: service.options.is_some_and(|options| options.deprecated == Some(true)),
            methods: methods.collect::<Result<_, _>>()?,
            full_name,
        }))
    }

    fn method(
        &self,
        method: &MethodDescriptorProto<'a>,
        service: &str,
        at: &[i32],
        taken: &mut MethodNames,
    ) -> Result<Method, Error> {
        let name = method.name.unwrap_or_default();
        let message = |name: Option<&str>| match self.entry(name.unwrap_or_default(), at)? {
            Entry::Message { rust, .. } => Ok::<RustType, Error>(rust.clone()),
            Entry::Enum { .. } => Err(self.error(at, "a method takes and returns messages")),
        };
        Ok(Method {
            ident: names::unique(names::snake(name), &mut taken.handler),
            stub: names::unique(names::snake(name), &mut taken.client),
            marker: names::unique(names::camel(name), &mut taken.markers),
            path: format!("/{service}/{name}"),
            comments: self.source.comments(at),
            deprecated: method.options.is_some_and(|options| options.deprecated == Some(true)),
            input: message(method.input_type)?,
            output: message(method.output_type)?,
            idempotency: match method.options.and_then(|options| options.idempotency_level) {
                Some(IdempotencyLevel::NoSideEffects) => Idempotency::NoSideEffects,
                Some(IdempotencyLevel::Idempotent) => Idempotency::Idempotent,
                _ => Idempotency::Unknown,
            },
            client_streaming: method.client_streaming == Some(true),
            server_streaming: method.server_streaming == Some(true),
        })
    }
}

/// The names that are taken by the methods of a service.
struct MethodNames {
    handler: HashSet<String>,
    client: HashSet<String>,
    markers: HashSet<String>,
}

impl MethodNames {
    fn new() -> Self {
        // Stubs have these of their own.
        let client = HashSet::from(["new".to_owned(), "channel".to_owned()]);
        Self { handler: HashSet::new(), client, markers: HashSet::new() }
    }
}

fn scalar(field_type: fd::Type) -> Option<Scalar> {
    Some(match field_type {
        fd::Type::Double => Scalar::Double,
        fd::Type::Float => Scalar::Float,
        fd::Type::Int64 => Scalar::Int64,
        fd::Type::Uint64 => Scalar::Uint64,
        fd::Type::Int32 => Scalar::Int32,
        fd::Type::Fixed64 => Scalar::Fixed64,
        fd::Type::Fixed32 => Scalar::Fixed32,
        fd::Type::Bool => Scalar::Bool,
        fd::Type::String => Scalar::Text,
        fd::Type::Bytes => Scalar::Blob,
        fd::Type::Uint32 => Scalar::Uint32,
        fd::Type::Sfixed32 => Scalar::Sfixed32,
        fd::Type::Sfixed64 => Scalar::Sfixed64,
        fd::Type::Sint32 => Scalar::Sint32,
        fd::Type::Sint64 => Scalar::Sint64,
        fd::Type::Group | fd::Type::Message | fd::Type::Enum => return None,
    })
}

impl Kind {
    /// Whether a list of these may be packed.
    pub(crate) fn packable(&self) -> bool {
        match self {
            Self::Scalar(scalar) => !matches!(scalar, Scalar::Text | Scalar::Blob),
            Self::Enum { .. } => true,
            Self::Message { .. } => false,
        }
    }

    /// Whether values equal themselves, as a NaN does not.
    pub(crate) fn is_exact(&self) -> bool {
        match self {
            Self::Scalar(scalar) => !matches!(scalar, Scalar::Double | Scalar::Float),
            Self::Enum { .. } => true,
            Self::Message { exact, .. } => *exact,
        }
    }

    /// Whether a value borrows.
    pub(crate) fn borrows(&self) -> bool {
        match self {
            Self::Scalar(scalar) => matches!(scalar, Scalar::Text | Scalar::Blob),
            Self::Enum { .. } => false,
            Self::Message { .. } => true,
        }
    }
}

/// The name of a value without that of its enum in front, `SEVERITY_INFO` in `Severity`; whole, when what is left
/// would be no name.
pub(crate) fn strip_enum_name<'n>(enum_name: &str, value: &'n str) -> &'n str {
    let prefix = names::snake(enum_name).to_ascii_uppercase();
    value
        .strip_prefix(&prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
        .unwrap_or(value)
}

/// The Rust names of an enum's values.
pub(crate) fn value_idents(
    declared: &EnumDescriptorProto<'_>,
    closed: bool,
    keep_prefixes: bool,
) -> Vec<(String, Ident)> {
    let enum_name = declared.name.unwrap_or_default();
    let styled = |name: &str| if closed { names::variant(name) } else { names::constant(name) };
    let stripped = |value: &str| styled(strip_enum_name(enum_name, value));
    let all = declared.value.iter().map(|value| value.name.unwrap_or_default());
    // Where names run into each other without their prefix, all keep it.
    let distinct = !keep_prefixes
        && all.clone().map(stripped).collect::<HashSet<_>>().len() == declared.value.len();
    let mut taken = HashSet::new();
    all.map(|name| {
        let rust = if distinct { stripped(name) } else { styled(name) };
        (name.to_owned(), names::unique(rust, &mut taken))
    })
    .collect()
}
