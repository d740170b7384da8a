//! From files to a pool whose types are found, options interpreted and rules checked.

use std::collections::HashMap;
use std::ops::Range;

use super::ast::{Enum, Field, File, ImportKind, Label, Message, Options, edition, kind};
use super::features;
use super::pool::{FieldId, FileId, MessageId, Pool, join};
use super::{FileFault, checks, emit, options};

pub(crate) struct Linked<'a> {
    pool: Pool<'a>,
    ranges: Vec<Ranges>,
}

/// What a file has added to the pool.
#[derive(Clone)]
pub(crate) struct Ranges {
    pub(crate) messages: Range<MessageId>,
    pub(crate) enums: Range<usize>,
    pub(crate) fields: Range<FieldId>,
}

impl Linked<'_> {
    /// The encoded descriptor of a file, with source information if its text is given.
    pub(crate) fn descriptor(&self, file: FileId, text: Option<&[u8]>) -> Vec<u8> {
        emit::file(&self.pool, file, self.ranges[file].fields.start, text)
    }
}

/// Links `files`, each of which comes behind its imports. `hidden` declares the options where no file does.
pub(crate) fn link<'a>(
    files: &[&'a File],
    hidden: Option<&'a File>,
) -> Result<Linked<'a>, FileFault> {
    let mut pool = Pool::default();
    let mut ranges = Vec::new();
    let mut ids = HashMap::new();
    for file in files {
        let imports = imports(&pool, file, &ids)?;
        let id = add(&mut pool, &mut ranges, file, imports, false)?;
        ids.insert(file.name.as_str(), id);
    }
    if let Some(hidden) = hidden
        && pool.message_named("google.protobuf.FileOptions").is_none()
    {
        add(&mut pool, &mut ranges, hidden, Vec::new(), true)?;
    }
    for (file, ranges) in ranges.iter().enumerate() {
        pool.resolve_types(file, ranges.fields.clone())?;
        extensions(&mut pool, file, ranges.fields.clone())?;
    }
    // Those of the hidden file first: they say how options are kept.
    let order = (0..ranges.len()).rev().filter(|&file| pool.files[file].hidden);
    let order =
        order.chain((0..ranges.len()).filter(|&file| !pool.files[file].hidden)).collect::<Vec<_>>();
    for file in order {
        interpret(&mut pool, file)?;
        resolve_features(&mut pool, file, &ranges[file]);
        if !pool.files[file].hidden {
            checks::file(&pool, file, &ranges[file])?;
        }
    }
    Ok(Linked { pool, ranges })
}

fn add<'a>(
    pool: &mut Pool<'a>,
    ranges: &mut Vec<Ranges>,
    file: &'a File,
    imports: Vec<FileId>,
    hidden: bool,
) -> Result<FileId, FileFault> {
    let (messages, enums, fields) = (pool.messages.len(), pool.enums.len(), pool.fields.len());
    let id = pool.add(file, imports, hidden).map_err(|mut fault| {
        fault.file.clone_from(&file.name);
        fault
    })?;
    ranges.push(Ranges {
        messages: messages..pool.messages.len(),
        enums: enums..pool.enums.len(),
        fields: fields..pool.fields.len(),
    });
    Ok(id)
}

fn imports(
    pool: &Pool<'_>,
    file: &File,
    ids: &HashMap<&str, FileId>,
) -> Result<Vec<FileId>, FileFault> {
    let fault = |pos, what: String| FileFault {
        file: file.name.clone(),
        fault: super::Fault::new(pos, what),
    };
    let mut out = Vec::new();
    let mut after_options = false;
    for import in &file.imports {
        let name = &import.name;
        let id = *ids.get(name.text.as_str()).ok_or_else(|| {
            fault(name.pos, format!("\"{}\" is not found; look at the name", name.text))
        })?;
        if out.contains(&id) {
            return Err(fault(
                name.pos,
                format!("\"{}\" is imported twice; remove one of the two lines", name.text),
            ));
        }
        if import.kind == ImportKind::Option {
            after_options = true;
        } else if after_options {
            return Err(fault(
                name.pos,
                "`import option` comes behind all other imports; move this line before them"
                    .to_owned(),
            ));
        }
        out.push(id);
    }
    let _ = pool;
    Ok(out)
}

