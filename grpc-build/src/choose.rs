//! Which messages, services and methods are generated, when not all are.

use std::collections::{HashMap, HashSet};

use crate::Error;
use crate::descriptor::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use crate::model::{Enum, Message, Package};

/// Leaves of `packages` what `names` stand for, and the types that this needs: the messages of methods, the types of
/// fields and extensions, and the messages that types are declared in.
///
/// # Errors
/// When a name stands for nothing in the schema.
pub(crate) fn prune(
    packages: &mut Vec<Package>,
    set: &FileDescriptorSet<'_>,
    names: &[String],
) -> Result<(), Error> {
    let schema = Schema::of(set);
    let mut kept = HashSet::new();
    let mut open = Vec::new();
    for given in names {
        let name = given.trim_start_matches('.');
        let chosen = schema.nodes.keys().filter(|node| lies_in(node, name));
        let before = open.len();
        open.extend(chosen.map(String::as_str));
        if open.len() == before {
            let what = "names no package, message, enum, service or method of the schema";
            return Err(Error::new(format!("`{given}`, which is chosen, {what}")));
        }
    }
    while let Some(name) = open.pop() {
        let Some(needs) = schema.nodes.get(name) else { continue };
        if kept.insert(name) {
            open.extend(needs.iter().map(String::as_str));
            // What a type is declared in holds its module; a service needs none of its methods.
            open.extend(name.rsplit_once('.').map(|(outer, _)| outer));
        }
    }
    for package in packages.iter_mut() {
        messages(&mut package.messages, &kept);
        enums(&mut package.enums, &kept);
        package.extensions.retain(|extension| kept.contains(extension.extendee_name.as_str()));
        for service in &mut package.services {
            let name = &service.full_name;
            service.methods.retain(|method| {
                let method = method.path.rsplit('/').next().unwrap_or_default();
                kept.contains(format!("{name}.{method}").as_str())
            });
        }
        package.services.retain(|service| {
            kept.contains(service.full_name.as_str()) || !service.methods.is_empty()
        });
    }
    packages.retain(|package| {
        let types = package.messages.len() + package.enums.len();
        types + package.extensions.len() + package.services.len() > 0
    });
    Ok(())
}

fn messages(all: &mut Vec<Message>, kept: &HashSet<&str>) {
    all.retain(|message| kept.contains(message.full_name.as_str()));
    for message in all {
        messages(&mut message.messages, kept);
        enums(&mut message.enums, kept);
        message.extensions.retain(|extension| kept.contains(extension.extendee_name.as_str()));
    }
}

fn enums(all: &mut Vec<Enum>, kept: &HashSet<&str>) {
    all.retain(|declared| kept.contains(declared.full_name.as_str()));
}

/// Whether `name` is `outer` or declared in it; a service's methods count as declared in it.
fn lies_in(name: &str, outer: &str) -> bool {
    name.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn join(scope: &str, name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// The full names of all types, services and methods, each with those that it needs.
struct Schema {
    nodes: HashMap<String, Vec<String>>,
    /// What extensions need, by what they extend.
    extensions: Vec<(String, String)>,
}

impl Schema {
    fn of(set: &FileDescriptorSet<'_>) -> Self {
        let mut schema = Self { nodes: HashMap::new(), extensions: Vec::new() };
        for file in set.file {
            let scope = file.package.unwrap_or_default();
            for message in file.message_type {
                schema.message(message, scope);
            }
            for declared in file.enum_type {
                schema.nodes.insert(join(scope, declared.name), Vec::new());
            }
            schema.extensions(file.extension, None);
            for service in file.service {
                let name = join(scope, service.name);
                for method in service.method {
                    let types = [method.input_type, method.output_type];
                    let types = types.into_iter().flatten().map(plain).collect();
                    schema.nodes.insert(join(&name, method.name), types);
                }
                schema.nodes.insert(name, Vec::new());
            }
        }
        for (extendee, needed) in std::mem::take(&mut schema.extensions) {
            if let Some(needs) = schema.nodes.get_mut(&extendee) {
                needs.push(needed);
            }
        }
        schema
    }

    fn message(&mut self, message: &DescriptorProto<'_>, scope: &str) {
        let name = join(scope, message.name);
        let fields = message.field.iter().filter_map(|field| field.type_name).map(plain);
        self.nodes.insert(name.clone(), fields.collect());
        self.extensions(message.extension, Some(&name));
        for nested in message.nested_type {
            self.message(nested, &name);
        }
        for nested in message.enum_type {
            self.nodes.insert(join(&name, nested.name), Vec::new());
        }
    }

    /// Notes what extensions need that are declared in the message `scope`, whose module holds them.
    fn extensions(&mut self, fields: &[FieldDescriptorProto<'_>], scope: Option<&str>) {
        for field in fields {
            let extendee = plain(field.extendee.unwrap_or_default());
            let needs = [field.type_name.map(plain), scope.map(str::to_owned)];
            self.extensions
                .extend(needs.into_iter().flatten().map(|name| (extendee.clone(), name)));
        }
    }
}

/// A name without the dot that says it is a full one.
fn plain(name: &str) -> String {
    name.trim_start_matches('.').to_owned()
}
