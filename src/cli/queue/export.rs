//! `forebay queue export`: records as messages, one JSON object a line, to a file that a second run goes on with.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::failure::Failure;
use super::peek;
use super::progress::Progress;
use super::select::{Selection, Wanted};
use super::show;
use super::site::{Site, Where};
use crate::store::StoreError;
use crate::store::inspect::Inspection;

/// Longest end of a file that is looked through for its last complete line: a record is far shorter.
const LONGEST_LINE: u64 = 64 << 20;

/// Arguments of `queue export`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExportArguments {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    selection: Selection,
    /// Write to this file, and where it has records already, go on behind its last one [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Say at the end, as JSON, what was written; on standard error without --output
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(Debug, Default)]
struct Written {
    records: u64,
    bytes: u64,
    first: Option<u64>,
    last: Option<u64>,
}

/// Why the export ended before its last record.
enum Stop {
    /// Nobody reads any more.
    Closed,
    Error(io::Error),
}

pub(super) fn run(arguments: &ExportArguments) -> Result<(), Failure> {
    let site = arguments.place.find()?;
    // As whoever asked: the file is his, the store its owner's.
    let output = arguments.output.as_deref();
    let target = output.map(|path| Target::open(path).map_err(|error| cannot(path, &error)));
    let target = target.transpose()?.transpose()?;
    let mut inspection = site.inspect()?;
    let mut wanted = arguments.selection.make(&site, &inspection)?;
    let written = match target {
        None => write(&site, &mut inspection, &wanted, io::stdout().lock()),
        Some(target) => {
            if let Some(last) = target.last {
                wanted.from = wanted.from.max(last.saturating_add(1));
            }
            let written = write(&site, &mut inspection, &wanted, &target.file);
            written.and_then(|written| target.sync().map(|()| written))
        }
    };
    let written = written.map_err(|end| end.failure(output))?;
    tell(arguments, &written);
    if inspection.ailing().is_some() {
        site.tell_ailing(&inspection);
    }
    Ok(())
}

/// How an export failed.
enum Broken {
    Store(StoreError),
    Output(io::Error),
}

impl Broken {
    fn failure(self, output: Option<&Path>) -> Failure {
        match (self, output) {
            (Self::Store(error), _) => error.into(),
            (Self::Output(error), Some(path)) => cannot(path, &error)
                .help("the same command goes on behind the last complete line of the file"),
            (Self::Output(error), None) => {
                Failure::failed(format!("standard output cannot be written: {error}"))
            }
        }
    }
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}

fn write(
    site: &Site,
    inspection: &mut Inspection,
    wanted: &Wanted,
    output: impl Write,
) -> Result<Written, Broken> {
    let mut output = BufWriter::with_capacity(64 << 10, output);
    let mut codec = peek::codec(site, wanted.upstream.as_ref());
    let mut progress = Progress::new(wanted.from, wanted.to);
    let mut written = Written::default();
    let put = |record: &std::sync::Arc<crate::reading::Record>| {
        let line = codec.encode(record, crate::payload::Part::WHOLE, true);
        let done = output
            .write_all(&line)
            .and_then(|()| output.write_all(b"\n"));
        match done {
            Ok(()) => {
                written.records += 1;
                written.bytes += line.len() as u64 + 1;
                written.first = written.first.or(Some(record.seq));
                written.last = Some(record.seq);
                ControlFlow::Continue(())
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                ControlFlow::Break(Stop::Closed)
            }
            Err(error) => ControlFlow::Break(Stop::Error(error)),
        }
    };
    let end = wanted.each(inspection, put, |seq| progress.passed(seq));
    progress.clear();
    match end.map_err(Broken::Store)? {
        Some(Stop::Error(error)) => return Err(Broken::Output(error)),
        Some(Stop::Closed) => return Ok(written),
        None => (),
    }
    match output.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Broken::Output(error)),
        _ => Ok(written),
    }
}

