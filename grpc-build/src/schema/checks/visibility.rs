//! Symbols that only their own file may use, from edition 2024 on.

use super::{Checks, Result};
use crate::schema::ast::{Name, Visibility};
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
