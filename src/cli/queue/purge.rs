//! `forebay queue purge`: records that will not be sent.

use serde_json::json;

use super::ask;
use super::failure::Failure;
use super::progress::Progress;
use super::select;
use super::show::{self, Align, counted};
use super::site::{self, Site, Where};
use crate::reading::{Name, RangeSet};
use crate::store::inspect::Inspection;

/// Arguments of `queue purge`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PurgeArguments {
    #[command(flatten)]
    place: Where,
    /// Only from the backlog of this upstream; the others still get the records
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Only records up to this `seq`
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Only records before the first one that was read at this time or later: "2026-11-20T09:00Z", or "7d" for a week ago
    #[arg(long, value_name = "TIME", value_parser = select::parse_time)]
    before: Option<i64>,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Print what was purged as JSON
    #[arg(long)]
    json: bool,
}

/// What would go.
struct Plan {
    upstream: Option<Name>,
    to: u64,
    /// What each upstream has not confirmed up to there.
    waiting: Vec<(Name, RangeSet)>,
    all: RangeSet,
}

pub(super) fn run(arguments: &PurgeArguments) -> Result<(), Failure> {
    let site = arguments.place.find()?;
    let mut inspection = site.inspect()?;
    let plan = plan(arguments, &mut inspection)?;
    if plan.all.is_empty() {
        if arguments.json {
            super::print_json(&plan.json(inspection.overview()?.bytes));
        } else {
            super::print("nothing to purge\n");
        }
        return Ok(());
    }
    let question = plan.question(&site, &mut inspection)?;
    ask::before(&question, arguments.yes)?;
    let mut maintenance = inspection.maintain(super::clock())?;
    let (first, _) = plan.all.bounds().unwrap_or_default();
    let mut progress = Progress::new(first, plan.to);
    maintenance.purge(plan.upstream.as_ref(), plan.to, |seq| progress.passed(seq))?;
    progress.clear();
    let bytes = maintenance.close()?;
    if arguments.json {
        super::print_json(&plan.json(bytes));
    } else {
        super::print(&format!(
            "{} purged, which events tell when the daemon runs; the store takes {} now\n",
            counted(plan.all.len(), "record"),
            show::size(bytes)
        ));
    }
    Ok(())
}

fn plan(arguments: &PurgeArguments, inspection: &mut Inspection) -> Result<Plan, Failure> {
    let name = arguments.upstream.as_deref().map(site::upstream_name);
    let upstream = name.transpose()?;
    if let Some(name) = &upstream
        && inspection.confirmed(name).is_none()
    {
        return Err(site::unknown(name, inspection));
    }
    let mut to = arguments
        .to
        .unwrap_or(u64::MAX)
        .min(inspection.end().saturating_sub(1));
    if let Some(before) = arguments.before {
        to = last_before(inspection, before, to)?;
    }
    let mut waiting = inspection.waiting()?;
    waiting.retain(|(name, _)| upstream.as_ref().is_none_or(|upstream| upstream == name));
    for (_, set) in &mut waiting {
        set.remove(to.saturating_add(1), u64::MAX);
    }
    let mut all = RangeSet::new();
    if inspection.upstreams().next().is_none() {
        all = inspection.present()?;
        all.remove(to.saturating_add(1), u64::MAX);
    }
    waiting.iter().for_each(|(_, set)| all.extend(set));
    Ok(Plan {
        upstream,
        to,
        waiting,
        all,
    })
}

/// The last `seq` before the first record that was read at `time` or later; `to` at the most.
fn last_before(inspection: &mut Inspection, time: i64, to: u64) -> Result<u64, Failure> {
    let mut next = inspection.floor();
    while next <= to {
        let records = inspection.read(next)?;
        if let Some(late) = records.iter().find(|record| record.stamp.wall_ns >= time) {
            return Ok(late.seq.saturating_sub(1).min(to));
        }
        let Some(last) = records.last() else { break };
        next = last.seq.saturating_add(1);
    }
    Ok(to)
}

impl Plan {
    fn question(&self, site: &Site, inspection: &mut Inspection) -> Result<String, Failure> {
        let (first, last) = self.all.bounds().unwrap_or_default();
        let time = |inspection: &mut Inspection, seq| {
            let records = inspection.read(seq)?;
            let record = records.first();
            Ok::<_, Failure>(
                record.map_or(String::new(), |record| show::time(record.stamp.wall_ns)),
            )
        };
        let (from, until) = (time(inspection, first)?, time(inspection, last)?);
        let mut text = format!(
            "{} in {} will never be sent: {first} to {last}, read {from} to {until}.\n",
            counted(self.all.len(), "record"),
            site.dir.display(),
        );
        let mut rows = vec![["not sent to", "records"].map(str::to_owned).to_vec()];
        let missing = self.waiting.iter().filter(|(_, set)| !set.is_empty());
        rows.extend(missing.map(|(name, set)| vec![name.to_string(), show::count(set.len())]));
        if rows.len() > 1 {
            text.push_str(&show::table(&[Align::Left, Align::Right], &rows));
        }
        if inspection.ailing().is_some() {
            text.push_str("The store is mended first, as by the next start of the daemon.\n");
        }
        Ok(text)
    }

    fn json(&self, bytes: u64) -> serde_json::Value {
        let bounds = self.all.bounds();
        let upstreams = self
            .waiting
            .iter()
            .map(|(name, set)| json!({ "name": name.as_str(), "purged": set.len() }));
        json!({
            "purged": self.all.len(),
            "first": bounds.map(|(first, _)| first),
            "last": bounds.map(|(_, last)| last),
            "upstreams": upstreams.collect::<Vec<_>>(),
            "bytes": bytes,
        })
    }
}
