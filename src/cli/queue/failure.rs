//! Why a command on the queue did not do it, and what helps.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::{FAILED, check};
use crate::config::{Report, render};
use crate::store::{self, StoreError};

/// Exit code of wrong usage; the argument parser's too.
const USAGE: u8 = 2;

/// Why it was not done. Nothing in the store was changed then, unless the text says otherwise.
#[derive(Debug)]
pub(in crate::cli) enum Failure {
    /// It was asked for in a way that cannot be meant.
    Usage {
        /// What is wrong.
        reason: String,
        /// What to write instead.
        help: String,
    },
    /// The configuration that names the store is bad.
    Configuration(Report),
    /// It could not be done.
    Failed {
        /// What is wrong.
        reason: String,
        /// What to do about it, where that is known.
        help: Option<String>,
    },
}

impl Failure {
    pub(super) fn usage(reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage {
            reason: reason.into(),
            help: help.into(),
        }
    }

    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
            help: None,
        }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        match self {
            Self::Failed { reason, .. } => Self::Failed {
                reason,
                help: Some(help.into()),
            },
            other => other,
        }
    }

    /// Says it on standard error; what the process ends with.
    pub(super) fn tell(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage { reason, help } => (sentence(&reason, Some(&help)), USAGE),
            Self::Failed { reason, help } => (sentence(&reason, help.as_deref()), FAILED),
            Self::Configuration(report) => (
                format!(
                    "{}  help: with --dir DIR the store is found without a configuration\n",
                    render::to_text(&report.problems, false)
                ),
                check::BAD_CONFIGURATION,
            ),
        };
        // Without standard error there is nobody to tell but by the exit code.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        ExitCode::from(code)
    }
}

fn sentence(reason: &str, help: Option<&str>) -> String {
    match help {
        Some(help) => format!("error: {reason}\n  help: {help}\n"),
        None => format!("error: {reason}\n"),
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let reason = error.to_string();
        match error {
            StoreError::InUse(dir) => in_use(&dir),
            StoreError::Missing(_) => Self::failed(reason).help(
                "the daemon makes it when it first starts; -c FILE or --dir DIR names another place",
            ),
            StoreError::Newer(..) => {
                Self::failed(reason).help("use the version that wrote it; it was left untouched")
            }
            StoreError::Disk(dir, error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::failed(reason).help(format!("run it as root, or as {}", super::owner::of(&dir)))
            }
            StoreError::Disk(..) | StoreError::Engine(..) => Self::failed(reason),
        }
    }
}

fn in_use(dir: &Path) -> Failure {
    let lock = dir.join("lock");
    let by = match store::holder(dir) {
        Some(process) => format!("process {process}"),
        None => "another process".to_owned(),
    };
    let reason = format!(
        "the store in {} is in use: {by} holds {}",
        dir.display(),
        lock.display()
    );
    Failure::failed(reason).help("stop the daemon first: systemctl stop forebay")
}
