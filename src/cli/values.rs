//! Values as people and as JSON have them.

use serde_json::json;

use crate::reading::{Value, ValueRef};

/// For people; numbers in the shortest digits that say them.
pub(super) fn text(value: ValueRef<'_>) -> String {
    match value {
        Value::Bool(bit) => bit.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::F32(number) => zmij::Buffer::new().format(number).to_owned(),
        Value::F64(number) => zmij::Buffer::new().format(number).to_owned(),
        Value::Text(text) => format!("{text:?}"),
        Value::Texts(texts) => format!("[{}]", texts.join(", ")),
    }
}

/// For programs, as the messages have it.
pub(super) fn as_json(value: ValueRef<'_>) -> serde_json::Value {
    match value {
        Value::Bool(bit) => json!(bit),
        Value::Int(number) => json!(number),
        Value::UInt(number) => json!(number),
        // Its shortest digits, not those of the same number as 64 bits.
        Value::F32(number) => json!(zmij::Buffer::new().format(number).parse::<f64>().ok()),
        Value::F64(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Texts(texts) => json!(texts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_has_the_digits_of_its_own_width() {
        assert_eq!(text(Value::F32(230.1)), "230.1");
        assert_eq!(as_json(Value::F32(230.1)).to_string(), "230.1");
        assert_eq!(text(Value::Texts(&["a".into(), "b".into()])), "[a, b]");
    }
}
