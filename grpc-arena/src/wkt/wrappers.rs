//! The wrappers of single values, to and from the values.

use super::{
    BoolValue, BytesValue, DoubleValue, FloatValue, Int32Value, Int64Value, StringValue,
    UInt32Value, UInt64Value,
};

macro_rules! wrappers {
    ($($wrapper:ident: $value:ty;)*) => {$(
        impl<'a> From<$value> for $wrapper<'a> {
            fn from(value: $value) -> Self {
                Self { value, ..Self::EMPTY }
            }
        }

        impl<'a> From<$wrapper<'a>> for $value {
            fn from(wrapper: $wrapper<'a>) -> Self {
                wrapper.value
            }
        }
    )*};
}

wrappers! {
    BoolValue: bool;
    BytesValue: &'a [u8];
    DoubleValue: f64;
    FloatValue: f32;
    Int32Value: i32;
    Int64Value: i64;
    StringValue: &'a str;
    UInt32Value: u32;
    UInt64Value: u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapper_holds_its_value() {
        assert_eq!(<&str>::from(StringValue::from("text")), "text");
        assert_eq!(i64::from(Int64Value::from(-5)), -5);
    }
}
