//! Finds device maps by name or path, and reads each file once.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::host::{Host, LARGEST_FILE};
use super::log::{Finding, Log, Span};
use super::map::{self, MapDraft};
use super::suggest::did_you_mean;
use super::tree::{self, Table};

/// The maps read so far.
pub(super) struct Library<'a> {
    log: &'a Log,
    host: &'a dyn Host,
    folders: &'a [PathBuf],
    read: BTreeMap<PathBuf, Option<MapDraft>>,
}

impl<'a> Library<'a> {
    pub(super) fn new(log: &'a Log, host: &'a dyn Host, folders: &'a [PathBuf]) -> Self {
        Self {
            log,
            host,
            folders,
            read: BTreeMap::new(),
        }
    }

    /// The map that `text` (at `span`) names: a file of a maps folder, or a path from the file that names it.
    pub(super) fn find(&mut self, text: &str, span: Span) -> Option<MapDraft> {
        if text.contains('/') || Path::new(text).extension().is_some_and(|end| end == "toml") {
            let path = super::fields::resolve(self.log, span, text);
            return self.load(&path, span);
        }
        let file = format!("{text}.toml");
        let mut found = Vec::new();
        for folder in self.folders {
            let listed = self.host.list(folder).unwrap_or_default();
            if listed.contains(&file) {
                found.push(folder.join(&file));
            }
        }
        let Some((first, shadowed)) = found.split_first() else {
            self.unknown(text, span);
            return None;
        };
        for other in shadowed {
            let reason = format!(
                "map `{text}` is {}, which shadows {}",
                first.display(),
                other.display()
            );
            let mend = "rename or remove one of the two if that is not meant";
            // Once for all devices that use it.
            if !self.read.contains_key(first) {
                self.log.push(Finding::note(span, reason).mend(mend));
            }
        }
        self.load(first, span)
    }

    fn unknown(&self, text: &str, span: Span) {
        let mut names = Vec::new();
        for folder in self.folders {
            let listed = self.host.list(folder).unwrap_or_default();
            names.extend(
                listed
                    .iter()
                    .filter_map(|file| Some(file.strip_suffix(".toml")?.to_owned())),
            );
        }
        let folders: Vec<_> = self
            .folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        let mend = match did_you_mean(text, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("put {text}.toml into one of them, or write a path"),
        };
        let reason = format!("there is no map {text:?} in {}", folders.join(" or "));
        self.log.push(Finding::error(span, reason).mend(mend));
    }

    fn load(&mut self, path: &Path, span: Span) -> Option<MapDraft> {
        if let Some(map) = self.read.get(path) {
            return map.clone();
        }
        let map = match read_file(self.log, self.host, path) {
            Ok(Some((table, file))) => Some(map::read(self.log, &table, file)),
            Ok(None) => None,
            Err(error) => {
                let reason = format!("{} cannot be read: {error}", path.display());
                let mend = "correct the path, or the permissions";
                self.log.push(Finding::error(span, reason).mend(mend));
                None
            }
        };
        self.read.insert(path.to_owned(), map.clone());
        map
    }
}

/// Why a file cannot be read, for people.
pub(super) fn why_unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

/// The tree of a file; `None`: it is no text of a sensible size, which is logged.
///
/// # Errors
/// The file cannot be read; the caller knows who names it.
pub(super) fn read_file(
    log: &Log,
    host: &dyn Host,
    path: &Path,
) -> Result<Option<(Table, Span)>, String> {
    let bytes = host.read(path).map_err(|error| why_unreadable(&error))?;
    if bytes.len() as u64 > LARGEST_FILE {
        let file = log.source(path, "");
        let finding = Finding::error(file, "the file is larger than 4 MiB");
        log.push(
            finding.mend("a configuration is text written by people: is this the right file?"),
        );
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) => {
            let file = log.source(path, &text);
            Ok(Some((tree::parse(log, file, &text), file)))
        }
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let file = log.source(path, &text);
            let finding = Finding::error(file.within(valid, valid + 1), "this is not UTF-8");
            log.push(finding.mend("save the file in UTF-8"));
            Ok(None)
        }
    }
}
