//! Whether a device is of the model that its map describes; pure.

use std::fmt;

use super::decode::{Places, Recipe};
use super::frame::ReadRequest;
use super::map::{Order, RawType, Table};
use crate::reading::{Value, ValueRef};

/// Registers that say what a device is. Where they say something else, the map's addresses mean nothing on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Input or holding registers.
    pub table: Table,
    /// Address on the wire, from 0.
    pub address: u16,
    /// A whole number of the type's own range, a text or bytes. Its [`RawType::width`] from `address` stays within 65,536.
    pub raw: RawType,
    /// Order of bytes and words.
    pub order: Order,
    /// What devices of this model have there: any of these, at least one.
    pub is: Vec<Value>,
}

impl Identity {
    /// The read of its registers.
    pub fn request(&self, unit: u8) -> Option<ReadRequest> {
        ReadRequest::new(unit, self.table, self.address, self.raw.width())
    }

    /// Judges what was read of its registers.
    ///
    /// # Errors
    /// What they have instead, for people.
    pub fn judge(&self, words: &[u16]) -> Result<(), String> {
        let recipe = Recipe::plainly(&self.raw, self.order);
        let reading = recipe.read(Places::Registers(words), None);
        match reading.value() {
            Some(value) if self.is.iter().any(|is| is.as_ref() == value) => Ok(()),
            Some(value) => Err(shown(value)),
            None => Err(reading.quality().to_string()),
        }
    }
}

impl fmt::Display for Identity {
    /// As in "holding 89 is 15240 or 15250".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is: Vec<_> = self.is.iter().map(Value::as_ref).map(shown).collect();
        let (table, address) = (self.table.as_str(), self.address);
        write!(f, "{table} {address} is {}", is.join(" or "))
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(raw: RawType, is: Vec<Value>) -> Identity {
        Identity {
            table: Table::HoldingRegister,
            address: 89,
            raw,
            order: Order::BIG,
            is,
        }
    }

    #[test]
    fn any_of_the_values_will_do_and_another_is_named() {
        let number = identity(RawType::U16, vec![Value::Int(15_240), Value::Int(15_250)]);
        assert_eq!(number.judge(&[15_250]), Ok(()));
        assert_eq!(number.judge(&[3]), Err("3".to_owned()));
        assert_eq!(number.judge(&[]), Err("invalid".to_owned()));
        assert_eq!(number.to_string(), "holding 89 is 15240 or 15250");
        let text = identity(RawType::Text(2), vec![Value::Text("SunS".into())]);
        assert_eq!(text.judge(&[0x5375, 0x6E53]), Ok(()));
        assert_eq!(text.judge(&[0x5375, 0x6E00]), Err("\"Sun\"".to_owned()));
        let signed = identity(RawType::I16, vec![Value::Int(-2)]);
        assert_eq!(signed.judge(&[0xFFFE]), Ok(()));
    }
}
