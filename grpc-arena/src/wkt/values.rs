//! `Struct`, `Value` and `ListValue`: what JSON can say.

use super::{ListValue, NullValue, Struct, Value, value::Kind};

impl<'a> Value<'a> {
    /// JSON's null.
    pub const NULL: Self = Self::of(Kind::NullValue(NullValue::NULL_VALUE));

    const fn of(kind: Kind<'a>) -> Self {
        Self { kind: Some(kind), ..Self::EMPTY }
    }

    /// Whether it is null, said or left out.
    pub const fn is_null(&self) -> bool {
        matches!(self.kind, None | Some(Kind::NullValue(_)))
    }

    /// The number, if it is one.
    pub const fn as_f64(&self) -> Option<f64> {
        match self.kind {
            Some(Kind::NumberValue(number)) => Some(number),
            _ => None,
        }
    }

    /// The bool, if it is one.
    pub const fn as_bool(&self) -> Option<bool> {
        match self.kind {
            Some(Kind::BoolValue(value)) => Some(value),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub const fn as_str(&self) -> Option<&'a str> {
        match self.kind {
            Some(Kind::StringValue(text)) => Some(text),
            _ => None,
        }
    }

    /// The elements, if it is a list.
    pub const fn as_list(&self) -> Option<&'a [Value<'a>]> {
        match self.kind {
            Some(Kind::ListValue(list)) => Some(list.values),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub const fn as_struct(&self) -> Option<&'a Struct<'a>> {
        match self.kind {
            Some(Kind::StructValue(object)) => Some(object),
            _ => None,
        }
    }
}

impl<'a> Struct<'a> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.fields.get(key)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::of(Kind::NumberValue(number))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::of(Kind::BoolValue(value))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::of(Kind::StringValue(text))
    }
}

impl<'a> From<&'a ListValue<'a>> for Value<'a> {
    fn from(list: &'a ListValue<'a>) -> Self {
        Self::of(Kind::ListValue(list))
    }
}

impl<'a> From<&'a Struct<'a>> for Value<'a> {
    fn from(object: &'a Struct<'a>) -> Self {
        Self::of(Kind::StructValue(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arena;
    use crate::codec::Map;

    #[test]
    fn values_are_made_of_and_read_as_what_they_hold() {
        let arena = Arena::new();
        let list = ListValue { values: &[Value::NULL], ..ListValue::EMPTY };
        let fields = [
            ("n", Value::from(1.5)),
            ("b", true.into()),
            ("s", "text".into()),
            ("l", (&list).into()),
        ];
        let object = Struct { fields: Map::collect_in(fields, &arena), ..Struct::EMPTY };
        assert_eq!(object.get("n").and_then(Value::as_f64), Some(1.5));
        assert_eq!(object.get("b").and_then(Value::as_bool), Some(true));
        assert_eq!(object.get("s").and_then(Value::as_str), Some("text"));
        assert!(object.get("l").and_then(Value::as_list).is_some_and(|list| list[0].is_null()));
        assert_eq!(object.get("x"), None);
        assert_eq!(Value::from(&object).as_struct(), Some(&object));
    }
}
