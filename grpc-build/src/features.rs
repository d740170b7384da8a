//! Editions: the features of a declaration, from those around it.

use crate::Error;
use crate::descriptor::{
    Edition, FeatureSet, FieldDescriptorProto, FileDescriptorProto, feature_set as f,
    field_descriptor_proto as fd,
};

/// The features that change code or wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) presence: f::FieldPresence,
    pub(crate) enums: f::EnumType,
    pub(crate) repeated: f::RepeatedFieldEncoding,
    pub(crate) messages: f::MessageEncoding,
}

impl Features {
    /// The defaults of a file: `proto2` and `proto3` are two editions before the first.
    pub(crate) fn of_file(syntax: &str, edition: Option<Edition>) -> Option<Self> {
        let modern = Self {
            presence: f::FieldPresence::Explicit,
            enums: f::EnumType::Open,
            repeated: f::RepeatedFieldEncoding::Packed,
            messages: f::MessageEncoding::LengthPrefixed,
        };
        match syntax {
            "" | "proto2" => Some(Self {
                enums: f::EnumType::Closed,
                repeated: f::RepeatedFieldEncoding::Expanded,
                ..modern
            }),
            "proto3" => Some(Self { presence: f::FieldPresence::Implicit, ..modern }),
            "editions" => match edition? {
                Edition::Edition2023 | Edition::Edition2024 => Some(modern),
                _ => None,
            },
            _ => None,
        }
    }

    /// These, with what a declaration overrides.
    #[must_use]
    pub(crate) fn overridden(mut self, with: Option<&FeatureSet<'_>>) -> Self {
        if let Some(with) = with {
            self.presence = with.field_presence.unwrap_or(self.presence);
            self.enums = with.enum_type.unwrap_or(self.enums);
            self.repeated = with.repeated_field_encoding.unwrap_or(self.repeated);
            self.messages = with.message_encoding.unwrap_or(self.messages);
        }
        self
    }

    /// Those of a field: its own features, and what proto2 and proto3 say by other means.
    #[must_use]
    pub(crate) fn of_field(self, field: &FieldDescriptorProto<'_>) -> Self {
        let mut own = self.overridden(field.options.and_then(|options| options.features));
        match field.label {
            Some(fd::Label::Required) => own.presence = f::FieldPresence::LegacyRequired,
            _ if field.proto3_optional == Some(true) => own.presence = f::FieldPresence::Explicit,
            _ => {}
        }
        if field.r#type == Some(fd::Type::Group) {
            own.messages = f::MessageEncoding::Delimited;
        }
        match field.options.and_then(|options| options.packed) {
            Some(true) => own.repeated = f::RepeatedFieldEncoding::Packed,
            Some(false) => own.repeated = f::RepeatedFieldEncoding::Expanded,
            None => {}
        }
        own
    }
}

/// The features that a file begins with.
pub(crate) fn file_features(file: &FileDescriptorProto<'_>) -> Result<Features, Error> {
    let syntax = file.syntax.unwrap_or_default();
    let features = Features::of_file(syntax, file.edition).ok_or_else(|| {
        let what = match file.edition {
            Some(edition) => format!("{edition:?}"),
            None if syntax == "editions" => match unnamed_edition(file) {
                Some(number) => format!("the edition with the number {number}"),
                None => "the syntax `editions` without an edition".to_owned(),
            },
            None => format!("the syntax `{syntax}`"),
        };
        let what = format!("{what} is not supported; proto2, proto3, 2023 and 2024 are");
        Error::at(file.name.unwrap_or_default(), None, what)
    })?;
    Ok(features.overridden(file.options.and_then(|options| options.features)))
}

/// The number of an edition that has no name here: it stays among the unknown fields.
fn unnamed_edition(file: &FileDescriptorProto<'_>) -> Option<u64> {
    let (_, varint) = file.unknown.fields().find(|(tag, _)| *tag == 14 << 3)?;
    Some(varint.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)))
}
