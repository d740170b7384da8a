//! Features: the defaults of an edition, and what declarations set.

use super::ast::edition;
use super::values::{Dyn, Val};

/// The features of a declaration, as the numbers of the values that `descriptor.proto` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) presence: u8,
    pub(crate) enum_type: u8,
    pub(crate) repeated: u8,
    pub(crate) utf8: u8,
    pub(crate) message_encoding: u8,
    pub(crate) json: u8,
    pub(crate) style: u8,
    pub(crate) visibility: u8,
}

pub(crate) const EXPLICIT: u8 = 1;
pub(crate) const IMPLICIT: u8 = 2;
pub(crate) const LEGACY_REQUIRED: u8 = 3;
pub(crate) const CLOSED: u8 = 2;
pub(crate) const PACKED: u8 = 1;
pub(crate) const EXPANDED: u8 = 2;
pub(crate) const DELIMITED: u8 = 2;
pub(crate) const LEGACY_BEST_EFFORT: u8 = 2;
pub(crate) const STYLE2024: u8 = 1;
pub(crate) const EXPORT_ALL: u8 = 1;
pub(crate) const EXPORT_TOP_LEVEL: u8 = 2;
pub(crate) const STRICT: u8 = 4;

/// The numbers of the fields of `FeatureSet`.
pub(crate) mod number {
    pub(crate) const PRESENCE: i64 = 1;
    pub(crate) const REPEATED: i64 = 3;
    pub(crate) const UTF8: i64 = 4;
    pub(crate) const MESSAGE_ENCODING: i64 = 5;
}

impl Features {
    pub(crate) fn of_edition(number: i32) -> Self {
        let proto2 = Self {
            presence: EXPLICIT,
            enum_type: CLOSED,
            repeated: EXPANDED,
            utf8: 3,
            message_encoding: 1,
            json: LEGACY_BEST_EFFORT,
            style: 2,
            visibility: EXPORT_ALL,
        };
        if number < edition::PROTO3 {
            return proto2;
        }
        let proto3 =
            Self { presence: IMPLICIT, enum_type: 1, repeated: PACKED, utf8: 2, json: 1, ..proto2 };
        if number < edition::E2023 {
            return proto3;
        }
        let e2023 = Self { presence: EXPLICIT, ..proto3 };
        if number < edition::E2024 {
            return e2023;
        }
        Self { style: STYLE2024, visibility: EXPORT_TOP_LEVEL, ..e2023 }
    }

    /// These, with what a `FeatureSet` sets.
    #[must_use]
    pub(crate) fn overridden(mut self, set: Option<&Dyn>) -> Self {
        let Some(set) = set else { return self };
        let slots = [
            (1, &mut self.presence),
            (2, &mut self.enum_type),
            (3, &mut self.repeated),
            (4, &mut self.utf8),
            (5, &mut self.message_encoding),
            (6, &mut self.json),
            (7, &mut self.style),
            (8, &mut self.visibility),
        ];
        for (number, slot) in slots {
            if let Some(Val::Int(value)) = set.last(number) {
                *slot = u8::try_from(*value).unwrap_or(0);
            }
        }
        self
    }
}