fn extensions(pool: &mut Pool<'_>, file: FileId, fields: Range<FieldId>) -> Result<(), FileFault> {
    for id in fields {
        let field = &pool.fields[id];
        let Some(extendee) = field.extendee else { continue };
        let number = field.ast.number;
        match pool.extensions.get(&(extendee, number)) {
            None => {
                pool.extensions.insert((extendee, number), id);
            }
            // Files that do not know each other may use one number, as long as nobody needs both.
            Some(&other) if pool.fields[other].file == file => {
                let what = format!(
                    "the extension number {number} of `{}` is that of `{}` already; write another",
                    pool.messages[extendee].full_name, pool.fields[other].full_name
                );
                return pool.fault(file, field.ast.number_pos, what);
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Interprets all options of a file.
fn interpret(pool: &mut Pool<'_>, file: FileId) -> Result<(), FileFault> {
    let ast = pool.files[file].ast;
    let mut all = Vec::new();
    collect(ast, &mut all);
    for (kind, scope, list) in all {
        if list.list.is_empty() {
            continue;
        }
        let name = format!("google.protobuf.{kind}Options");
        let Some(message) = pool.message_named(&name) else {
            return pool.fault(file, list.list[0].pos, format!("the file that declares google.protobuf has no `{kind}Options`; use the one of protobuf"));
        };
        let interpreted = options::interpret(pool, file, &scope, message, list)?;
        pool.files[file].options[list.id as usize] = interpreted;
    }
    Ok(())
}

type Holder<'a> = (&'static str, String, &'a Options);

/// The options of all declarations of a file, with the kinds and full names of these.
fn collect<'a>(file: &'a File, out: &mut Vec<Holder<'a>>) {
    let scope = file.package();
    out.push(("File", join(scope, "file"), &file.options));
    for message in &file.messages {
        of_message(scope, message, out);
    }
    for declared in &file.enums {
        of_enum(scope, declared, out);
    }
    for service in &file.services {
        let name = join(scope, &service.name.text);
        for method in &service.methods {
            out.push(("Method", join(&name, &method.name.text), &method.options));
        }
        out.push(("Service", name, &service.options));
    }
    of_fields(scope, &file.extensions, out);
}

fn of_fields<'a>(scope: &str, fields: &'a [Field], out: &mut Vec<Holder<'a>>) {
    for field in fields {
        out.push(("Field", join(scope, &field.name.text), &field.options));
    }
}

fn of_message<'a>(scope: &str, message: &'a Message, out: &mut Vec<Holder<'a>>) {
    let name = join(scope, &message.name.text);
    out.push(("Message", name.clone(), &message.options));
    of_fields(&name, &message.fields, out);
    for oneof in &message.oneofs {
        out.push(("Oneof", join(&name, &oneof.name.text), &oneof.options));
    }
    for range in &message.ranges {
        out.push(("ExtensionRange", name.clone(), &range.options));
    }
    for nested in &message.messages {
        of_message(&name, nested, out);
    }
    for nested in &message.enums {
        of_enum(&name, nested, out);
    }
    of_fields(&name, &message.extensions, out);
}

fn of_enum<'a>(scope: &str, declared: &'a Enum, out: &mut Vec<Holder<'a>>) {
    out.push(("Enum", join(scope, &declared.name.text), &declared.options));
    for value in &declared.values {
        out.push(("EnumValue", join(scope, &value.name.text), &value.options));
    }
}

/// The numbers of the field `features` in the options of each kind of declaration.
pub(crate) mod features_of {
    pub(crate) const FILE: i64 = 50;
    pub(crate) const MESSAGE: i64 = 12;
    pub(crate) const FIELD: i64 = 21;
    pub(crate) const ONEOF: i64 = 1;
    pub(crate) const ENUM: i64 = 7;
}

/// Sets the features of all declarations of a file, each from those around it.
fn resolve_features(pool: &mut Pool<'_>, file: FileId, ranges: &Ranges) {
    let ast = pool.files[file].ast;
    let set = |pool: &Pool<'_>, options: &Options, number| {
        pool.options(file, options).and_then(|options| options.message(number)).cloned()
    };
    let of_file =
        pool.files[file].features.overridden(set(pool, &ast.options, features_of::FILE).as_ref());
    pool.files[file].features = of_file;
    for id in ranges.messages.clone() {
        let message = &pool.messages[id];
        let around = message.parent.map_or(of_file, |parent| pool.messages[parent].features);
        let own = set(pool, &message.ast.options, features_of::MESSAGE);
        pool.messages[id].features = around.overridden(own.as_ref());
    }
    for id in ranges.enums.clone() {
        let declared = &pool.enums[id];
        let around = declared.parent.map_or(of_file, |parent| pool.messages[parent].features);
        let own = set(pool, &declared.ast.options, features_of::ENUM);
        pool.enums[id].features = around.overridden(own.as_ref());
    }
    for id in ranges.fields.clone() {
        let field = &pool.fields[id];
        let mut own = field.parent.map_or(of_file, |parent| pool.messages[parent].features);
        if let (Some(parent), Some(oneof), false) =
            (field.parent, field.ast.oneof, field.is_extension())
        {
            let oneof = &pool.messages[parent].ast.oneofs[oneof as usize];
            own = own.overridden(set(pool, &oneof.options, features_of::ONEOF).as_ref());
        }
        own = own.overridden(set(pool, &field.ast.options, features_of::FIELD).as_ref());
        if ast.edition < edition::E2023 {
            match field.ast.label {
                Some(Label::Required) => own.presence = features::LEGACY_REQUIRED,
                _ if field.ast.proto3_optional => own.presence = features::EXPLICIT,
                _ => {}
            }
            if field.kind == kind::GROUP {
                own.message_encoding = features::DELIMITED;
            }
            match pool.options(file, &field.ast.options).and_then(|options| options.int(2)) {
                Some(1) => own.repeated = features::PACKED,
                Some(_) => own.repeated = features::EXPANDED,
                None => {}
            }
        }
        let in_entry = field.parent.is_some_and(|parent| pool.messages[parent].ast.map_entry);
        if in_entry || pool.map_entry(id).is_some() {
            own.message_encoding = 1;
        }
        pool.fields[id].features = own;
    }
}
