//! `forebay queue forget`: an upstream that will not come back.

use serde_json::json;

use super::ask;
use super::failure::Failure;
use super::show::{self, counted};
use super::site::{self, Where};
use crate::store::inspect::Backlog;

/// Arguments of `queue forget`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ForgetArguments {
    #[command(flatten)]
    place: Where,
    /// The upstream
    #[arg(value_name = "UPSTREAM")]
    name: String,
    /// Also one that is configured still, or may be: the next start makes it a new one
    #[arg(long)]
    force: bool,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Print what was freed as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &ForgetArguments) -> Result<(), Failure> {
    let site = arguments.place.find()?;
    let name = site::upstream_name(&arguments.name)?;
    let refusal = match site.is_configured(&name) {
        Some(true) => Some("is configured still"),
        None => Some("may be configured still: no configuration was read"),
        Some(false) => None,
    };
    let mut inspection = site.inspect()?;
    let overview = inspection.overview()?;
    let mut known = overview.backlogs.iter();
    let Some(backlog) = known.find(|backlog| backlog.upstream == name) else {
        return Err(site::unknown(&name, &inspection));
    };
    if let (Some(why), false) = (refusal, arguments.force) {
        return Err(Failure::failed(format!("the upstream `{name}` {why}"))
            .help("take it out of the configuration first; --force forgets it all the same"));
    }
    if backlog.records > 0 {
        ask::before(&question(backlog), arguments.yes)?;
    }
    let mut maintenance = inspection.maintain(super::clock())?;
    maintenance.forget(&name);
    let bytes = maintenance.close()?;
    if arguments.json {
        super::print_json(&json!({
            "forgotten": name.as_str(),
            "records": backlog.records,
            "freed": backlog.pinned,
            "bytes": bytes,
        }));
    } else {
        super::print(&format!(
            "{name} is forgotten, and {} that only it waited for; the store takes {} now\n",
            counted(backlog.pinned, "record"),
            show::size(bytes)
        ));
    }
    Ok(())
}

fn question(backlog: &Backlog) -> String {
    format!(
        "{} will never be sent to {}; {} of them, about {}, wait for nobody else and go.\n",
        counted(backlog.records, "record"),
        backlog.upstream,
        show::count(backlog.pinned),
        show::size(backlog.bytes),
    )
}
