//! Where log lines go: the journal when it reads our standard error, else standard error as text.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The libraries below us warn once per noise byte or retry; what matters of it we say ourselves, once.
const DEFAULT_FILTER: &str = "info,fjall=off,lsm_tree=off,tokio_modbus=off,lapin=off";

/// Starts logging. `FOREBAY_LOG` adds to the filter ("debug", "forebay::field=trace", "lapin=debug").
pub(crate) fn start() {
    let wanted = std::env::var("FOREBAY_LOG").unwrap_or_default();
    // Later directives win; what cannot be read in them is passed over.
    let filter = EnvFilter::new(format!("{DEFAULT_FILTER},{wanted}"));
    let registry = tracing_subscriber::registry().with(filter);
    // A second start (tests) keeps the first one's settings.
    let _ = match journal() {
        Some(journal) => registry.with(journal).try_init(),
        None => registry.with(text()).try_init(),
    };
}

fn text<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
}

/// The journal's own protocol keeps fields and levels; it is used where `$JOURNAL_STREAM` names our standard error.
fn journal() -> Option<tracing_journald::Layer> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let (device, inode) = stream.split_once(':')?;
    let ours = std::fs::metadata("/proc/self/fd/2").ok()?;
    let same = device.parse() == Ok(ours.dev()) && inode.parse() == Ok(ours.ino());
    same.then(|| tracing_journald::layer().ok())?
}
