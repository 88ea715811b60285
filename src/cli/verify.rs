//! `forebay verify`: a consumer that proves completeness, at a broker or from a file.

mod render;
mod source;

use std::io::{self, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::source::{Item, Source, SourceArguments};
use super::run::Signals;
use super::{FAILED, WRONG_USAGE};
use crate::forward::Filter;
use crate::gateway;
use crate::proof::{By, Ledger, Report, Terms};
use crate::reading::Name;
use crate::support::units::parse_duration;
use crate::upstream;

/// Most lines that are named as no gateway's messages.
const FOREIGN: usize = 5;
/// What taking leave of a broker may cost.
const LEAVE: Duration = Duration::from_secs(3);

/// What is to be proved, and of what.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    #[command(flatten)]
    source: SourceArguments,
    /// Prove by the numbers of each device, for an upstream that carries some devices only; those named must be among
    /// them (`*` and `?` as in the configuration)
    #[arg(long, value_name = "PATTERN,…", num_args = 0..=1, require_equals = true, value_delimiter = ',', default_missing_value = "")]
    devices: Option<Vec<String>>,
    /// The upstream that delivers here: what it refused counts as explained
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Numbers must begin at 1, not at the lowest that arrives
    #[arg(long)]
    from_start: bool,
    /// Records out of order are a failure
    #[arg(long)]
    ordered: bool,
    /// A record is late when it arrives later than this after its reading
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    late: Duration,
    /// End after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// End when nothing has come for so long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    until_idle: Option<Duration>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What the proof gave.
struct Verdict {
    report: Report,
    /// Patterns that no device fits of which a record came.
    absent: Vec<String>,
    /// The first lines of a file that are no gateway's messages; at most [`FOREIGN`].
    foreign: Vec<u64>,
    /// Why the source ended before its time: nothing can be said of what came after.
    broken: Option<String>,
    ordered: bool,
}

impl Verdict {
    fn holds(&self) -> bool {
        self.report.is_complete()
            && self.absent.is_empty()
            && self.broken.is_none()
            && !(self.ordered && self.report.reordered() > 0)
    }
}

/// Consumes until the end, and prints what was found.
pub(super) fn run(arguments: &VerifyArguments) -> ExitCode {
    let source = match arguments.source.source() {
        Ok(source) => source,
        Err(reason) => return Complaint::new(reason, "").tell(WRONG_USAGE),
    };
    upstream::tls::install_provider();
    let consumed = gateway::runtime()
        .map_err(|error| Complaint::new(error.to_string(), ""))
        .and_then(|runtime| {
            let consumed = runtime.block_on(consume(arguments, source));
            // A thread may still wait for the next line.
            runtime.shutdown_background();
            consumed
        });
    let verdict = match consumed {
        Ok(verdict) => verdict,
        Err(complaint) => return complaint.tell(FAILED),
    };
    let text = if arguments.json {
        render::to_json(&verdict)
    } else {
        render::to_text(&verdict)
    };
    // Whoever reads this may have gone; the exit code still says what was found.
    let _ = io::stdout().write_all(text.as_bytes());
    if verdict.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// Why nothing can be consumed, and what to do about it.
struct Complaint {
    reason: String,
    help: &'static str,
}

impl Complaint {
    /// Without `help` the reason says what to do.
    fn new(reason: String, help: &'static str) -> Self {
        Self { reason, help }
    }

    fn tell(&self, code: u8) -> ExitCode {
        let Self { reason, help } = self;
        let help = match *help {
            "" => String::new(),
            help => format!("  help: {help}\n"),
        };
        // Without standard error there is nobody to tell but by the exit code.
        let _ = write!(io::stderr(), "error: {reason}\n{help}");
        ExitCode::from(code)
    }
}

async fn consume(arguments: &VerifyArguments, source: Source) -> Result<Verdict, Complaint> {
    let mut ledger = Ledger::new(Terms {
        by: if arguments.devices.is_some() {
            By::Device
        } else {
            By::Seq
        },
        upstream: arguments.upstream.clone(),
        from_start: arguments.from_start,
        late_after: arguments.late,
    });
    let signals = Signals::new().map_err(|error| Complaint::new(error.to_string(), ""))?;
    let mut foreign = Vec::new();
    let (stop, live) = (CancellationToken::new(), source.is_live());
    let (items, arriving) = mpsc::channel(source::AHEAD);
    let mut pump = pin!(source.pump(items, stop.clone()));
    let mut pumping = true;
    let broken = {
        let mut book = |payload: &[u8], line: Option<u64>| {
            let arrived = live.then(|| jiff::Timestamp::now().as_nanosecond());
            if !ledger.take(payload, arrived) && foreign.len() < FOREIGN {
                foreign.extend(line);
            }
        };
        let mut take = pin!(take(arguments, &mut book, arriving));
        let mut interrupted = pin!(signals.until_stop(&stop));
        loop {
            tokio::select! {
                ended = &mut pump, if pumping => {
                    ended?;
                    pumping = false;
                }
                broken = &mut take => break broken,
                () = &mut interrupted => break None,
            }
        }
    };
    stop.cancel();
    if pumping {
        // Taking leave; nothing depends on its success.
        let _ = tokio::time::timeout(LEAVE, pump).await;
    }
    let report = ledger.report();
    Ok(Verdict {
        absent: absent(arguments, &report),
        foreign,
        report,
        broken,
        ordered: arguments.ordered,
    })
}

/// Books what arrives until the source, the time or the patience is at its end; why the source broke off, if it did.
async fn take(
    arguments: &VerifyArguments,
    book: &mut impl FnMut(&[u8], Option<u64>),
    mut arriving: mpsc::Receiver<Item>,
) -> Option<String> {
    let far = Duration::from_secs(100 * 365 * 86_400);
    let start = Instant::now();
    let mut over = pin!(sleep_until(start + arguments.duration.unwrap_or(far)));
    let patience = arguments.until_idle.unwrap_or(far);
    let mut idle = pin!(sleep_until(start + patience));
    loop {
        tokio::select! {
            biased;
            () = &mut over => return None,
            item = arriving.recv() => match item {
                None => return None,
                Some(Item::Broken(reason)) => return Some(reason),
                Some(Item::Subscribed) => idle.as_mut().reset(Instant::now() + patience),
                Some(Item::Message(payload, line)) => {
                    book(&payload, line);
                    idle.as_mut().reset(Instant::now() + patience);
                }
            },
            () = &mut idle => return None,
        }
    }
}

/// The patterns that fit no device of the report.
fn absent(arguments: &VerifyArguments, report: &Report) -> Vec<String> {
    let came = report.streams.iter().flat_map(|stream| &stream.devices);
    let came: Vec<Name> = came.filter_map(|device| Name::new(device).ok()).collect();
    let patterns = arguments.devices.iter().flatten();
    let absent = patterns.filter(|pattern| {
        let filter = Filter::new(vec![(*pattern).clone()]);
        !pattern.is_empty() && !came.iter().any(|device| filter.admits_device(device))
    });
    absent.cloned().collect()
}
