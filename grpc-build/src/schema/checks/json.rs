//! Names of fields in JSON.

use std::collections::HashMap;

use super::{Checks, Result};
use crate::schema::emit::json_name;
use crate::schema::features;
use crate::schema::pool::MessageId;

/// The option of a message that lets names meet.
const LEGACY_JSON_CONFLICTS: i64 = 11;

impl Checks<'_, '_> {
    /// No two fields have one name: as they are made from the fields' names, and as they are set.
    pub(super) fn json_names(&self, id: MessageId) -> Result {
        let info = &self.pool.messages[id];
        if self
            .options(&info.ast.options)
            .is_some_and(|options| options.flag(LEGACY_JSON_CONFLICTS))
        {
            return Ok(());
        }
        let legacy = info.features.json == features::LEGACY_BEST_EFFORT;
        for with_set in [false, true] {
            let mut names: HashMap<String, (&str, bool)> = HashMap::new();
            for field in &info.ast.fields {
                let default = json_name(&field.name.text);
                // A name that is set to what it would be anyway counts as none.
                let set = field.json_name.as_ref().filter(|name| with_set && name.text != default);
                let is_set = set.is_some();
                let name = set.map_or(default, |name| name.text.clone());
                match names.get(&name) {
                    Some((other, other_is_set)) => {
                        // Older schemas may clash where one of the two names was made.
                        if legacy && !(is_set && *other_is_set) {
                            continue;
                        }
                        let what = format!(
                            "the JSON name `{name}` of `{}` is that of `{other}` already; set another `json_name`",
                            field.name.text
                        );
                        let pos = field.json_name.as_ref().map_or(field.name.pos, |name| name.pos);
                        return self.fault(pos, what);
                    }
                    None => {
                        names.insert(name, (&field.name.text, is_set));
                    }
                }
            }
        }
        Ok(())
    }
}
