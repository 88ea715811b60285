//! `forebay check`: every problem of every file, for people or as JSON; and upstreams that only the store knows.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use super::queue::{counted, owner};
use crate::config::{self, Config, Place, Problem, Report, Severity, render};
use crate::store::inspect::Inspection;

/// What the command ends with where the configuration is bad.
pub const BAD_CONFIGURATION: u8 = 78;

/// Checks `path` and all files that belong to it, and prints what was found to standard output.
///
/// The exit code is 0 also with warnings, and [`BAD_CONFIGURATION`] with errors.
pub fn run(path: &Path, json: bool) -> ExitCode {
    let mut result = config::load(path);
    if let Ok(config) = &mut result {
        let left_over = left_over(path, config);
        config.remarks.extend(left_over);
    }
    let failed = result.is_err();
    let out = io::stdout();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Whoever reads this may have gone (`forebay check | head`); the exit code still says what was found.
    let _ = out.lock().write_all(show(result, json, colour).as_bytes());
    if failed {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::SUCCESS
    }
}

/// The upstreams that the store keeps records for and nobody configures any more. Nothing is said where the store cannot be
/// looked at now: a daemon has it, this user may not, it is not whole, or there is none.
fn left_over(path: &Path, config: &Config) -> Vec<Problem> {
    let dir = &config.store.dir;
    if owner::take_on(dir).is_err() {
        return Vec::new();
    }
    let Ok(Some(mut inspection)) = Inspection::open_whole(dir) else {
        return Vec::new();
    };
    let Ok(overview) = inspection.overview() else {
        return Vec::new();
    };
    let configured = |name| {
        config
            .upstreams
            .iter()
            .any(|upstream| upstream.name == name)
    };
    let left_over = overview
        .backlogs
        .into_iter()
        .filter(|backlog| !configured(backlog.upstream.clone()));
    let warning = |backlog: crate::store::inspect::Backlog| Problem {
        severity: Severity::Warning,
        place: Place {
            file: path.to_owned(),
            at: None,
        },
        reason: format!(
            "the store in {} knows an upstream `{}` that is not configured, and keeps {} for it alone",
            dir.display(),
            backlog.upstream,
            counted(backlog.pinned, "record")
        ),
        mend: Some(format!(
            "add [upstream.{0}] again, or let it go with the daemon stopped: forebay queue forget {0}",
            backlog.upstream
        )),
        also: Vec::new(),
    };
    left_over.map(warning).collect()
}

fn show(result: Result<Config, Report>, json: bool, colour: bool) -> String {
    let (problems, summary): (Vec<Problem>, String) = match result {
        Ok(config) => {
            let summary = summary(&config);
            (config.remarks, summary)
        }
        Err(report) => (report.problems, String::new()),
    };
    if json {
        return format!("{}\n", render::to_json(&problems));
    }
    format!("{}{summary}", render::to_text(&problems, colour))
}

fn summary(config: &Config) -> String {
    let devices: usize = config.lines.iter().map(|line| line.devices.len()).sum();
    let all = config.lines.iter().flat_map(|line| &line.devices);
    let points: usize = all.map(|device| device.map.points.len()).sum();
    let parts = [
        (config.lines.len(), "line"),
        (devices, "device"),
        (points, "point"),
        (config.upstreams.len(), "upstream"),
    ];
    let parts = parts.map(|(number, one)| counted(number as u64, one));
    format!("gateway {}: {}\n", config.gateway.id, parts.join(", "))
}