fn tell(arguments: &ExportArguments, written: &Written) {
    let file = arguments.output.as_deref();
    if arguments.json {
        let summary = json!({
            "output": file,
            "records": written.records,
            "bytes": written.bytes,
            "first": written.first,
            "last": written.last,
        });
        match file {
            Some(_) => super::print_json(&summary),
            None => super::say(&format!("{summary}\n")),
        }
        return;
    }
    let Some(file) = file else { return };
    let size = show::size(written.bytes);
    let text = match (written.first, written.last) {
        (Some(first), Some(last)) => format!(
            "{}, {first} to {last}, {size}, written to {}\n",
            show::counted(written.records, "record"),
            file.display()
        ),
        _ => format!("nothing to write to {}\n", file.display()),
    };
    super::print(&text);
}

/// The file that is written, and the last record in it.
struct Target {
    file: File,
    last: Option<u64>,
    /// No pipe and no terminal, so that it can be synced.
    is_regular: bool,
}

impl Target {
    /// Opens the file, and cuts off a last line that is not complete.
    ///
    /// # Errors
    /// The inner one where the file is no export: it was left untouched.
    fn open(path: &Path) -> io::Result<Result<Self, Failure>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false);
        if path.metadata().is_ok_and(|meta| !meta.is_file()) {
            // A pipe, or a terminal.
            let file = file.create(false).open(path)?;
            return Ok(Ok(Self {
                file,
                last: None,
                is_regular: false,
            }));
        }
        let mut file = file.read(true).open(path)?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(LONGEST_LINE);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        (&file).take(LONGEST_LINE).read_to_end(&mut tail)?;
        let Some((whole, last)) = last_record(&tail) else {
            let reason = format!("{} has something else in it than records", path.display());
            let help = "name another file; this one was left untouched";
            return Ok(Err(Failure::failed(reason).help(help)));
        };
        let end = start + whole as u64;
        if end < length {
            file.set_len(end)?;
        }
        file.seek(SeekFrom::Start(end))?;
        Ok(Ok(Self {
            file,
            last,
            is_regular: true,
        }))
    }

    fn sync(&self) -> Result<(), Broken> {
        if self.is_regular {
            self.file.sync_all().map_err(Broken::Output)?;
        }
        Ok(())
    }
}

/// Where the last complete line of an export ends, and its `seq`; `None`: this is no export.
fn last_record(bytes: &[u8]) -> Option<(usize, Option<u64>)> {
    // How every message begins, so that no other file is taken for one that was broken off at its first line.
    const BEGIN: &[u8] = b"{\"v\":1,\"gateway\":";
    let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else {
        let common = bytes.len().min(BEGIN.len());
        return (bytes.get(..common) == BEGIN.get(..common)).then_some((0, None));
    };
    let lines = bytes.get(..end)?;
    let line = lines.rsplit(|&byte| byte == b'\n').next()?;
    let message: serde_json::Value = serde_json::from_slice(line).ok()?;
    let is_message = message.get("v") == Some(&json!(1)) && message.get("stream").is_some();
    let seq = message.get("seq")?.as_u64().filter(|_| is_message)?;
    Some((end + 1, Some(seq)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_goes_on_behind_its_last_complete_line() {
        let line =
            |seq: u64| format!("{{\"v\":1,\"gateway\":\"g\",\"stream\":\"01\",\"seq\":{seq}}}\n");
        let two = line(7) + &line(8);
        assert_eq!(last_record(b""), Some((0, None)));
        assert_eq!(last_record(two.as_bytes()), Some((two.len(), Some(8))));
        let torn = two.clone() + "{\"v\":1,\"gate";
        assert_eq!(last_record(torn.as_bytes()), Some((two.len(), Some(8))));
        assert_eq!(last_record(b"{\"v\":1,\"gate"), Some((0, None)));
        for other in ["root:x:0:0\n", "{\"v\":1}\n", "notes", "{}", "\n"] {
            assert_eq!(last_record(other.as_bytes()), None, "{other:?}");
        }
    }
}
