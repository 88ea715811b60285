//! The nearest of the words that would have been right.

/// The word that was probably meant: at most a third of its letters away.
pub fn did_you_mean<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // The measure is quadratic in the length; nobody meant a word this long.
    if text.len() > 128 {
        return None;
    }
    let lower = text.to_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&lower, &word.to_lowercase());
    words
        .map(|word| (distance(word), word))
        .filter(|(distance, word)| *distance <= (word.len().max(3)) / 3)
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let words = ["timeout", "retries", "unit"];
        assert_eq!(did_you_mean("timout", words.into_iter()), Some("timeout"));
        assert_eq!(did_you_mean("Unit", words.into_iter()), Some("unit"));
        assert_eq!(did_you_mean("colour", words.into_iter()), None);
    }
}
