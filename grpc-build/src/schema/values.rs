//! Messages whose types are declared in the schema itself: options.

use std::collections::BTreeMap;

use super::ast::kind;
use super::features;
use super::pool::{FieldId, MessageId, Pool, Target};
use super::wire;

/// A message: the values of its fields by their numbers.
#[derive(Clone, Debug)]
pub(crate) struct Dyn {
    pub(crate) message: MessageId,
    pub(crate) fields: BTreeMap<i64, (FieldId, Vec<Val>)>,
}

/// One value.
#[derive(Clone, Debug)]
pub(crate) enum Val {
    /// Of an integer, a bool or an enum.
    Int(i64),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
    Message(Dyn),
    /// Of the bytes field of an Any.
    Packed(Dyn),
}

/// The option in `FieldOptions` that says where an option is kept.
const RETENTION: i64 = 17;
const RETENTION_SOURCE: i64 = 2;

impl Dyn {
    pub(crate) fn new(message: MessageId) -> Self {
        Self { message, fields: BTreeMap::new() }
    }

    pub(crate) fn last(&self, number: i64) -> Option<&Val> {
        self.fields.get(&number)?.1.last()
    }

    pub(crate) fn int(&self, number: i64) -> Option<i64> {
        match self.last(number)? {
            Val::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, number: i64) -> bool {
        self.int(number) == Some(1)
    }

    pub(crate) fn text(&self, number: i64) -> Option<&[u8]> {
        match self.last(number)? {
            Val::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn message(&self, number: i64) -> Option<&Dyn> {
        match self.last(number)? {
            Val::Message(message) => Some(message),
            _ => None,
        }
    }

    pub(crate) fn messages(&self, number: i64) -> impl Iterator<Item = &Dyn> {
        self.fields.get(&number).into_iter().flat_map(|(_, values)| values).filter_map(|value| {
            match value {
                Val::Message(message) => Some(message),
                _ => None,
            }
        })
    }

    pub(crate) fn push(&mut self, number: i64, field: FieldId, value: Val) {
        self.fields.entry(number).or_insert_with(|| (field, Vec::new())).1.push(value);
    }

    /// Writes the message: fields by number, without those that `strip` leaves out: options that are kept in the source
    /// alone.
    pub(crate) fn encode(&self, pool: &Pool<'_>, strip: bool, out: &mut Vec<u8>) {
        let message_set = pool.messages[self.message].message_set;
        for (&number, (field, values)) in &self.fields {
            let retention =
                pool.options_of_field(*field).and_then(|options| options.int(RETENTION));
            if strip && retention == Some(RETENTION_SOURCE) {
                continue;
            }
            if message_set && let Some(Val::Message(message)) = values.last() {
                wire::tag(out, 1, 3);
                wire::int(out, 2, number as u64);
                wire::bytes(out, 3, &message.encoded(pool, strip));
                wire::tag(out, 1, 4);
                continue;
            }
            encode_field(pool, *field, number, values, strip, out);
        }
    }

    pub(crate) fn encoded(&self, pool: &Pool<'_>, strip: bool) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(pool, strip, &mut out);
        out
    }
}

fn encode_field(
    pool: &Pool<'_>,
    id: FieldId,
    number: i64,
    values: &[Val],
    strip: bool,
    out: &mut Vec<u8>,
) {
    let field = &pool.fields[id];
    if pool.map_entry(id).is_some() {
        return encode_map(pool, id, number, values, strip, out);
    }
    if field.is_repeated() && field.features.repeated == features::PACKED && is_packable(field.kind)
    {
        let mut packed = Vec::new();
        for value in values {
            encode_scalar(field.kind, value, &mut packed);
        }
        return wire::bytes(out, number as u64, &packed);
    }
    // The last one counts where there is one.
    let values =
        if field.is_repeated() { values } else { &values[values.len().saturating_sub(1)..] };
    let implicit = !field.is_repeated()
        && field.features.presence == features::IMPLICIT
        && field.ast.oneof.is_none()
        && !field.is_extension();
    let delimited = field.features.message_encoding == features::DELIMITED;
    for value in values {
        match value {
            Val::Message(message) if delimited => {
                wire::tag(out, number as u64, 3);
                message.encode(pool, strip, out);
                wire::tag(out, number as u64, 4);
            }
            Val::Message(message) => wire::bytes(out, number as u64, &message.encoded(pool, strip)),
            value if implicit && is_zero(value) => {}
            Val::Bytes(bytes) => wire::bytes(out, number as u64, bytes),
            Val::Packed(message) => wire::bytes(out, number as u64, &message.encoded(pool, strip)),
            value => {
                wire::tag(out, number as u64, wire_type(field.kind));
                encode_scalar(field.kind, value, out);
            }
        }
    }
}

/// The entries as they are written, each with its key and its value.
fn encode_map(
    pool: &Pool<'_>,
    id: FieldId,
    number: i64,
    values: &[Val],
    strip: bool,
    out: &mut Vec<u8>,
) {
    let Some((key, value)) = pool.map_entry(id) else { return };
    let default = |field: FieldId| match (pool.fields[field].kind, pool.fields[field].target) {
        (kind::DOUBLE, _) => Val::Double(0.0),
        (kind::FLOAT, _) => Val::Float(0.0),
        (kind::STRING | kind::BYTES, _) => Val::Bytes(Vec::new()),
        (_, Target::Message(message)) => Val::Message(Dyn::new(message)),
        (_, Target::Enum(id)) => {
            Val::Int(pool.enums[id].ast.values.first().map_or(0, |value| value.number.into()))
        }
        _ => Val::Int(0),
    };
    for entry in values {
        let Val::Message(entry) = entry else { continue };
        let first = entry.last(1).cloned().unwrap_or_else(|| default(key));
        let second = entry.last(2).cloned().unwrap_or_else(|| default(value));
        let mut entry = Vec::new();
        for (id, number, value) in [(key, 1, first), (value, 2, second)] {
            let kind = pool.fields[id].kind;
            match &value {
                Val::Message(message) => {
                    wire::bytes(&mut entry, number, &message.encoded(pool, strip))
                }
                Val::Bytes(bytes) => wire::bytes(&mut entry, number, bytes),
                value => {
                    wire::tag(&mut entry, number, wire_type(kind));
                    encode_scalar(kind, value, &mut entry);
                }
            }
        }
        wire::bytes(out, number as u64, &entry);
    }
}

fn is_zero(value: &Val) -> bool {
    match value {
        Val::Int(value) => *value == 0,
        Val::Float(value) => value.to_bits() == 0,
        Val::Double(value) => value.to_bits() == 0,
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::Message(_) | Val::Packed(_) => false,
    }
}

pub(crate) fn is_packable(kind: i32) -> bool {
    !matches!(kind, kind::STRING | kind::BYTES | kind::MESSAGE | kind::GROUP)
}

fn wire_type(kind: i32) -> u64 {
    match kind {
        kind::DOUBLE | kind::FIXED64 | kind::SFIXED64 => 1,
        kind::FLOAT | kind::FIXED32 | kind::SFIXED32 => 5,
        _ => 0,
    }
}

fn encode_scalar(kind: i32, value: &Val, out: &mut Vec<u8>) {
    match (kind, value) {
        (_, Val::Float(value)) => out.extend(value.to_bits().to_le_bytes()),
        (_, Val::Double(value)) => out.extend(value.to_bits().to_le_bytes()),
        (kind::FIXED64 | kind::SFIXED64, Val::Int(value)) => out.extend(value.to_le_bytes()),
        (kind::FIXED32 | kind::SFIXED32, Val::Int(value)) => {
            out.extend((*value as u32).to_le_bytes())
        }
        (kind::SINT32 | kind::SINT64, Val::Int(value)) => {
            wire::varint(out, ((value << 1) ^ (value >> 63)) as u64);
        }
        (_, Val::Int(value)) => wire::varint(out, *value as u64),
        _ => {}
    }
}
