//! Descriptors: a file as a `FileDescriptorProto`, encoded, fields by their numbers.

use super::ast::{
    Enum, Field, ImportKind, Label, Location, Message, Name, Options, Value, Visibility, edition,
    kind,
};
use super::options::float;
use super::pool::{FieldId, FileId, Pool, Target};
use super::{Lines, wire};

/// Where the fields and the like of a file are in the pool: they were added in the order in which they are written.
struct Emitter<'p, 'a> {
    pool: &'p Pool<'a>,
    file: FileId,
    next_field: FieldId,
}

/// Writes the descriptor of a file; with source information if its text is given.
pub(crate) fn file(
    pool: &Pool<'_>,
    file: FileId,
    first_field: FieldId,
    text: Option<&[u8]>,
) -> Vec<u8> {
    let mut emitter = Emitter { pool, file, next_field: first_field };
    let ast = pool.files[file].ast;
    let mut out = Vec::new();
    wire::string(&mut out, 1, &ast.name);
    if !ast.package().is_empty() {
        wire::string(&mut out, 2, ast.package());
    }
    let plain = || ast.imports.iter().filter(|import| import.kind != ImportKind::Option);
    for import in plain() {
        wire::string(&mut out, 3, &import.name.text);
    }
    let mut nested = Vec::new();
    for message in &ast.messages {
        wire::nested(&mut nested, 4, |out| emitter.message(message, out));
    }
    out.append(&mut nested);
    for declared in &ast.enums {
        wire::nested(&mut out, 5, |out| emitter.r#enum(declared, out));
    }
    for (s, service) in ast.services.iter().enumerate() {
        wire::nested(&mut out, 6, |out| {
            wire::string(out, 1, &service.name.text);
            for (m, method) in service.methods.iter().enumerate() {
                wire::nested(out, 2, |out| {
                    let types = &pool.methods[&(file, s, m)];
                    wire::string(out, 1, &method.name.text);
                    wire::string(out, 2, &emitter.type_name(Target::Message(types.input)));
                    wire::string(out, 3, &emitter.type_name(Target::Message(types.output)));
                    emitter.options(4, &method.options, out);
                    for (number, flag) in
                        [(5, method.client_streaming), (6, method.server_streaming)]
                    {
                        if flag {
                            wire::int(out, number, 1);
                        }
                    }
                });
            }
            emitter.options(3, &service.options, out);
        });
    }
    for field in &ast.extensions {
        wire::nested(&mut out, 7, |out| emitter.field(field, out));
    }
    emitter.options(8, &ast.options, &mut out);
    if let Some(text) = text {
        wire::nested(&mut out, 9, |out| source_info(&ast.locations, &Lines::new(text), out));
    }
    for (i, import) in plain().enumerate() {
        if import.kind == ImportKind::Public {
            wire::int(&mut out, 10, i as u64);
        }
    }
    for (i, import) in plain().enumerate() {
        if import.kind == ImportKind::Weak {
            wire::int(&mut out, 11, i as u64);
        }
    }
    match ast.edition {
        edition::PROTO2 => {}
        edition::PROTO3 => wire::string(&mut out, 12, "proto3"),
        number => {
            wire::string(&mut out, 12, "editions");
            wire::int(&mut out, 14, number as u64);
        }
    }
    for import in ast.imports.iter().filter(|import| import.kind == ImportKind::Option) {
        wire::string(&mut out, 15, &import.name.text);
    }
    out
}

impl Emitter<'_, '_> {
    fn options(&self, number: u64, options: &Options, out: &mut Vec<u8>) {
        if let Some(options) = self.pool.options(self.file, options) {
            let encoded = options.encoded(self.pool, true);
            // Those of which nothing is kept are not there.
            if !encoded.is_empty() {
                wire::bytes(out, number, &encoded);
            }
        } else if options.braces {
            wire::bytes(out, number, &[]);
        }
    }

    fn type_name(&self, target: Target) -> String {
        match target {
            Target::Message(id) => format!(".{}", self.pool.messages[id].full_name),
            Target::Enum(id) => format!(".{}", self.pool.enums[id].full_name),
            Target::None => String::new(),
        }
    }

    fn message(&mut self, message: &Message, out: &mut Vec<u8>) {
        wire::string(out, 1, &message.name.text);
        for field in &message.fields {
            wire::nested(out, 2, |out| self.field(field, out));
        }
        for nested in &message.messages {
            wire::nested(out, 3, |out| self.message(nested, out));
        }
        for nested in &message.enums {
            wire::nested(out, 4, |out| self.r#enum(nested, out));
        }
        for range in &message.ranges {
            wire::nested(out, 5, |out| {
                let range_of = &range.range;
                wire::int(out, 1, range_of.start as u64);
                wire::int(out, 2, self.pool.range_end(self.file, message, range_of) as u64);
                self.options(3, &range.options, out);
            });
        }
        for field in &message.extensions {
            wire::nested(out, 6, |out| self.field(field, out));
        }
        if message.map_entry {
            wire::bytes(out, 7, &[7 << 3, 1]);
        } else {
            self.options(7, &message.options, out);
        }
        for oneof in &message.oneofs {
            wire::nested(out, 8, |out| {
                wire::string(out, 1, &oneof.name.text);
                self.options(2, &oneof.options, out);
            });
        }
        for range in &message.reserved {
            wire::nested(out, 9, |out| {
                wire::int(out, 1, range.start as u64);
                wire::int(out, 2, self.pool.range_end(self.file, message, range) as u64);
            });
        }
        names(&message.reserved_names, 10, out);
        visibility(message.visibility, 11, out);
    }

    fn field(&mut self, ast: &Field, out: &mut Vec<u8>) {
        // Fields are taken by their place: a field knows nothing of its number in the pool.
        let id = self.next_id(ast);
        let info = &self.pool.fields[id];
        wire::string(out, 1, &ast.name.text);
        if let Some(extendee) = info.extendee.filter(|_| ast.extendee.is_some()) {
            wire::string(out, 2, &self.type_name(Target::Message(extendee)));
        }
        wire::int(out, 3, ast.number as u64);
        wire::int(out, 4, ast.label.unwrap_or(Label::Optional) as u64);
        wire::int(out, 5, info.kind as u64);
        if info.target != Target::None {
            wire::string(out, 6, &self.type_name(info.target));
        }
        if let Some((value, _)) = &ast.default {
            wire::bytes(out, 7, &default_text(info.kind, value));
        }
        self.options(8, &ast.options, out);
        if let Some(oneof) = ast.oneof {
            wire::int(out, 9, oneof.into());
        }
        match &ast.json_name {
            Some(name) => wire::string(out, 10, &name.text),
            None => wire::string(out, 10, &json_name(&ast.name.text)),
        }
        if ast.proto3_optional {
            wire::int(out, 17, 1);
        }
    }

    fn next_id(&mut self, ast: &Field) -> FieldId {
        let fields = &self.pool.fields;
        let mut id = self.next_field;
        while !std::ptr::eq(fields[id].ast, ast) {
            id += 1;
        }
        self.next_field = id + 1;
        id
    }

    fn r#enum(&self, declared: &Enum, out: &mut Vec<u8>) {
        wire::string(out, 1, &declared.name.text);
        for value in &declared.values {
            wire::nested(out, 2, |out| {
                wire::string(out, 1, &value.name.text);
                wire::int(out, 2, i64::from(value.number) as u64);
                self.options(3, &value.options, out);
            });
        }
        self.options(3, &declared.options, out);
        for range in &declared.reserved {
            wire::nested(out, 4, |out| {
                wire::int(out, 1, range.start as u64);
                wire::int(out, 2, range.end as u64);
            });
        }
        names(&declared.reserved_names, 5, out);
        visibility(declared.visibility, 6, out);
    }
}

fn names(names: &[Name], number: u64, out: &mut Vec<u8>) {
    for name in names {
        wire::string(out, number, &name.text);
    }
}

fn visibility(visibility: Visibility, number: u64, out: &mut Vec<u8>) {
    if visibility != Visibility::Unset {
        wire::int(out, number, visibility as u64);
    }
}

fn source_info(locations: &[Location], lines: &Lines<'_>, out: &mut Vec<u8>) {
    for location in locations {
        wire::nested(out, 1, |out| {
            let mut path = Vec::new();
            location.path.iter().for_each(|&part| wire::varint(&mut path, part as u64));
            if !path.is_empty() {
                wire::bytes(out, 1, &path);
            }
            let ((line, column), (end_line, end_column)) =
                (lines.place(location.start), lines.place(location.end));
            let mut span = Vec::new();
            wire::varint(&mut span, line.into());
            wire::varint(&mut span, column.into());
            if end_line != line {
                wire::varint(&mut span, end_line.into());
            }
            wire::varint(&mut span, end_column.into());
            wire::bytes(out, 2, &span);
            if let Some(text) = &location.leading {
                wire::string(out, 3, text);
            }
            if let Some(text) = &location.trailing {
                wire::string(out, 4, text);
            }
            for text in &location.detached {
                wire::string(out, 6, text);
            }
        });
    }
}

/// A field's name in JSON where none is set: without underscores, the letter behind each in upper case.
pub(crate) fn json_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for char in name.chars() {
        if char == '_' {
            upper = true;
        } else {
            out.push(if upper { char.to_ascii_uppercase() } else { char });
            upper = false;
        }
    }
    out
}

