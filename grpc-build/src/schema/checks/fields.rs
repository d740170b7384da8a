//! Fields: types, defaults, options that go with some types only.

use super::{Checks, Result};
use crate::schema::ast::{Label, Value, edition, kind};
use crate::schema::features;
use crate::schema::options::{float, int_range};
use crate::schema::pool::{FieldId, FieldInfo, Target};
use crate::schema::values::is_packable;

/// The numbers of options of fields.
mod number {
    pub(super) const CTYPE: i64 = 1;
    pub(super) const PACKED: i64 = 2;
    pub(super) const LAZY: i64 = 5;
    pub(super) const JSTYPE: i64 = 6;
    pub(super) const UNVERIFIED_LAZY: i64 = 15;
}

impl Checks<'_, '_> {
    pub(super) fn field(&self, id: FieldId) -> Result {
        let field = &self.pool.fields[id];
        self.default(field)?;
        self.map(id, field)?;
        self.field_options(field)?;
        if let Some(name) = &field.ast.json_name {
            if field.is_extension() {
                return self.fault(
                    name.pos,
                    "an extension has no JSON name: it goes by its full name; remove `json_name`",
                );
            }
            if name.text.contains('\0') {
                return self.fault(name.pos, "a JSON name has no zero byte; remove it");
            }
            if name.text.starts_with('[') {
                return self.fault(
                    name.pos,
                    "a JSON name does not begin with `[`, as extensions' names do; write another",
                );
            }
        }
        if field.is_extension() {
            self.extension(id, field)?;
        }
        if let Target::Enum(of) = field.target
            && self.pool.enums[of].features.enum_type == features::CLOSED
        {
            let name = &self.pool.enums[of].full_name;
            if self.edition == edition::PROTO3 {
                let what = format!(
                    "`{name}` is a closed enum, and messages of proto3 hold open ones only; use an enum of proto3"
                );
                return self.fault(field.ast.type_name.pos, what);
            }
            if self.is_edition()
                && field.features.presence == features::IMPLICIT
                && !field.is_repeated()
                && !field.is_extension()
                && field.ast.oneof.is_none()
            {
                let what = format!(
                    "`{name}` is a closed enum, and fields with implicit presence hold open ones only; set field_presence = EXPLICIT"
                );
                return self.fault(field.ast.type_name.pos, what);
            }
        }
        Ok(())
    }

    fn default(&self, field: &FieldInfo<'_>) -> Result {
        let Some((value, pos)) = &field.ast.default else { return Ok(()) };
        if field.is_repeated() {
            return self.fault(*pos, "a repeated field has no default; remove it");
        }
        let right = match (field.kind, field.target, value) {
            (_, Target::Message(_), _) | (kind::GROUP, ..) => {
                return self.fault(*pos, "a message has no default; remove it");
            }
            (_, Target::Enum(of), Value::Ident(name)) => {
                let of = &self.pool.enums[of];
                if !of.ast.values.iter().any(|value| value.name.text == *name) {
                    return self.fault(
                        *pos,
                        format!(
                            "`{}` has no value `{name}`; write one of its values",
                            of.full_name
                        ),
                    );
                }
                true
            }
            // protoc takes it, and writes a descriptor that is no valid message.
            (kind::STRING, _, Value::Str(text)) if str::from_utf8(text).is_err() => {
                return self.fault(*pos, "the default of a string is not UTF-8; write it in UTF-8, or make the field bytes");
            }
            (kind::STRING | kind::BYTES, _, Value::Str(_)) => true,
            (kind::BOOL, _, Value::Ident(name)) => name == "true" || name == "false",
            (kind::DOUBLE | kind::FLOAT, _, value) => float(value, false).is_some(),
            (kind, Target::None, Value::Int(_) | Value::NegativeInt(_))
                if !matches!(kind, kind::STRING | kind::BYTES | kind::BOOL) =>
            {
                let number = match value {
                    Value::Int(number) => i128::from(*number),
                    Value::NegativeInt(number) => -i128::from(*number),
                    _ => 0,
                };
                let (min, max) = int_range(kind);
                if !(min..=max).contains(&number) {
                    return self.fault(
                        *pos,
                        format!("the default is out of range; write a number from {min} to {max}"),
                    );
                }
                true
            }
            _ => false,
        };
        if !right {
            let what = "the default is not of the field's type; write a value of the type";
            return self.fault(*pos, what);
        }
        if self.is_edition()
            && field.features.presence == features::IMPLICIT
            && !field.is_extension()
            && field.ast.oneof.is_none()
        {
            return self.fault(*pos, "a field with implicit presence has no default; remove it, or set field_presence = EXPLICIT");
        }
        Ok(())
    }

