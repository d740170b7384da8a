//! What is known of a message type at run time.

use alloc::vec::Vec;

use super::{Cursor, scan};

/// What is known of a message type at run time: enough to say where in a message a byte lies.
#[derive(Debug)]
pub struct MessageInfo {
    name: &'static str,
    fields: &'static [FieldInfo],
}

/// What is known of a field at run time.
#[derive(Debug)]
pub struct FieldInfo {
    number: u32,
    name: &'static str,
    message: Option<fn() -> &'static MessageInfo>,
}

impl MessageInfo {
    /// Of the message with this full name (`package.Message`), with its fields in ascending order of their numbers.
    pub const fn new(name: &'static str, fields: &'static [FieldInfo]) -> Self {
        Self { name, fields }
    }

    /// The full name, as `package.Message`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The fields in ascending order of their numbers.
    pub const fn fields(&self) -> &'static [FieldInfo] {
        self.fields
    }

    /// The names on the way to the byte at `offset`, outermost first.
    ///
    /// Found afterwards, by walking over the input once more, so that decoding need not keep track.
    pub(crate) fn path_to(&self, input: &[u8], offset: usize) -> Vec<&'static str> {
        let mut path = Vec::new();
        path.push(self.name);
        let mut message = self;
        // The groups that are open: what is around each, and how long the path to that is.
        let mut around = Vec::new();
        let mut cursor = Cursor::new(input);
        let left_at = input.len().saturating_sub(offset);
        // Each turn moves on, and none twice over the same bytes but those of a length, so input bounds the loop.
        while cursor.len() >= left_at && !cursor.is_empty() {
            let start = cursor;
            let Some(Ok(tag)) = cursor.peek_varint().map(u32::try_from) else { break };
            let field = message.field(tag >> 3);
            match (tag & 7, field.and_then(|field| Some((field.name, field.message?)))) {
                (scan::END_GROUP, _) => {
                    if start.len() == left_at || cursor.len() < left_at {
                        break;
                    }
                    let Some((outer, len)) = around.pop() else { break };
                    message = outer;
                    path.truncate(len);
                    continue;
                }
                // A group is entered without looking for its end, or one in another would be looked through again.
                (scan::START_GROUP, Some((name, inner))) => {
                    around.push((message, path.len()));
                    path.push(name);
                    message = inner();
                    continue;
                }
                _ => {}
            }
            let value = cursor;
            if let Ok(next) = scan::skip_field(cursor, tag, scan::ANY_DEPTH)
                && next.len() >= left_at
                && !(next.len() == left_at && offset == input.len())
            {
                cursor = next;
                continue;
            }
            let Some(field) = field else { break };
            path.push(field.name);
            let Some(inner) = field.message else { break };
            message = inner();
            around.clear();
            // The failing byte may be the length itself.
            cursor = value;
            if cursor.peek_varint().is_none() || cursor.len() < left_at {
                break;
            }
        }
        path
    }

    fn field(&self, number: u32) -> Option<&'static FieldInfo> {
        let index = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        self.fields.get(index)
    }
}

impl FieldInfo {
    /// Of a field that holds no message.
    pub const fn scalar(number: u32, name: &'static str) -> Self {
        Self { number, name, message: None }
    }

    /// Of a field that holds messages or groups.
    pub const fn message(
        number: u32,
        name: &'static str,
        message: fn() -> &'static MessageInfo,
    ) -> Self {
        Self { number, name, message: Some(message) }
    }

    /// The field number.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The name in the `.proto` file.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}
