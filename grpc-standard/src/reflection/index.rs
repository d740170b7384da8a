//! The names that a file declares.

use grpc_arena::{Arena, DecodeError, DecodeLimits, Schema};

use generated::{Enum, Field, File, Files, Message};

#[allow(missing_docs, unreachable_pub, dead_code)]
mod generated {
    grpc_arena::include_proto!("index");
}

/// Descriptors are part of the program: what they cost is no peer's choice.
const LIMITS: DecodeLimits =
    DecodeLimits::DEFAULT.with_arena_bytes(usize::MAX).with_unknown_fields(u32::MAX);

/// The encoded files of an encoded `FileDescriptorSet`.
pub(super) fn files<'a>(set: &'a [u8], arena: &'a Arena) -> Result<&'a [&'a [u8]], DecodeError> {
    <Files<'static> as Schema>::decode(set, arena, &LIMITS).map(|set| set.file)
}

/// A file, as far as an index needs it.
pub(super) fn file<'a>(bytes: &'a [u8], arena: &'a Arena) -> Result<File<'a>, DecodeError> {
    <File<'static> as Schema>::decode(bytes, arena, &LIMITS)
}

/// What is found in a file.
pub(super) enum Found<'n> {
    /// The full name of anything.
    Symbol(&'n str),
    /// The full name of a message, which is a symbol too.
    Message(&'n str),
    /// The extended message and the number.
    Extension(&'n str, i32),
}

/// Hands each name that `file` declares to `take`.
pub(super) fn walk(file: &File<'_>, take: &mut dyn FnMut(Found<'_>)) {
    let mut scope = file.package().to_owned();
    messages(file.message_type, &mut scope, take);
    enums(file.enum_type, &mut scope, take);
    extensions(file.extension, &mut scope, take);
    for service in file.service {
        within(&mut scope, service.name(), |scope| {
            take(Found::Symbol(scope));
            for method in service.method {
                symbol(scope, method.name(), take);
            }
        });
    }
}

/// Messages within each other: as deep as decoding allows, which is a hundred.
fn messages(declared: &[Message<'_>], scope: &mut String, take: &mut dyn FnMut(Found<'_>)) {
    for message in declared {
        within(scope, message.name(), |scope| {
            take(Found::Message(scope));
            for name in message.field.iter().map(Field::name) {
                symbol(scope, name, take);
            }
            for oneof in message.oneof_decl {
                symbol(scope, oneof.name(), take);
            }
            messages(message.nested_type, scope, take);
            enums(message.enum_type, scope, take);
            extensions(message.extension, scope, take);
        });
    }
}

/// Enums, whose values lie beside them and not within (the rule of C++).
fn enums(declared: &[Enum<'_>], scope: &mut String, take: &mut dyn FnMut(Found<'_>)) {
    for declared in declared {
        symbol(scope, declared.name(), take);
        for value in declared.value {
            symbol(scope, value.name(), take);
        }
    }
}

fn extensions(declared: &[Field<'_>], scope: &mut String, take: &mut dyn FnMut(Found<'_>)) {
    for field in declared {
        symbol(scope, field.name(), take);
        let extendee = field.extendee();
        take(Found::Extension(extendee.strip_prefix('.').unwrap_or(extendee), field.number()));
    }
}

fn symbol(scope: &mut String, name: &str, take: &mut dyn FnMut(Found<'_>)) {
    within(scope, name, |scope| take(Found::Symbol(scope)));
}

/// Appends a name to `scope` for as long as `run` runs.
fn within(scope: &mut String, name: &str, run: impl FnOnce(&mut String)) {
    let outer = scope.len();
    if outer > 0 {
        scope.push('.');
    }
    scope.push_str(name);
    run(scope);
    scope.truncate(outer);
}
