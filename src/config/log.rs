//! Collects problems while files are read; places are spans until the report is made.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::problem::{Place, Position, Problem, Severity};

/// A stretch of bytes in one of the files of a [`Log`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Span {
    file: usize,
    start: usize,
    /// Equal to `start` and both `usize::MAX`: the file as a whole.
    end: usize,
}

impl Span {
    /// From byte `start` up to `end` of the same file.
    pub(super) fn within(self, start: usize, end: usize) -> Self {
        Self { start, end, ..self }
    }
}

/// A problem as it is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Finding {
    severity: Severity,
    span: Span,
    reason: String,
    mend: Option<String>,
    also: Vec<(Span, String)>,
    /// Something is absent; where the file has syntax errors, they may be why.
    absence: bool,
}

impl std::hash::Hash for Severity {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Finding {
    pub(super) fn error(span: Span, reason: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            reason: reason.into(),
            mend: None,
            also: Vec::new(),
            absence: false,
        }
    }

    pub(super) fn warning(span: Span, reason: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, reason)
        }
    }

    pub(super) fn note(span: Span, reason: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::error(span, reason)
        }
    }

    /// Something that must be there is not.
    pub(super) fn absence(span: Span, reason: impl Into<String>) -> Self {
        Self {
            absence: true,
            ..Self::error(span, reason)
        }
    }

    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    pub(super) fn also(mut self, span: Span, what: impl Into<String>) -> Self {
        self.also.push((span, what.into()));
        self
    }
}

struct Source {
    path: PathBuf,
    text: String,
    /// Lines (from 0) with a syntax error: what else is said about them would only repeat it.
    broken: HashSet<usize>,
}

/// The files read so far and what was found in them.
#[derive(Default)]
pub(super) struct Log {
    sources: RefCell<Vec<Source>>,
    findings: RefCell<Vec<Finding>>,
    known: RefCell<HashSet<Finding>>,
}

impl Log {
    /// Takes a file in; the span is the file as a whole.
    pub(super) fn source(&self, path: &Path, text: &str) -> Span {
        let mut sources = self.sources.borrow_mut();
        sources.push(Source {
            path: path.to_owned(),
            text: text.to_owned(),
            broken: HashSet::new(),
        });
        Span {
            file: sources.len().saturating_sub(1),
            start: usize::MAX,
            end: usize::MAX,
        }
    }

    /// The path of the file that a span is in.
    pub(super) fn path(&self, span: Span) -> PathBuf {
        let sources = self.sources.borrow();
        sources
            .get(span.file)
            .map(|source| source.path.clone())
            .unwrap_or_default()
    }

    /// The stretch of `length` bytes at `at` of the text that stands in quotes at `span`; all of it where it is written
    /// with escapes.
    pub(super) fn within_text(&self, span: Span, text: &str, at: usize, length: usize) -> Span {
        let sources = self.sources.borrow();
        let written = sources
            .get(span.file)
            .and_then(|source| source.text.get(span.start..span.end));
        let plain = written
            .is_some_and(|written| written.get(1..written.len().saturating_sub(1)) == Some(text));
        if plain {
            let start = span.start + 1 + at;
            return span.within(start, start + length);
        }
        span
    }

    /// Adds a problem; one that is there already is not repeated.
    pub(super) fn push(&self, finding: Finding) {
        if self.known.borrow_mut().insert(finding.clone()) {
            self.findings.borrow_mut().push(finding);
        }
    }

    /// Adds a syntax error.
    pub(super) fn syntax(&self, finding: Finding) {
        if let Some(source) = self.sources.borrow_mut().get_mut(finding.span.file) {
            let line = line_of(&source.text, finding.span.start);
            source.broken.insert(line);
        }
        self.push(finding);
    }

