//! Symbols that only their own file may use, from edition 2024 on.

use super::{Checks, Result};
use crate::schema::ast::{Name, Range, Visibility};
use crate::schema::features;
use crate::schema::link::Ranges;
use crate::schema::pool::{FileId, MessageId, Target};

impl Checks<'_, '_> {
    pub(super) fn visibility(&self, ranges: &Ranges) -> Result {
        for id in ranges.fields.clone() {
            let field = &self.pool.fields[id];
            if let Some((value, name)) = self
                .pool
                .map_entry(id)
                .map(|(_, value)| (value, &self.pool.fields[value].ast.type_name))
            {
                self.usable(self.pool.fields[value].target, name)?;
            } else {
                self.usable(field.target, &field.ast.type_name)?;
            }
            if let (Some(extendee), Some(name)) = (field.extendee, &field.ast.extendee) {
                self.usable(Target::Message(extendee), name)?;
            }
        }
        if self.pool.files[self.file].features.visibility == features::STRICT {
            self.strict(ranges)?;
        }
        let ast = self.pool.files[self.file].ast;
        for (s, service) in ast.services.iter().enumerate() {
            for (m, method) in service.methods.iter().enumerate() {
                let types = &self.pool.methods[&(self.file, s, m)];
                self.usable(Target::Message(types.input), &method.input)?;
                self.usable(Target::Message(types.output), &method.output)?;
            }
        }
        Ok(())
    }

    /// Under `STRICT` nothing within a message is exported, but for enums in a local message that is there for their names:
    /// one at the top level that reserves all of its numbers at once.
    fn strict(&self, ranges: &Ranges) -> Result {
        let what = |name: &Name| {
            format!(
                "`{}` is within a message and cannot be exported under STRICT; declare it at the top level of a file",
                name.text
            )
        };
        for id in ranges.messages.clone() {
            let message = &self.pool.messages[id];
            if message.parent.is_some() && message.ast.visibility == Visibility::Export {
                return self.fault(message.ast.name.pos, what(&message.ast.name));
            }
        }
        for id in ranges.enums.clone() {
            let declared = &self.pool.enums[id];
            let Some(parent) = declared.parent.map(|parent| &self.pool.messages[parent]) else {
                continue;
            };
            let for_names = parent.parent.is_none()
                && parent.ast.visibility != Visibility::Export
                && matches!(&parent.ast.reserved[..], [all] if all.start == 1 && ends_at_max(all));
            if declared.ast.visibility == Visibility::Export && !for_names {
                return self.fault(
                    declared.ast.name.pos,
                    what(&declared.ast.name) + ", or write `reserved 1 to max` in a local message",
                );
            }
        }
        Ok(())
    }

    fn usable(&self, target: Target, name: &Name) -> Result {
        let (file, written, parent, full_name) = match target {
            Target::Message(id) => {
                let message = &self.pool.messages[id];
                (message.file, message.ast.visibility, message.parent, &message.full_name)
            }
            Target::Enum(id) => {
                let declared = &self.pool.enums[id];
                (declared.file, declared.ast.visibility, declared.parent, &declared.full_name)
            }
            Target::None => return Ok(()),
        };
        if file == self.file || self.is_exported(file, written, parent) {
            return Ok(());
        }
        let home = &self.pool.files[file].ast.name;
        self.fault(
            name.pos,
            format!("`{full_name}` is local to \"{home}\"; write `export` before its declaration"),
        )
    }

    fn is_exported(&self, file: FileId, written: Visibility, parent: Option<MessageId>) -> bool {
        match written {
            Visibility::Export => true,
            Visibility::Local => false,
            Visibility::Unset => match self.pool.files[file].features.visibility {
                features::EXPORT_ALL => true,
                features::EXPORT_TOP_LEVEL => parent.is_none(),
                _ => false,
            },
        }
    }
}

/// Whether a range of a message's numbers has the highest of them: 2^29 - 1.
fn ends_at_max(range: &Range) -> bool {
    range.to_max || range.end == 1 << 29
}