    fn map(&self, id: FieldId, field: &FieldInfo<'_>) -> Result {
        let Some((key, value)) = self.pool.map_entry(id) else {
            // A type that a map made has no name in the language.
            if let Target::Message(of) = field.target
                && self.pool.messages[of].ast.map_entry
            {
                return self.fault(
                    field.ast.type_name.pos,
                    "the type is that of a map's entries; declare a message of your own",
                );
            }
            return Ok(());
        };
        let (key, value) = (&self.pool.fields[key], &self.pool.fields[value]);
        let what = match key.kind {
            kind::DOUBLE | kind::FLOAT | kind::BYTES => "floating-point numbers or bytes",
            kind::MESSAGE | kind::GROUP => "messages",
            kind::ENUM => "enums",
            _ => "",
        };
        if !what.is_empty() {
            return self.fault(
                key.ast.type_name.pos,
                format!("keys of maps are no {what}; use an integer, bool or string"),
            );
        }
        if let Target::Enum(of) = value.target {
            let first = self.pool.enums[of].ast.values.first();
            if first.is_some_and(|value| value.number != 0) {
                return self.fault(
                    value.ast.type_name.pos,
                    "the first value of a map's enum is 0; use another enum",
                );
            }
        }
        Ok(())
    }

    fn field_options(&self, field: &FieldInfo<'_>) -> Result {
        let Some(options) = self.options(&field.ast.options) else { return Ok(()) };
        let pos = |name| self.pos_of(&field.ast.options, name, field.ast.name.pos);
        if options.fields.contains_key(&number::PACKED) {
            if self.is_edition() {
                return self.fault(pos("packed"), "editions have no `packed`; write features.repeated_field_encoding = PACKED or EXPANDED");
            }
            if options.flag(number::PACKED) && !(field.is_repeated() && is_packable(field.kind)) {
                return self.fault(
                    pos("packed"),
                    "only repeated numbers, bools and enums are packed; remove `packed`",
                );
            }
        }
        for (number, name) in [(number::LAZY, "lazy"), (number::UNVERIFIED_LAZY, "unverified_lazy")]
        {
            if options.flag(number) && field.kind != kind::MESSAGE {
                return self.fault(pos(name), format!("only messages are lazy; remove `{name}`"));
            }
        }
        if let Some(jstype) = options.int(number::JSTYPE)
            && jstype != 0
            && !matches!(
                field.kind,
                kind::INT64 | kind::UINT64 | kind::SINT64 | kind::FIXED64 | kind::SFIXED64
            )
        {
            return self.fault(pos("jstype"), "`jstype` is for integers of 64 bits; remove it");
        }
        if self.edition >= edition::E2024 && options.fields.contains_key(&number::CTYPE) {
            return self.fault(
                pos("ctype"),
                "edition 2024 has no `ctype`; write features.(pb.cpp).string_type",
            );
        }
        Ok(())
    }

    fn extension(&self, id: FieldId, field: &FieldInfo<'_>) -> Result {
        let Some(extendee) = field.extendee else { return Ok(()) };
        let message = &self.pool.messages[extendee];
        let number = field.ast.number;
        if !message.message_set {
            self.field_number(number, field.ast.number_pos)?;
        }
        let inside = message.ast.ranges.iter().position(|range| {
            range.range.start <= number
                && number < self.pool.range_end(message.file, message.ast, &range.range)
        });
        let Some(range) = inside else {
            let what = format!(
                "`{}` has no extension number {number}; write one of its extension ranges",
                message.full_name
            );
            return self.fault(field.ast.number_pos, what);
        };
        if field.ast.label == Some(Label::Required)
            || self.is_edition() && field.features.presence == features::LEGACY_REQUIRED
        {
            return self.fault(
                field.ast.name.pos,
                "an extension is not required; write optional or repeated",
            );
        }
        if message.message_set && (field.kind != kind::MESSAGE || field.is_repeated()) {
            return self.fault(
                field.ast.type_name.pos,
                "an extension of a MessageSet is an optional message; use a message",
            );
        }
        if self.edition == edition::PROTO3 && !OPTIONS.contains(&message.full_name.as_str()) {
            let what =
                "proto3 extends the options of google.protobuf alone; use proto2 or an edition";
            return self.fault(field.ast.extendee.as_ref().map_or(0, |name| name.pos), what);
        }
        let lite = |file| self.is_lite(file);
        if lite(self.file) && !lite(message.file) && !message.message_set {
            let what = "a file for LITE_RUNTIME cannot extend messages of other files; remove `optimize_for`";
            return self.fault(field.ast.name.pos, what);
        }
        self.declared(id, extendee, range)
    }
}

/// What proto3 can extend.
const OPTIONS: [&str; 11] = [
    "google.protobuf.FileOptions",
    "google.protobuf.MessageOptions",
    "google.protobuf.FieldOptions",
    "google.protobuf.OneofOptions",
    "google.protobuf.EnumOptions",
    "google.protobuf.EnumValueOptions",
    "google.protobuf.ServiceOptions",
    "google.protobuf.MethodOptions",
    "google.protobuf.ExtensionRangeOptions",
    "google.protobuf.StreamOptions",
    "google.protobuf.FeatureSet",
];
