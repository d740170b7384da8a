//! The rules of the language beyond grammar and names.

mod declarations;
mod editions;
mod enums;
mod fields;
mod json;
mod messages;
mod style;
mod visibility;

use super::FileFault;
use super::ast::{Options, Pos, edition};
use super::link::Ranges;
use super::pool::{FileId, MessageId, Pool};
use super::values::{Dyn, Val};

type Result<T = (), E = FileFault> = std::result::Result<T, E>;

/// Checks a file whose options are interpreted.
pub(crate) fn file(pool: &Pool<'_>, file: FileId, ranges: &Ranges) -> Result {
    let checks = Checks { pool, file, edition: pool.files[file].ast.edition };
    checks.imports()?;
    for id in ranges.messages.clone() {
        checks.message(id)?;
    }
    for id in ranges.fields.clone() {
        checks.field(id)?;
    }
    for id in ranges.enums.clone() {
        checks.r#enum(id)?;
    }
    checks.features(ranges)?;
    checks.all_options(ranges)?;
    checks.visibility(ranges)?;
    checks.style(ranges)
}

struct Checks<'p, 'a> {
    pool: &'p Pool<'a>,
    file: FileId,
    edition: i32,
}

/// `LITE_RUNTIME` of `FileOptions.OptimizeMode`, and the number of that option.
const OPTIMIZE_FOR: i64 = 9;
const LITE_RUNTIME: i64 = 3;

impl<'p> Checks<'p, '_> {
    fn fault(&self, pos: Pos, what: impl Into<String>) -> Result {
        self.pool.fault(self.file, pos, what)
    }

    fn options(&self, options: &Options) -> Option<&'p Dyn> {
        self.pool.options(self.file, options)
    }

    /// Where an option is set, else `otherwise`.
    fn pos_of(&self, options: &Options, name: &str, otherwise: Pos) -> Pos {
        let option = options
            .list
            .iter()
            .find(|option| option.name.len() == 1 && option.name[0].name == name);
        option.map_or(otherwise, |option| option.pos)
    }

    fn is_lite(&self, file: FileId) -> bool {
        let info = &self.pool.files[file];
        let options = self.pool.options(file, &info.ast.options);
        options.and_then(|options| options.int(OPTIMIZE_FOR)) == Some(LITE_RUNTIME)
    }

    /// Files for the whole runtime import none for the small one.
    fn imports(&self) -> Result {
        let info = &self.pool.files[self.file];
        if self.is_lite(self.file) {
            return Ok(());
        }
        for (import, &file) in info.ast.imports.iter().zip(&info.imports) {
            if self.is_lite(file) {
                let what = format!(
                    "\"{}\" has `optimize_for = LITE_RUNTIME`; only files that have it too can import it",
                    import.name.text
                );
                return self.fault(import.name.pos, what);
            }
        }
        Ok(())
    }

    /// What each option that is set says about where it may be set, and since when.
    fn all_options(&self, ranges: &Ranges) -> Result {
        let ast = self.pool.files[self.file].ast;
        self.targets(&ast.options, 1)?;
        for id in ranges.messages.clone() {
            let message = self.pool.messages[id].ast;
            self.targets(&message.options, 3)?;
            message.ranges.iter().try_for_each(|range| self.targets(&range.options, 2))?;
            message.oneofs.iter().try_for_each(|oneof| self.targets(&oneof.options, 5))?;
        }
        for id in ranges.fields.clone() {
            self.targets(&self.pool.fields[id].ast.options, 4)?;
        }
        for id in ranges.enums.clone() {
            let declared = self.pool.enums[id].ast;
            self.targets(&declared.options, 6)?;
            declared.values.iter().try_for_each(|value| self.targets(&value.options, 7))?;
        }
        for service in &ast.services {
            self.targets(&service.options, 8)?;
            service.methods.iter().try_for_each(|method| self.targets(&method.options, 9))?;
        }
        Ok(())
    }

    fn targets(&self, options: &Options, target: i64) -> Result {
        let (Some(set), Some(first)) = (self.options(options), options.list.first()) else {
            return Ok(());
        };
        self.targets_of(set, target, first.pos, options)
    }

    fn targets_of(&self, set: &Dyn, target: i64, pos: Pos, options: &Options) -> Result {
        for (id, values) in set.fields.values() {
            let field = &self.pool.fields[*id];
            let name = &field.ast.name.text;
            let pos = options
                .list
                .iter()
                .find(|option| {
                    option.name.iter().any(|part| part.name.rsplit('.').next() == Some(name))
                })
                .map_or(pos, |option| option.pos);
            if let Some(of_field) = self.pool.options_of_field(*id) {
                if let Some((_, targets)) = of_field.fields.get(&TARGETS)
                    && !targets
                        .iter()
                        .any(|allowed| matches!(allowed, Val::Int(value) if *value == target))
                {
                    let what = format!(
                        "the option `{name}` cannot be set on {}; set it where its `targets` allow",
                        TARGET_NAMES[target as usize - 1]
                    );
                    return self.fault(pos, what);
                }
                self.supported(of_field.message(FEATURE_SUPPORT), name, pos)?;
            }
            if let super::pool::Target::Enum(of) = field.target {
                for value in values {
                    let Val::Int(number) = value else { continue };
                    let declared = &self.pool.enums[of];
                    let value =
                        declared.ast.values.iter().find(|value| i64::from(value.number) == *number);
                    if let Some(value) = value
                        && let Some(set) = self.pool.options(declared.file, &value.options)
                    {
                        self.supported(set.message(VALUE_FEATURE_SUPPORT), &value.name.text, pos)?;
                    }
                }
            }
            for value in values {
                if let Val::Message(inner) = value {
                    self.targets_of(inner, target, pos, options)?;
                }
            }
        }
        Ok(())
    }

    /// A `FieldOptions.FeatureSupport`: the editions that have an option.
    fn supported(&self, support: Option<&Dyn>, name: &str, pos: Pos) -> Result {
        let Some(support) = support else { return Ok(()) };
        if let Some(introduced) = support.int(1)
            && i64::from(self.edition) < introduced
        {
            let what = format!(
                "`{name}` exists from {} on; remove it, or write a later edition",
                edition_name(introduced)
            );
            return self.fault(pos, what);
        }
        if let Some(removed) = support.int(4)
            && i64::from(self.edition) >= removed
        {
            let what = format!("`{name}` was removed in {}; remove it", edition_name(removed));
            return self.fault(pos, what);
        }
        Ok(())
    }

    fn message_name(&self, id: MessageId) -> &'p str {
        &self.pool.messages[id].full_name
    }

    fn is_edition(&self) -> bool {
        self.edition >= edition::E2023
    }
}

/// The numbers of options of fields that speak of options.
const TARGETS: i64 = 19;
const FEATURE_SUPPORT: i64 = 22;
const VALUE_FEATURE_SUPPORT: i64 = 4;

/// What an option can be set on, by `OptionTargetType`.
const TARGET_NAMES: [&str; 9] = [
    "a file",
    "an extension range",
    "a message",
    "a field",
    "a oneof",
    "an enum",
    "an enum's value",
    "a service",
    "a method",
];

fn edition_name(number: i64) -> String {
    match number {
        998 => "proto2".to_owned(),
        999 => "proto3".to_owned(),
        1000..=1002 => format!("edition {}", [2023, 2024, 2026][number as usize - 1000]),
        number => format!("the edition with the number {number}"),
    }
}
