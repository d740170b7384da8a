//! The naming style that edition 2024 enforces.

use super::{Checks, Result};
use crate::schema::ast::{Name, Options};
use crate::schema::features::{Features, STYLE2024};
use crate::schema::link::{Ranges, features_of};

impl Checks<'_, '_> {
    pub(super) fn style(&self, ranges: &Ranges) -> Result {
        let info = &self.pool.files[self.file];
        let ast = info.ast;
        let enforced = |features: Features, options: &Options, number: i64| {
            let set = self.options(options).and_then(|options| options.message(number));
            features.overridden(set).style == STYLE2024
        };
        if info.features.style == STYLE2024
            && let Some(package) = &ast.package
            && !package.text.split('.').all(is_snake)
        {
            return self.styled(package, "a package", "lower_snake_case");
        }
        for id in ranges.messages.clone() {
            let message = &self.pool.messages[id];
            if message.ast.map_entry {
                continue;
            }
            if message.features.style == STYLE2024 && !is_title(&message.ast.name.text) {
                return self.styled(&message.ast.name, "a message", "TitleCase");
            }
            for oneof in &message.ast.oneofs {
                if enforced(message.features, &oneof.options, features_of::ONEOF)
                    && !is_snake(&oneof.name.text)
                {
                    return self.styled(&oneof.name, "a oneof", "lower_snake_case");
                }
            }
        }
        for id in ranges.fields.clone() {
            let field = &self.pool.fields[id];
            if field.features.style == STYLE2024 && !is_snake(&field.ast.name.text) {
                return self.styled(&field.ast.name, "a field", "lower_snake_case");
            }
        }
        for id in ranges.enums.clone() {
            let declared = &self.pool.enums[id];
            if declared.features.style == STYLE2024 && !is_title(&declared.ast.name.text) {
                return self.styled(&declared.ast.name, "an enum", "TitleCase");
            }
            for value in &declared.ast.values {
                if enforced(declared.features, &value.options, 2) && !is_upper(&value.name.text) {
                    return self.styled(&value.name, "an enum's value", "UPPER_SNAKE_CASE");
                }
            }
        }
        for service in &ast.services {
            if enforced(info.features, &service.options, 34) && !is_title(&service.name.text) {
                return self.styled(&service.name, "a service", "TitleCase");
            }
            let around = self.options(&service.options).and_then(|options| options.message(34));
            for method in &service.methods {
                if enforced(info.features.overridden(around), &method.options, 35)
                    && !is_title(&method.name.text)
                {
                    return self.styled(&method.name, "a method", "TitleCase");
                }
            }
        }
        Ok(())
    }

    fn styled(&self, name: &Name, what: &str, style: &str) -> Result {
        let text = &name.text;
        self.fault(name.pos, format!("`{text}`: the name of {what} is in {style}, without an underscore at an end, before a digit or beside another; rename it, or set features.enforce_naming_style = STYLE_LEGACY"))
    }
}

/// Each underscore has a letter behind it and something before it.
fn underscores_are_right(name: &str) -> bool {
    !name.starts_with('_')
        && name
            .match_indices('_')
            .all(|(at, _)| name[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn is_snake(name: &str) -> bool {
    underscores_are_right(name)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_upper(name: &str) -> bool {
    underscores_are_right(name)
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn is_title(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}
