//! `forebay queue status`: what waits for whom, what the store takes, what needs a person.

use serde_json::{Value, json};

use super::failure::Failure;
use super::show::{self, Align, counted};
use super::site::{Site, Where};
use crate::reading::{Name, Stamp};
use crate::store::inspect::{Backlog, Inspection, KeptLetter, Overview, Seen};

/// Arguments of `queue status`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct StatusArguments {
    #[command(flatten)]
    place: Where,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// All that is shown.
struct Status<'a> {
    site: &'a Site,
    ailing: Option<&'a str>,
    overview: Overview,
    letters: Vec<KeptLetter>,
    now: i64,
}

pub(super) fn run(arguments: &StatusArguments) -> Result<(), Failure> {
    let site = arguments.place.find()?;
    let mut inspection: Inspection = site.inspect()?;
    let overview = inspection.overview()?;
    let letters = inspection.dead_letters()?;
    let status = Status {
        site: &site,
        ailing: inspection.ailing(),
        overview,
        letters,
        now: super::now(),
    };
    if arguments.json {
        super::print_json(&status.json());
    } else {
        super::print(&status.text());
    }
    Ok(())
}

impl Status<'_> {
    fn text(&self) -> String {
        let overview = &self.overview;
        let mut lines = vec![
            ("store", self.site.dir.display().to_string()),
            ("state", self.state()),
            ("on disk", self.room()),
        ];
        match (overview.oldest, overview.newest) {
            (Some(oldest), Some(newest)) => {
                let records = counted(overview.records, "record");
                lines.push((
                    "holds",
                    format!("{records}, {} to {}", oldest.seq, newest.seq),
                ));
                lines.push(("oldest", self.when(oldest)));
                lines.push(("newest", self.when(newest)));
            }
            _ => lines.push(("holds", "no records".to_owned())),
        }
        lines.push(("stream", self.stream()));
        let mut text = String::new();
        for (what, line) in lines {
            text.push_str(&format!("{what:<9}{line}\n"));
        }
        text.push_str(&self.streams());
        text.push_str(&self.upstreams());
        text.push_str(&self.hints());
        text
    }

    fn state(&self) -> String {
        match (self.ailing, self.overview.clean) {
            (Some(why), _) => format!("not whole: {why}"),
            (None, true) => "stopped in order".to_owned(),
            (None, false) => "not stopped in order: killed, or a power cut".to_owned(),
        }
    }

    fn room(&self) -> String {
        let most = self.site.max_size().map(show::size);
        let most = most.map_or(String::new(), |most| format!(" of {most} at most"));
        let free = self.overview.free.map(show::size);
        let free = free.map_or(String::new(), |free| format!("; {free} free on the disk"));
        format!("{}{most}{free}", show::size(self.overview.bytes))
    }

    fn stream(&self) -> String {
        let stream = self.overview.stream;
        match &self.overview.next_stream {
            None => stream.to_string(),
            Some(why) => format!("{stream}; the next start begins a new one: {why}"),
        }
    }

    fn when(&self, seen: Seen) -> String {
        let age = show::ago(self.now, seen.stamp.wall_ns);
        let sure = if seen.stamp.synced {
            ""
        } else {
            ", by a clock that was not synchronised"
        };
        format!("{}, {age}{sure}", show::time(seen.stamp.wall_ns))
    }

    /// Only where there are several.
    fn streams(&self) -> String {
        if self.overview.streams.len() < 2 {
            return String::new();
        }
        let mut rows = vec![
            ["stream", "first", "last", "from", "to"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for span in &self.overview.streams {
            rows.push(vec![
                span.stream.to_string(),
                span.first.to_string(),
                span.last.to_string(),
                show::time(span.earliest),
                show::time(span.latest),
            ]);
        }
        let columns = [
            Align::Left,
            Align::Right,
            Align::Right,
            Align::Left,
            Align::Left,
        ];
        format!("\n{}", show::table(&columns, &rows))
    }

    fn upstreams(&self) -> String {
        let mut rows = vec![
            ["upstream", "backlog", "about", "oldest", "dead letters", ""]
                .map(str::to_owned)
                .to_vec(),
        ];
        for backlog in &self.overview.backlogs {
            let oldest = backlog.oldest;
            rows.push(vec![
                backlog.upstream.to_string(),
                show::count(backlog.records),
                show::size(backlog.bytes),
                oldest.map_or("-".to_owned(), |seen| {
                    show::ago(self.now, seen.stamp.wall_ns)
                }),
                show::count(self.letters_of(&backlog.upstream)),
                match self.site.is_configured(&backlog.upstream) {
                    Some(false) => "not configured".to_owned(),
                    Some(true) | None => String::new(),
                },
            ]);
        }
        for upstream in self.new_upstreams() {
            let mut row = vec![upstream.to_string()];
            row.extend(["-", "-", "-", "-", "new to the store"].map(str::to_owned));
            rows.push(row);
        }
        if rows.len() == 1 {
            return "\nThe store knows no upstream: nothing waits to be sent.\n".to_owned();
        }
        let columns = [
            Align::Left,
            Align::Right,
            Align::Right,
            Align::Left,
            Align::Right,
            Align::Left,
        ];
        format!("\n{}", show::table(&columns, &rows))
    }

    /// What calls for a person, each with the command for it.
    fn hints(&self) -> String {
        let mut text = String::new();
        let place = &self.site.arguments;
        for backlog in self.left_over() {
            let (name, pinned) = (&backlog.upstream, counted(backlog.pinned, "record"));
            let keep = if backlog.pinned == 1 { "is" } else { "are" };
            text.push_str(&format!(
                "\n{name} is not configured any more, and {pinned} {keep} kept for it alone.\n  \
                 forebay queue export{place} --upstream {name} --output {name}.ndjson   saves its backlog\n  \
                 forebay queue forget{place} {name}   lets it go\n"
            ));
        }
        if !self.letters.is_empty() {
            let bytes = show::size(self.letter_bytes());
            let letters = counted(self.letters.len() as u64, "dead letter");
            text.push_str(&format!(
                "\n{letters}, {bytes}.\n  forebay queue dead list{place}   says why\n"
            ));
        }
        text
    }

    /// The upstreams that the store knows and the configuration does not.
    fn left_over(&self) -> impl Iterator<Item = &Backlog> {
        let backlogs = self.overview.backlogs.iter();
        backlogs.filter(|backlog| self.site.is_configured(&backlog.upstream) == Some(false))
    }

    /// The upstreams that the configuration knows and the store does not.
    fn new_upstreams(&self) -> impl Iterator<Item = &Name> {
        let configured = self.site.upstreams().unwrap_or_default().iter();
        configured.map(|upstream| &upstream.name).filter(|name| {
            let mut known = self.overview.backlogs.iter();
            !known.any(|backlog| backlog.upstream == **name)
        })
    }

    fn letters_of(&self, upstream: &Name) -> u64 {
        let letters = self.letters.iter();
        letters
            .filter(|kept| kept.letter.upstream == *upstream)
            .count() as u64
    }

    fn letter_bytes(&self) -> u64 {
        self.letters.iter().map(|kept| kept.bytes).sum()
    }

    fn json(&self) -> Value {
        let overview = &self.overview;
        let streams = overview.streams.iter().map(|span| {
            json!({
                "stream": span.stream.to_string(),
                "first": span.first,
                "last": span.last,
                "from": show::rfc3339(span.earliest),
                "to": show::rfc3339(span.latest),
            })
        });
        let known = overview.backlogs.iter().map(|backlog| {
            json!({
                "name": backlog.upstream.as_str(),
                "known": true,
                "configured": self.site.is_configured(&backlog.upstream),
                "records": backlog.records,
                "bytes": backlog.bytes,
                "oldest": self.seen_json(backlog.oldest),
                "pinned": backlog.pinned,
                "dead_letters": self.letters_of(&backlog.upstream),
            })
        });
        let new = self
            .new_upstreams()
            .map(|name| json!({ "name": name.as_str(), "known": false, "configured": true }));
        json!({
            "dir": self.site.dir,
            "ailing": self.ailing,
            "clean": overview.clean,
            "bytes": overview.bytes,
            "max_size": self.site.max_size(),
            "free": overview.free,
            "records": overview.records,
            "oldest": self.seen_json(overview.oldest),
            "newest": self.seen_json(overview.newest),
            "stream": overview.stream.to_string(),
            "next_stream": overview.next_stream,
            "streams": streams.collect::<Vec<_>>(),
            "upstreams": known.chain(new).collect::<Vec<_>>(),
            "dead_letters": { "count": self.letters.len(), "bytes": self.letter_bytes() },
        })
    }

    fn seen_json(&self, seen: Option<Seen>) -> Value {
        let Some(Seen { seq, stamp }) = seen else {
            return Value::Null;
        };
        let Stamp {
            wall_ns, synced, ..
        } = stamp;
        json!({
            "seq": seq,
            "time": show::rfc3339(wall_ns),
            "synced": synced,
            "age_seconds": self.now.saturating_sub(wall_ns) / 1_000_000_000,
        })
    }
}
