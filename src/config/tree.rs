//! A file as a tree in which every key and value knows its place; several files merged into one tree.

use std::collections::BTreeMap;
use std::collections::btree_map;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::log::{Finding, Log, SYNTAX, Span};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

/// The values of TOML. Numbers keep what was written, so that `0.1` stays a tenth.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer { number: i128, hex: bool },
    Float(String),
    Bool(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What kind of value it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer { .. } => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "true or false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A key, its place, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

/// The entries of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    entries: BTreeMap<String, Entry>,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The entries as they stand in the files.
    pub(super) fn in_order(&self) -> Vec<&Entry> {
        let mut entries: Vec<_> = self.entries.values().collect();
        entries.sort_by_key(|entry| entry.key_span);
        entries
    }
}

/// Reads a file's text; syntax errors go to the log, what could be read is returned.
pub(super) fn parse(log: &Log, file: Span, text: &str) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let span = file.within(span.start, span.end);
        let mut finding = Finding::error(span, format!("{SYNTAX}{}", error.message()));
        if let Some(first) = first_of_duplicate(text, &error) {
            finding = finding.also(file.within(first, first + 1), "first given here");
        }
        if let Some(mend) = mend_of(error.message()) {
            finding = finding.mend(mend);
        }
        log.syntax(finding);
    }
    convert_table(file, table.into_inner())
}

/// What mends the commonest slips.
fn mend_of(message: &str) -> Option<&'static str> {
    if message == "duplicate key" {
        Some("remove one of the two")
    } else if message.starts_with("string values must be quoted") {
        Some("write it in quotes")
    } else if message.contains("basic string") || message.contains("literal string") {
        Some("close the quotes on the same line")
    } else if message.starts_with("key with no value") {
        Some("write it as key = value")
    } else {
        None
    }
}

fn convert_table(file: Span, table: DeTable<'_>) -> Table {
    let mut entries = BTreeMap::new();
    for (key, value) in table {
        let key_span = span_of(file, &key);
        let key = key.into_inner().into_owned();
        let entry = Entry {
            key: key.clone(),
            key_span,
            node: convert(file, value),
        };
        entries.insert(key, entry);
    }
    Table { entries }
}

fn convert(file: Span, value: Spanned<DeValue<'_>>) -> Node {
    let span = span_of(file, &value);
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => Value::Integer {
            // Beyond 128 bits it is out of every range, whichever end stands for it.
            number: i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX),
            hex: integer.radix() != 10,
        },
        DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(list) => {
            Value::List(list.into_iter().map(|node| convert(file, node)).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(file, table)),
    };
    Node { value, span }
}

fn span_of<T>(file: Span, spanned: &Spanned<T>) -> Span {
    let span = spanned.span();
    file.within(span.start, span.end)
}

/// Where a key or table header that the parser refuses as a duplicate stands first.
fn first_of_duplicate(text: &str, error: &toml::de::Error) -> Option<usize> {
    if error.message() != "duplicate key" {
        return None;
    }
    let at = error.span()?;
    let before = text.get(..at.start)?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(line_start..)?.lines().next()?.trim();
    let is_header = line.starts_with('[');
    let key = text.get(at.start..at.end)?;
    let mut offset = line_start;
    for earlier in text.get(..line_start)?.split_inclusive('\n').rev() {
        offset = offset.saturating_sub(earlier.len());
        let trimmed = earlier.trim_start();
        let indent = earlier.len() - trimmed.len();
        if is_header && trimmed.trim_end() == line {
            return Some(offset + indent);
        }
        if !is_header {
            if trimmed.starts_with('[') {
                return None;
            }
            let rest = trimmed.strip_prefix(key).map(str::trim_start);
            if rest.is_some_and(|rest| rest.starts_with('=')) {
                return Some(offset + indent);
            }
        }
    }
    None
}

/// Tables whose entries are things with names of their own: given once, in one file.
const NAMED: &[&str] = &["line", "device", "upstream"];

/// Merges a file into what was read before it, key by key.
pub(super) fn merge(log: &Log, whole: &mut Table, file: Table) {
    for (key, entry) in file.entries {
        let named = NAMED.contains(&key.as_str());
        match whole.entries.entry(key) {
            btree_map::Entry::Vacant(place) => {
                place.insert(entry);
            }
            btree_map::Entry::Occupied(mut there) => {
                merge_entry(log, there.get_mut(), entry, named.then_some(1));
            }
        }
    }
}

/// `depth`: after so many further levels a key may not come twice, even if both are tables.
fn merge_entry(log: &Log, there: &mut Entry, new: Entry, depth: Option<u8>) {
    match (&mut there.node.value, new.node.value) {
        (Value::Table(ours), Value::Table(theirs)) if depth != Some(0) => {
            for (key, entry) in theirs.entries {
                match ours.entries.entry(key) {
                    btree_map::Entry::Vacant(place) => {
                        place.insert(entry);
                    }
                    btree_map::Entry::Occupied(mut place) => {
                        let depth = depth.map(|depth| depth.saturating_sub(1));
                        merge_entry(log, place.get_mut(), entry, depth);
                    }
                }
            }
        }
        _ => log.push(
            Finding::error(new.key_span, format!("`{}` is given twice", new.key))
                .also(there.key_span, "first given here")
                .mend("remove one of the two"),
        ),
    }
}
