//! Names of lines, devices, points, scan classes and upstreams.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A name as configuration allows it: ASCII letters, digits, `_` and `-`, starting with a letter.
///
/// Cheap to clone: names travel with every record.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a text is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The first character is not an ASCII letter.
    #[error("a name starts with a letter, not with {0:?}")]
    Start(char),
    /// Some character is not allowed.
    #[error("a name has letters, digits, `_` and `-` only, not {0:?}")]
    Character(char),
    /// Longer than [`Name::MAX_LEN`] bytes.
    #[error("a name has at most {max} characters, this one has {0}", max = Name::MAX_LEN)]
    Length(usize),
}

impl Name {
    /// Longest name in bytes; with it a topic of several names stays well below MQTT's 65,535.
    pub const MAX_LEN: usize = 128;

    /// Checks `text` and makes a name of it.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if !first.is_ascii_alphabetic() {
            return Err(NameError::Start(first));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if let Some(bad) = text.chars().find(|&c| !allowed(c)) {
            return Err(NameError::Character(bad));
        }
        if text.len() > Self::MAX_LEN {
            return Err(NameError::Length(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_rules_of_configuration() {
        assert_eq!(Name::new("press-plc_2").unwrap().as_str(), "press-plc_2");
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("2nd"), Err(NameError::Start('2')));
        assert_eq!(Name::new("a.b"), Err(NameError::Character('.')));
        assert_eq!(Name::new(&"a".repeat(129)), Err(NameError::Length(129)));
    }
}
