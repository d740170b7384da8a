//! Features: where they may be set, and what goes together.

use super::{Checks, Result};
use crate::schema::ast::{Options, Pos, kind};
use crate::schema::features::{self, number};
use crate::schema::link::{Ranges, features_of};
use crate::schema::pool::{FieldId, Target};
use crate::schema::values::{Dyn, is_packable};

impl<'p> Checks<'p, '_> {
    fn set(&self, options: &Options, number: i64) -> Option<&'p Dyn> {
        self.options(options)?.message(number)
    }

    /// Where features are set, for errors.
    fn feature_pos(&self, options: &Options) -> Pos {
        let option = options
            .list
            .iter()
            .find(|option| option.name[0].name == "features" && !option.name[0].is_extension);
        option.map_or(0, |option| option.pos)
    }

    pub(super) fn features(&self, ranges: &Ranges) -> Result {
        let ast = self.pool.files[self.file].ast;
        let mut all = vec![(&ast.options, features_of::FILE)];
        for id in ranges.messages.clone() {
            let message = self.pool.messages[id].ast;
            all.push((&message.options, features_of::MESSAGE));
            all.extend(message.oneofs.iter().map(|oneof| (&oneof.options, features_of::ONEOF)));
            all.extend(message.ranges.iter().map(|range| (&range.options, 50)));
        }
        for id in ranges.enums.clone() {
            let declared = self.pool.enums[id].ast;
            all.push((&declared.options, features_of::ENUM));
            all.extend(declared.values.iter().map(|value| (&value.options, 2)));
        }
        all.extend(
            ranges.fields.clone().map(|id| (&self.pool.fields[id].ast.options, features_of::FIELD)),
        );
        for service in &ast.services {
            all.push((&service.options, 34));
            all.extend(service.methods.iter().map(|method| (&method.options, 35)));
        }
        for (options, number) in all {
            let Some(set) = self.set(options, number) else { continue };
            if !self.is_edition() {
                return self.fault(self.feature_pos(options), "there are features in editions only; remove the option, or write `edition = \"2023\";`");
            }
            for number in 1..=8 {
                if set.int(number) == Some(0) {
                    return self.fault(
                        self.feature_pos(options),
                        "the value of a feature is not UNKNOWN; write another",
                    );
                }
            }
        }
        if self.set(&ast.options, features_of::FILE).and_then(|set| set.int(number::PRESENCE))
            == Some(features::LEGACY_REQUIRED.into())
        {
            return self.fault(
                self.feature_pos(&ast.options),
                "presence is not required by default; set LEGACY_REQUIRED on fields",
            );
        }
        ranges.fields.clone().try_for_each(|id| self.field_features(id))
    }

    fn field_features(&self, id: FieldId) -> Result {
        let field = &self.pool.fields[id];
        let in_entry = field.parent.is_some_and(|parent| self.pool.messages[parent].ast.map_entry);
        let Some(set) = self.set(&field.ast.options, features_of::FIELD).filter(|_| !in_entry)
        else {
            return Ok(());
        };
        let fault = |what: &str| self.fault(self.feature_pos(&field.ast.options), what);
        let is_map = self.pool.map_entry(id);
        if let Some(presence) = set.int(number::PRESENCE) {
            if field.ast.oneof.is_some() && !field.is_extension() {
                return fault("fields of a oneof have presence always; remove `field_presence`");
            }
            if field.is_repeated() {
                return fault("repeated fields have no presence; remove `field_presence`");
            }
            if field.is_extension() && presence != i64::from(features::LEGACY_REQUIRED) {
                return fault("extensions have presence always; remove `field_presence`");
            }
            if matches!(field.target, Target::Message(_))
                && presence == i64::from(features::IMPLICIT)
            {
                return fault("messages have presence always; remove `field_presence`");
            }
        }
        if let Some(encoding) = set.int(number::REPEATED) {
            if !field.is_repeated() {
                return fault("only repeated fields have a `repeated_field_encoding`; remove it");
            }
            if encoding == i64::from(features::PACKED) && !is_packable(field.kind) {
                return fault(
                    "only repeated numbers, bools and enums are packed; remove `repeated_field_encoding`",
                );
            }
        }
        let value_is = |wanted: fn(i32) -> bool| match is_map {
            Some((key, value)) => [key, value].iter().any(|id| wanted(self.pool.fields[*id].kind)),
            None => wanted(field.kind),
        };
        if set.int(number::UTF8).is_some() && !value_is(|kind| kind == kind::STRING) {
            return fault("only strings have an `utf8_validation`; remove it");
        }
        if set.int(number::MESSAGE_ENCODING).is_some()
            && (is_map.is_some() || !matches!(field.target, Target::Message(_)))
        {
            return fault("only messages have a `message_encoding`; remove it");
        }
        Ok(())
    }
}
