//! Messages: their numbers and names.

use std::collections::{HashMap, HashSet};

use super::{Checks, Result};
use crate::schema::ast::{Message, Pos, edition};
use crate::schema::pool::{MAX_FIELD, MessageId};

/// Numbers that protobuf's own implementations keep for themselves.
const RESERVED_FOR_PROTOBUF: std::ops::RangeInclusive<i64> = 19_000..=19_999;

/// What a number of a message is taken by.
struct Taken {
    start: i64,
    end: i64,
    what: String,
}

impl Checks<'_, '_> {
    pub(super) fn message(&self, id: MessageId) -> Result {
        let info = &self.pool.messages[id];
        let ast = info.ast;
        self.numbers(id, ast)?;
        self.names(ast)?;
        self.oneofs(ast)?;
        if info.message_set {
            if self.edition == edition::PROTO3 {
                return self.fault(
                    self.pos_of(&ast.options, "message_set_wire_format", ast.name.pos),
                    "proto3 has no MessageSets; remove `message_set_wire_format`",
                );
            }
            if let Some(field) = ast.fields.first() {
                return self.fault(
                    field.name.pos,
                    "a MessageSet has extensions and no fields; remove the field",
                );
            }
            if ast.ranges.is_empty() {
                return self.fault(
                    ast.name.pos,
                    "a MessageSet has extensions; write `extensions 4 to max;`",
                );
            }
        }
        if self.options(&ast.options).is_some_and(|options| options.fields.contains_key(&7)) {
            let what = "`map_entry` is for compilers alone; write a field `map<KEY, VALUE>`";
            return self.fault(self.pos_of(&ast.options, "map_entry", ast.name.pos), what);
        }
        self.declarations(id)?;
        self.json_names(id)
    }

    fn numbers(&self, id: MessageId, ast: &Message) -> Result {
        let mut fields: HashMap<i64, &str> = HashMap::new();
        for field in &ast.fields {
            self.field_number(field.number, field.number_pos)?;
            if let Some(other) = fields.insert(field.number, &field.name.text) {
                let what = format!(
                    "the field number {} of `{}` is that of `{other}` already; write another",
                    field.number,
                    self.message_name(id)
                );
                return self.fault(field.number_pos, what);
            }
        }
        let max =
            if self.pool.messages[id].message_set { i64::from(i32::MAX) - 1 } else { MAX_FIELD };
        let mut taken: Vec<Taken> = Vec::new();
        for range in &ast.reserved {
            let end = self.pool.range_end(self.file, ast, range);
            self.range(range.start, end, range.pos, i64::from(i32::MAX))?;
            let what = format!("the reserved range {} to {}", range.start, end - 1);
            self.overlap(&taken, range.start, end, range.pos, &what)?;
            taken.push(Taken { start: range.start, end, what });
        }
        for range in ast.ranges.iter().map(|range| &range.range) {
            let end = self.pool.range_end(self.file, ast, range);
            self.range(range.start, end, range.pos, max)?;
            let what = format!("the extension range {} to {}", range.start, end - 1);
            self.overlap(&taken, range.start, end, range.pos, &what)?;
            taken.push(Taken { start: range.start, end, what });
        }
        taken.sort_by_key(|range| range.start);
        for field in &ast.fields {
            // Those before do not overlap, so the last one that begins before the number is the only one to look at.
            let before = taken.partition_point(|range| range.start <= field.number);
            if let Some(range) = before.checked_sub(1).map(|i| &taken[i])
                && field.number < range.end
            {
                let what = format!(
                    "the field number {} lies in {}; write another",
                    field.number, range.what
                );
                return self.fault(field.number_pos, what);
            }
        }
        Ok(())
    }

    pub(super) fn field_number(&self, number: i64, pos: Pos) -> Result {
        if !(1..=MAX_FIELD).contains(&number) {
            return self
                .fault(pos, "the field number is out of range; write one from 1 to 536870911");
        }
        if RESERVED_FOR_PROTOBUF.contains(&number) {
            return self.fault(pos, "the numbers 19000 to 19999 are protobuf's own; write another");
        }
        Ok(())
    }

    fn range(&self, start: i64, end: i64, pos: Pos, max: i64) -> Result {
        if start < 1 || end - 1 > max {
            return self.fault(
                pos,
                format!("the range leaves the numbers of fields; write numbers from 1 to {max}"),
            );
        }
        if end <= start {
            return self
                .fault(pos, "the range ends before it begins; write the smaller number first");
        }
        Ok(())
    }

    fn overlap(&self, taken: &[Taken], start: i64, end: i64, pos: Pos, what: &str) -> Result {
        match taken.iter().find(|range| start < range.end && range.start < end) {
            Some(other) => self.fault(
                pos,
                format!("{what} overlaps {}; remove the numbers from one of the two", other.what),
            ),
            None => Ok(()),
        }
    }

    fn names(&self, ast: &Message) -> Result {
        let mut reserved = HashSet::new();
        for name in &ast.reserved_names {
            if !reserved.insert(name.text.as_str()) {
                return self.fault(
                    name.pos,
                    format!("the name `{}` is reserved twice; remove one of the two", name.text),
                );
            }
        }
        match ast.fields.iter().find(|field| reserved.contains(field.name.text.as_str())) {
            Some(field) => self.fault(
                field.name.pos,
                format!("the field name `{}` is reserved; write another", field.name.text),
            ),
            None => Ok(()),
        }
    }

    fn oneofs(&self, ast: &Message) -> Result {
        let mut filled = vec![false; ast.oneofs.len()];
        for oneof in ast.fields.iter().filter_map(|field| field.oneof) {
            filled[oneof as usize] = true;
        }
        match ast.oneofs.iter().zip(filled).find(|(_, filled)| !filled) {
            Some((oneof, _)) => self.fault(
                oneof.name.pos,
                format!(
                    "the oneof `{}` has no fields; declare one, or remove the oneof",
                    oneof.name.text
                ),
            ),
            None => Ok(()),
        }
    }
}