/// A default as descriptors have it. It was checked against the field's type.
fn default_text(kind: i32, value: &Value) -> Vec<u8> {
    match (kind, value) {
        (kind::BYTES, Value::Str(bytes)) => escaped(bytes),
        (_, Value::Str(bytes)) => bytes.clone(),
        (kind::DOUBLE, value) => double_text(float(value, false).unwrap_or_default()).into_bytes(),
        (kind::FLOAT, value) => {
            float_text(float(value, false).unwrap_or_default() as f32).into_bytes()
        }
        (_, Value::Int(value)) => value.to_string().into_bytes(),
        (_, Value::NegativeInt(0)) => b"0".to_vec(),
        (_, Value::NegativeInt(value)) => format!("-{value}").into_bytes(),
        (_, Value::Ident(name)) => name.clone().into_bytes(),
        _ => Vec::new(),
    }
}

/// Bytes with the escapes of C.
fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in bytes {
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            b'"' | b'\'' | b'\\' => out.extend([b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => out.extend(format!("\\{byte:03o}").as_bytes()),
        }
    }
    out
}

fn double_text(value: f64) -> String {
    special(value).unwrap_or_else(|| {
        let short = general(value, 15);
        if short.parse() == Ok(value) { short } else { general(value, 17) }
    })
}

fn float_text(value: f32) -> String {
    special(value.into()).unwrap_or_else(|| {
        let exact = f64::from(value);
        let short = general(exact, 6);
        if short.parse() == Ok(value) { short } else { general(exact, 9) }
    })
}

fn special(value: f64) -> Option<String> {
    let text = match value {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        value if value.is_nan() => "nan",
        _ => return None,
    };
    Some(text.to_owned())
}

/// What `%.*g` prints in C.
fn general(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent = exponent.parse::<i32>().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}"))
}
