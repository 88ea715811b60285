//! Reads a table key by key: what has the wrong type or range is logged with its place, what nobody asked for is unknown.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::log::{Finding, Log, Span};
use super::suggest::did_you_mean;
use super::tree::{Entry, Node, Table, Value};
use crate::reading::{Decimal, Name};
use crate::support::units;

/// The whole of all files in messages.
pub(super) const WHOLE: &str = "the configuration";

/// A table that is being read.
pub(super) struct Fields<'a> {
    pub(super) log: &'a Log,
    table: &'a Table,
    /// The key of the table: where something that is missing is told.
    pub(super) span: Span,
    what: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// `what`: the table in messages, as in "line `meters`".
    pub(super) fn new(log: &'a Log, table: &'a Table, span: Span, what: impl Into<String>) -> Self {
        Self {
            log,
            table,
            span,
            what: what.into(),
            known: RefCell::default(),
        }
    }

    /// The table in messages.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The entry of a key; from now on the key is known.
    pub(super) fn entry(&self, key: &'static str) -> Option<&'a Entry> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.table.get(key)
    }

    /// Where a key's value stands, or else the table.
    pub(super) fn at(&self, key: &str) -> Span {
        self.table
            .get(key)
            .map_or(self.span, |entry| entry.node.span)
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    fn read<T>(
        &self,
        key: &'static str,
        wanted: &str,
        take: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        let taken = take(&entry.node.value);
        if taken.is_none() {
            self.log.push(wrong_type(entry, wanted));
        }
        taken
    }

    pub(super) fn text(&self, key: &'static str) -> Option<&'a str> {
        self.read(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A text that is not empty.
    pub(super) fn filled_text(&self, key: &'static str) -> Option<&'a str> {
        let text = self.text(key)?;
        if text.trim().is_empty() {
            let finding = Finding::error(self.at(key), format!("`{key}` is empty"));
            self.log
                .push(finding.mend("write a text, or leave the key out"));
            return None;
        }
        Some(text)
    }

    pub(super) fn bool(&self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// A whole number within a range.
    pub(super) fn integer<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + Into<i128> + PartialOrd + Copy,
    {
        let number = self.read(key, "a whole number", |value| match value {
            Value::Integer { number, .. } => Some(*number),
            _ => None,
        })?;
        let fitting = T::try_from(number).ok().filter(|n| range.contains(n));
        if fitting.is_none() {
            let (least, most): (i128, i128) = ((*range.start()).into(), (*range.end()).into());
            let finding = Finding::error(
                self.at(key),
                format!("`{key}` must be {least} to {most}, not {number}"),
            );
            self.log
                .push(finding.mend(format!("write a number from {least} to {most}")));
        }
        fitting
    }

    /// A number with or without a fraction, exactly as written.
    pub(super) fn decimal(&self, key: &'static str) -> Option<Decimal> {
        let entry = self.entry(key)?;
        decimal(self.log, key, &entry.node)
    }

    /// A text that is a duration.
    pub(super) fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let entry = self.entry(key)?;
        duration(self.log, entry, range)
    }

    /// A text that is a size of at least so many bytes.
    pub(super) fn size(&self, key: &'static str, least: u64) -> Option<u64> {
        let entry = self.entry(key)?;
        let Value::Text(text) = &entry.node.value else {
            let mend = format!("write `{key} = \"2GiB\"`; units are {}", units::SIZE_UNITS);
            self.log
                .push(wrong_type(entry, "a size as text").mend(mend));
            return None;
        };
        match units::parse_size(text) {
            Ok(size) if size >= least => Some(size),
            Ok(_) => {
                let least = units::format_size(least);
                let reason = format!("`{key}` must be at least {least}, not {text}");
                let mend = format!("write \"{least}\" or more");
                self.log
                    .push(Finding::error(entry.node.span, reason).mend(mend));
                None
            }
            Err(error) => {
                let reason = format!("`{key} = {text:?}` is no size: {error}");
                let mend = format!("write a number and a unit: {}", units::SIZE_UNITS);
                self.log
                    .push(Finding::error(entry.node.span, reason).mend(mend));
                None
            }
        }
    }

    /// One of a list of words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let names = words.iter().map(|(word, _)| *word);
            let reason = format!("`{key}` cannot be {text:?}");
            let mend = match did_you_mean(text, names.clone()) {
                Some(near) => format!("did you mean {near:?}? It can be {}", list(names)),
                None => format!("it can be {}", list(names)),
            };
            self.log
                .push(Finding::error(self.at(key), reason).mend(mend));
        }
        found.map(|(_, value)| *value)
    }

    /// A text that follows the rules of names.
    pub(super) fn name(&self, key: &'static str) -> Option<Name> {
        let text = self.text(key)?;
        name(self.log, text, self.at(key))
    }

    pub(super) fn table(&self, key: &'static str) -> Option<(&'a Table, Span)> {
        let table = self.read(key, "a table", |value| match value {
            Value::Table(table) => Some(table),
            _ => None,
        })?;
        let span = self
            .table
            .get(key)
            .map_or(self.span, |entry| entry.key_span);
        Some((table, span))
    }

    /// The fields of a table below this one.
    pub(super) fn fields(&self, key: &'static str) -> Option<Fields<'a>> {
        let (table, span) = self.table(key)?;
        let what = match self.what.as_str() {
            WHOLE => format!("[{key}]"),
            what => format!("`{key}` of {what}"),
        };
        Some(Fields::new(self.log, table, span, what))
    }

    /// A text or a list of texts, each with its place.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<(&'a str, Span)>> {
        let entry = self.entry(key)?;
        let nodes = match &entry.node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(&entry.node),
        };
        let mut texts = Vec::new();
        for node in nodes {
            match &node.value {
                Value::Text(text) => texts.push((text.as_str(), node.span)),
                _ => self
                    .log
                    .push(wrong_type(entry, "a text or a list of texts")),
            }
        }
        Some(texts)
    }

    /// A path; a relative one is from the file that names it.
    pub(super) fn path(&self, key: &'static str) -> Option<PathBuf> {
        let text = self.filled_text(key)?;
        Some(resolve(self.log, self.at(key), text))
    }

    /// Logs that a key must be there.
    pub(super) fn missing(&self, key: &str, mend: impl Into<String>) {
        let reason = format!("{} has no `{key}`", self.what);
        self.log
            .push(Finding::absence(self.span, reason).mend(mend));
    }

    /// A key of the product that this version does not know yet: an error where it is used.
    pub(super) fn not_yet(&self, key: &'static str, mend: &str) {
        if let Some(entry) = self.entry(key) {
            let reason = format!("`{key}` is not supported yet");
            self.log
                .push(Finding::error(entry.key_span, reason).mend(mend));
        }
    }

    /// Refuses a key that means nothing here.
    pub(super) fn refuse(&self, key: &'static str, reason: impl Into<String>, mend: &str) {
        if let Some(entry) = self.entry(key) {
            self.log
                .push(Finding::error(entry.key_span, reason).mend(mend));
        }
    }

    /// Every key that nobody asked for is unknown.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for entry in self.table.in_order() {
            if !known.iter().any(|key| *key == entry.key) {
                let reason = format!("{} has no key `{}`", self.what, entry.key);
                let mend = match did_you_mean(&entry.key, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("keys are {}", known.join(", ")),
                };
                self.log
                    .push(Finding::error(entry.key_span, reason).mend(mend));
            }
        }
    }
}

