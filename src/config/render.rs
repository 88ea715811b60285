//! Problems for people (the source line with a caret) and for programs (JSON).

use std::fmt::Write;

use serde::Serialize;

use super::problem::{Place, Problem, Severity};

/// Longest source line that is printed whole; of a longer one the part around the caret is shown.
const LONGEST_LINE: usize = 160;

/// All problems with source lines and carets, and a last line that counts them. `colour`: with terminal colours.
pub fn to_text(problems: &[Problem], colour: bool) -> String {
    let mut out = String::new();
    for problem in problems {
        write_problem(&mut out, problem, colour);
        out.push('\n');
    }
    let count = |severity| problems.iter().filter(|p| p.severity == severity).count();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let _ = writeln!(
        out,
        "{}, {}, {}",
        plural(count(Severity::Error), "error"),
        plural(count(Severity::Warning), "warning"),
        plural(count(Severity::Note), "note")
    );
    out
}

/// All problems as a JSON array of `{severity, file, line, column, reason, mend, also}`; what is unknown is null.
pub fn to_json(problems: &[Problem]) -> String {
    let shown: Vec<_> = problems.iter().map(Shown::of).collect();
    serde_json::to_string_pretty(&shown).unwrap_or_default()
}

#[derive(Serialize)]
struct Shown<'a> {
    severity: &'static str,
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    reason: &'a str,
    mend: Option<&'a str>,
    also: Vec<Also<'a>>,
}

#[derive(Serialize)]
struct Also<'a> {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    what: &'a str,
}

impl<'a> Shown<'a> {
    fn of(problem: &'a Problem) -> Self {
        let (file, line, column) = parts(&problem.place);
        let also = problem.also.iter().map(|(place, what)| {
            let (file, line, column) = parts(place);
            Also {
                file,
                line,
                column,
                what,
            }
        });
        Self {
            severity: problem.severity.as_str(),
            file,
            line,
            column,
            reason: &problem.reason,
            mend: problem.mend.as_deref(),
            also: also.collect(),
        }
    }
}

fn parts(place: &Place) -> (String, Option<usize>, Option<usize>) {
    let at = place.at.as_ref();
    let file = place.file.to_string_lossy().into_owned();
    (file, at.map(|at| at.line), at.map(|at| at.column))
}

fn write_problem(out: &mut String, problem: &Problem, colour: bool) {
    let paint = |code: &str, text: &str| {
        if colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let code = match problem.severity {
        Severity::Error => "1;31",
        Severity::Warning => "1;33",
        Severity::Note => "1;36",
    };
    let word = paint(code, problem.severity.as_str());
    let _ = writeln!(
        out,
        "{}: {word}: {}",
        problem.place,
        printable(&problem.reason)
    );
    write_source(out, &problem.place, "", |text| paint(code, text));
    for (place, what) in &problem.also {
        let _ = writeln!(out, "  {place}: {}", printable(what));
        write_source(out, place, "  ", |text| paint("1;34", text));
    }
    if let Some(mend) = &problem.mend {
        let _ = writeln!(out, "  {}: {}", paint("1;32", "mend"), printable(mend));
    }
}

fn write_source(out: &mut String, place: &Place, indent: &str, paint: impl Fn(&str) -> String) {
    let Some(at) = &place.at else { return };
    let before = at.column.saturating_sub(1);
    let skip = if at.text.chars().count() > LONGEST_LINE {
        before.saturating_sub(LONGEST_LINE / 2)
    } else {
        0
    };
    let shown: String = at.text.chars().skip(skip).take(LONGEST_LINE).collect();
    let shown = printable(shown.trim_end());
    let number = at.line.to_string();
    let caret = before.saturating_sub(skip);
    let room = shown.chars().count().saturating_sub(caret).max(1);
    let carets = "^".repeat(at.width.clamp(1, room));
    let margin = " ".repeat(number.len());
    let _ = writeln!(out, "{indent} {number} | {shown}");
    let _ = writeln!(
        out,
        "{indent} {margin} | {}{}",
        " ".repeat(caret),
        paint(&carets)
    );
}

/// Control characters would move the caret, or the reader's terminal.
fn printable(text: &str) -> String {
    let one = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(one).collect()
}