    /// All problems, ordered by file and place, and whether errors are among them.
    pub(super) fn report(self) -> (Vec<Problem>, bool) {
        let sources = self.sources.into_inner();
        let mut findings = self.findings.into_inner();
        findings.retain(|finding| !is_consequence(finding, &sources));
        findings.sort_by_key(|finding| (finding.span, finding.severity));
        let failed = findings
            .iter()
            .any(|finding| finding.severity == Severity::Error);
        let problem = |finding: Finding| Problem {
            severity: finding.severity,
            place: place(&sources, finding.span),
            reason: finding.reason,
            mend: finding.mend,
            also: finding
                .also
                .into_iter()
                .map(|(span, what)| (place(&sources, span), what))
                .collect(),
        };
        (findings.into_iter().map(problem).collect(), failed)
    }
}

/// Whether a finding only follows from a syntax error, which itself is told.
fn is_consequence(finding: &Finding, sources: &[Source]) -> bool {
    let Some(source) = sources.get(finding.span.file) else {
        return false;
    };
    let syntax = finding.reason.starts_with(SYNTAX);
    let on_broken_line = source
        .broken
        .contains(&line_of(&source.text, finding.span.start));
    let may_be_why = finding.absence && !source.broken.is_empty();
    !syntax && (may_be_why || on_broken_line)
}

/// How the reason of every syntax error begins.
pub(super) const SYNTAX: &str = "not valid TOML: ";

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|&&byte| byte == b'\n').count()
}

fn place(sources: &[Source], span: Span) -> Place {
    let Some(source) = sources.get(span.file) else {
        return Place {
            file: PathBuf::new(),
            at: None,
        };
    };
    Place {
        file: source.path.clone(),
        at: (span.start != usize::MAX).then(|| position(&source.text, span)),
    }
}

fn position(text: &str, span: Span) -> Position {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
    let before = text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = text.get(line_start..).unwrap_or_default();
    let line = rest.lines().next().unwrap_or_default();
    let meant = text.get(start..end).unwrap_or_default();
    let meant = meant.lines().next().unwrap_or_default();
    Position {
        line: line_of(text, start) + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        text: hide_secrets(line),
        width: meant.chars().count().max(1),
    }
}

/// Source lines are printed and logged, so what may be a password on them is starred out: the text after a key with
/// "passw" in it, and what stands before the `@` of a URL.
fn hide_secrets(line: &str) -> String {
    let mut hidden: Vec<char> = line.chars().collect();
    let lower: Vec<char> = hidden.iter().map(char::to_ascii_lowercase).collect();
    let find = |from: usize, word: &str| {
        let word: Vec<char> = word.chars().collect();
        let rest = lower.get(from..)?;
        rest.windows(word.len())
            .position(|at| at == word)
            .map(|at| from + at)
    };
    if let Some(key) = find(0, "passw")
        && let Some(sign) = find(key, "=")
    {
        let mut value = hidden
            .iter_mut()
            .skip(sign + 1)
            .skip_while(|c| c.is_whitespace());
        if let Some(quote @ ('"' | '\'')) = value.next().copied() {
            value.take_while(|c| **c != quote).for_each(|c| *c = '*');
        }
    }
    if let Some(scheme) = find(0, "://")
        && let Some(at) = find(scheme, "@")
    {
        for c in hidden.iter_mut().take(at).skip(scheme + 3) {
            *c = '*';
        }
    }
    hidden.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::hide_secrets;

    #[test]
    fn what_may_be_a_password_is_not_shown() {
        for (line, shown) in [
            ("password = \"secret\" # x", "password = \"******\" # x"),
            ("Passwort='s\u{fc}\u{df}'", "Passwort='***'"),
            ("url = \"mqtt://u:p@host\"", "url = \"mqtt://***@host\""),
            (
                "password = { credential = \"mes\" }",
                "password = { credential = \"mes\" }",
            ),
            ("topic = \"a@b\"", "topic = \"a@b\""),
        ] {
            assert_eq!(hide_secrets(line), shown);
        }
    }
}