/// "`a`, `b` or `c`", quoted as texts.
pub(super) fn list<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => "nothing".to_owned(),
    }
}

pub(super) fn wrong_type(entry: &Entry, wanted: &str) -> Finding {
    let reason = format!(
        "`{}` must be {wanted}, not {}",
        entry.key,
        entry.node.value.kind()
    );
    Finding::error(entry.node.span, reason)
}

/// A path; a relative one is from the file that holds the span.
pub(super) fn resolve(log: &Log, span: Span, text: &str) -> PathBuf {
    let file = log.path(span);
    let folder = file.parent().map(PathBuf::from).unwrap_or_default();
    folder.join(text)
}

pub(super) fn name(log: &Log, text: &str, span: Span) -> Option<Name> {
    let name = Name::new(text);
    if let Err(error) = &name {
        let mend = "names have letters, digits, `_` and `-`, and start with a letter";
        log.push(Finding::error(span, format!("{text:?} is no name: {error}")).mend(mend));
    }
    name.ok()
}

pub(super) fn decimal(log: &Log, key: &str, node: &Node) -> Option<Decimal> {
    let text = match &node.value {
        Value::Integer { number, .. } => number.to_string(),
        Value::Float(text) => text.clone(),
        other => {
            let reason = format!("`{key}` must be a number, not {}", other.kind());
            log.push(Finding::error(node.span, reason).mend("write a number without quotes"));
            return None;
        }
    };
    match text.parse() {
        Ok(decimal) => Some(decimal),
        Err(error) => {
            let reason = format!("`{key} = {text}` cannot be used: {error}");
            log.push(Finding::error(node.span, reason).mend("write a plain decimal number"));
            None
        }
    }
}

pub(super) fn duration(
    log: &Log,
    entry: &Entry,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let key = &entry.key;
    let Value::Text(text) = &entry.node.value else {
        let mend = match &entry.node.value {
            Value::Integer { number, .. } => {
                format!("write the unit: `{key} = \"{number}s\"` or `{key} = \"{number}ms\"`")
            }
            _ => format!("write a number and a unit: {}", units::TIME_UNITS),
        };
        log.push(wrong_type(entry, "a duration as text").mend(mend));
        return None;
    };
    match units::parse_duration(text) {
        Ok(duration) if range.contains(&duration) => Some(duration),
        Ok(_) => {
            let least = units::format_duration(*range.start());
            let most = units::format_duration(*range.end());
            let reason = format!("`{key}` must be {least} to {most}, not {text}");
            let mend = format!("write a duration from {least} to {most}");
            log.push(Finding::error(entry.node.span, reason).mend(mend));
            None
        }
        Err(error) => {
            let reason = format!("`{key} = {text:?}` is no duration: {error}");
            let mend = if text.ends_with('m') {
                "for minutes write `min`".to_owned()
            } else {
                format!("write a number and a unit: {}", units::TIME_UNITS)
            };
            log.push(Finding::error(entry.node.span, reason).mend(mend));
            None
        }
    }
}
