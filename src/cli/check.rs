//! `forebay check`: every problem of every file, for people or as JSON.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Config, Problem, Report, render};

/// What the command ends with where the configuration is bad.
pub const BAD_CONFIGURATION: u8 = 78;

/// Checks `path` and all files that belong to it, and prints what was found to standard output.
///
/// The exit code is 0 also with warnings, and [`BAD_CONFIGURATION`] with errors.
pub fn run(path: &Path, json: bool) -> ExitCode {
    let result = config::load(path);
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
    format!(
        "gateway {}: {} lines, {devices} devices, {points} points, {} upstreams\n",
        config.gateway.id,
        config.lines.len(),
        config.upstreams.len()
    )
}
