//! Which records go to an upstream. Pure.

use crate::reading::{Name, Record};
use crate::store::Wanted;

/// The devices of an upstream, by shell patterns.
#[derive(Debug, Clone)]
pub struct Filter(Vec<String>);

impl Filter {
    /// Devices whose name fits one of the patterns; without any pattern, all.
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Whether the record goes there. The gateway's own events go everywhere.
    pub fn admits(&self, record: &Record) -> bool {
        record
            .body
            .device()
            .is_none_or(|device| self.admits_device(device))
    }

    /// What to read for it. The gateway's own events go everywhere.
    pub fn wanted(&self) -> Wanted {
        match self.0.is_empty() {
            true => Wanted::all(),
            false => Wanted::devices({
                let this = self.clone();
                move |device| this.admits_device(device)
            }),
        }
    }

    /// Whether the device's records go there.
    pub fn admits_device(&self, device: &Name) -> bool {
        let fits = |pattern: &String| fits(pattern.as_bytes(), device.as_str().as_bytes());
        self.0.is_empty() || self.0.iter().any(fits)
    }
}

/// Whether `text` fits `pattern`: `*` stands for any characters, `?` for one; names are ASCII. On a mismatch the last
/// `*` takes one character more, so the time is at most the product of the lengths.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut text) = (pattern, text);
    let mut resume: Option<(&[u8], &[u8])> = None;
    loop {
        match (rest.split_first(), text.split_first()) {
            (Some((b'*', behind)), _) => {
                resume = Some((behind, text));
                rest = behind;
                continue;
            }
            (Some((p, behind)), Some((c, tail))) if p == c || *p == b'?' => {
                (rest, text) = (behind, tail);
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((behind, [_, tail @ ..])) = resume else {
            return false;
        };
        resume = Some((behind, tail));
        (rest, text) = (behind, tail);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn simple(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|from| simple(rest, &text[from..])),
            Some((p, rest)) => text
                .split_first()
                .is_some_and(|(c, tail)| (p == c || *p == b'?') && simple(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), simple(pattern.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn names_by_shell_patterns() {
        let admits = |patterns: &[&str], device: &str| {
            let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            Filter::new(patterns).admits_device(&Name::new(device).unwrap())
        };
        assert!(admits(&[], "press"));
        assert!(admits(&["meter-*", "press"], "meter-3"));
        assert!(admits(&["meter-*", "press"], "press"));
        assert!(!admits(&["meter-*", "press"], "press-2"));
        assert!(admits(&["meter-?"], "meter-3"));
        assert!(!admits(&["meter-?"], "meter-30"));
    }
}
