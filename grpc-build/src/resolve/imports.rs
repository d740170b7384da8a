//! Which imported files are needed beside those that were asked for.

use std::collections::{HashMap, HashSet};

use super::distinct;
use super::origin::{Externals, Home, Origin};
use super::registry::join;
use crate::Error;
use crate::descriptor::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
};

/// The files of `wanted`, and those whose types they use, directly or through others: as the type of a field or a method,
/// or as what is extended. What lies elsewhere, as `externals` and well-known types, is not needed, nor what is imported
/// for its options alone.
pub(crate) fn with_used(
    set: &FileDescriptorSet<'_>,
    wanted: HashSet<String>,
    externals: &[(String, String)],
    services: bool,
) -> Result<HashSet<String>, Error> {
    let files = distinct(set);
    let is_wanted =
        |file: &&FileDescriptorProto<'_>| file.name.is_some_and(|it| wanted.contains(it));
    let open = files.iter().copied().filter(is_wanted).collect();
    let externals = Externals::new(externals)?;
    let mut walk = Walk { homes: HashMap::new(), externals, wanted, open };
    for file in files {
        walk.note_file(file);
    }
    while let Some(file) = walk.open.pop() {
        walk.file(file, services);
    }
    Ok(walk.wanted)
}

/// The walk over all that is generated.
struct Walk<'w> {
    /// The file of each type.
    homes: HashMap<String, &'w FileDescriptorProto<'w>>,
    externals: Externals,
    wanted: HashSet<String>,
    /// The files among `wanted` that were not walked over yet.
    open: Vec<&'w FileDescriptorProto<'w>>,
}

impl<'w> Walk<'w> {
    fn note_file(&mut self, file: &'w FileDescriptorProto<'w>) {
        let scope = file.package.unwrap_or_default();
        for declared in file.enum_type {
            self.homes.insert(join(scope, declared.name.unwrap_or_default()), file);
        }
        for message in file.message_type {
            self.note_message(message, scope, file);
        }
    }

    fn note_message(
        &mut self,
        message: &DescriptorProto<'_>,
        scope: &str,
        file: &'w FileDescriptorProto<'w>,
    ) {
        let full_name = join(scope, message.name.unwrap_or_default());
        for declared in message.enum_type {
            self.homes.insert(join(&full_name, declared.name.unwrap_or_default()), file);
        }
        for nested in message.nested_type {
            self.note_message(nested, &full_name, file);
        }
        self.homes.insert(full_name, file);
    }

    fn file(&mut self, file: &FileDescriptorProto<'_>, services: bool) {
        let scope = file.package.unwrap_or_default();
        for message in file.message_type {
            self.message(message, scope);
        }
        self.extensions(file.extension);
        for method in file.service.iter().filter(|_| services).flat_map(|service| service.method) {
            self.used(method.input_type);
            self.used(method.output_type);
        }
    }

    fn message(&mut self, message: &DescriptorProto<'_>, scope: &str) {
        let full_name = join(scope, message.name.unwrap_or_default());
        if !matches!(self.origin(Some(&full_name)), Some((Origin::Here, _))) {
            return;
        }
        for field in message.field {
            self.used(field.type_name);
        }
        for nested in message.nested_type {
            self.message(nested, &full_name);
        }
        self.extensions(message.extension);
    }

    fn extensions(&mut self, fields: &[FieldDescriptorProto<'_>]) {
        for field in fields {
            // Without a type to extend there is no extension, as for options of one's own.
            if !matches!(self.origin(field.extendee), Some((Origin::Nowhere, _))) {
                self.used(field.extendee);
                self.used(field.type_name);
            }
        }
    }

    /// Where the code of a type is, and the file that it is declared in.
    fn origin(&self, name: Option<&str>) -> Option<(Origin, &'w FileDescriptorProto<'w>)> {
        let name = name?.trim_start_matches('.');
        let file = *self.homes.get(name)?;
        Some((self.externals.origin(name, Home::of(file, &self.wanted)), file))
    }

    /// Notes that the code of a type is needed.
    fn used(&mut self, name: Option<&str>) {
        if let Some((Origin::Here, file)) = self.origin(name)
            && let Some(name) = file.name
            && self.wanted.insert(name.to_owned())
        {
            self.open.push(file);
        }
    }
}
