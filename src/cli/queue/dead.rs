//! `forebay queue dead`: the records that a broker refused for good.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ask;
use super::failure::Failure;
use super::peek;
use super::show::{self, Align, counted};
use super::site::{self, Where};
use crate::reading::Name;
use crate::store::inspect::{Inspection, KeptLetter};

/// The commands on dead letters.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Dead {
    /// List them: who refused what, when and why
    List(ListArguments),
    /// Show one in full, as JSON
    Show(ShowArguments),
    /// Drop them
    Drop(DropArguments),
}

/// Arguments of `queue dead list`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ListArguments {
    #[command(flatten)]
    place: Where,
    /// Only those of this upstream
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `queue dead show`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ShowArguments {
    #[command(flatten)]
    place: Where,
    /// The record's `seq`
    seq: u64,
    /// Only that of this upstream, where several refused the record
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// JSON is what it prints; accepted for symmetry
    #[arg(long, hide = true)]
    json: bool,
}

/// Arguments of `queue dead drop`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DropArguments {
    #[command(flatten)]
    place: Where,
    /// Those of these records
    #[arg(value_name = "SEQ", required_unless_present_any = ["upstream", "all"])]
    seqs: Vec<u64>,
    /// Only those of this upstream
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["seqs", "upstream"])]
    all: bool,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Print those that were dropped as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Dead) -> Result<(), Failure> {
    match command {
        Dead::List(arguments) => list(arguments),
        Dead::Show(arguments) => show(arguments),
        Dead::Drop(arguments) => drop_letters(arguments),
    }
}

/// The dead letters of an upstream, or of all.
fn letters(inspection: &Inspection, upstream: Option<&str>) -> Result<Vec<KeptLetter>, Failure> {
    let upstream: Option<Name> = upstream.map(site::upstream_name).transpose()?;
    let mut letters = inspection.dead_letters()?;
    if let Some(upstream) = upstream {
        letters.retain(|kept| kept.letter.upstream == upstream);
    }
    Ok(letters)
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let site = arguments.place.find()?;
    let letters = letters(&site.inspect()?, arguments.upstream.as_deref())?;
    if arguments.json {
        let all: Vec<Value> = letters.iter().map(brief).collect();
        super::print_json(&Value::from(all));
        return Ok(());
    }
    if letters.is_empty() {
        super::print("no dead letters\n");
        return Ok(());
    }
    super::print(&listed(&letters));
    if let Some(first) = letters.first() {
        super::say(&format!(
            "\n{}.\n  forebay queue dead show{} {}   shows the first in full\n",
            counted(letters.len() as u64, "dead letter"),
            site.arguments,
            first.letter.record.seq
        ));
    }
    Ok(())
}

fn listed(letters: &[KeptLetter]) -> String {
    let heading = ["seq", "refused", "by", "device", "message", "reason"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for KeptLetter { letter, .. } in letters {
        let device = letter.record.body.device();
        rows.push(vec![
            letter.record.seq.to_string(),
            show::time(letter.time_ns),
            letter.upstream.to_string(),
            device.map_or("-", Name::as_str).to_owned(),
            show::size(letter.payload_size),
            show::printable(&letter.reason),
        ]);
    }
    let columns = [
        Align::Right,
        Align::Left,
        Align::Left,
        Align::Left,
        Align::Right,
        Align::Left,
    ];
    show::table(&columns, &rows)
}

fn brief(kept: &KeptLetter) -> Value {
    let letter = &kept.letter;
    json!({
        "upstream": letter.upstream.as_str(),
        "seq": letter.record.seq,
        "device_seq": letter.record.device_seq,
        "stream": letter.record.stream.to_string(),
        "device": letter.record.body.device().map(Name::as_str),
        "reason": letter.reason,
        "refused": show::rfc3339(letter.time_ns),
        "message_bytes": letter.payload_size,
    })
}

fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let site = arguments.place.find()?;
    let mut letters = letters(&site.inspect()?, arguments.upstream.as_deref())?;
    letters.retain(|kept| kept.letter.record.seq == arguments.seq);
    if letters.is_empty() {
        let reason = format!("there is no dead letter of record {}", arguments.seq);
        let help = format!("`forebay queue dead list{}` lists them", site.arguments);
        return Err(Failure::failed(reason).help(help));
    }
    for kept in &letters {
        let mut codec = peek::codec(&site, Some(&kept.letter.upstream));
        let message = peek::message(&mut codec, &kept.letter.record);
        let shown = Shown {
            letter: brief(kept),
            message: RawValue::from_string(message).ok(),
        };
        let text = serde_json::to_string_pretty(&shown).unwrap_or_default();
        super::print(&format!("{text}\n"));
    }
    Ok(())
}

fn drop_letters(arguments: &DropArguments) -> Result<(), Failure> {
    let site = arguments.place.find()?;
    let inspection = site.inspect()?;
    let mut letters = letters(&inspection, arguments.upstream.as_deref())?;
    let seqs = &arguments.seqs;
    letters.retain(|kept| seqs.is_empty() || seqs.contains(&kept.letter.record.seq));
    let count = counted(letters.len() as u64, "dead letter");
    if !letters.is_empty() {
        let question = format!(
            "{}{count} of these records go for good.\n",
            listed(&letters)
        );
        ask::before(&question, arguments.yes)?;
        let places: Vec<u64> = letters.iter().map(|kept| kept.place).collect();
        let mut maintenance = inspection.maintain(super::clock())?;
        maintenance.drop_dead_letters(&places)?;
        maintenance.close()?;
    }
    if arguments.json {
        let all: Vec<Value> = letters.iter().map(brief).collect();
        super::print_json(&Value::from(all));
    } else {
        super::print(&format!("{count} dropped\n"));
    }
    Ok(())
}

/// The message stands as it goes out, digit by digit.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    letter: Value,
    message: Option<Box<RawValue>>,
}
