//! In which order records go out, and how fast at most.

use std::time::Duration;

use crate::config::fields::Fields;
use crate::config::log::Finding;
use crate::forward::settings::{Delivery, Order};
use crate::support::units;

/// What is sent later than this after its reading is historical, unless the upstream says otherwise.
const HISTORICAL_AFTER: Duration = Duration::from_secs(10);
/// With less, a link's ordinary delay would make every record historical, and none live.
const LEAST_LIVE: Duration = Duration::from_secs(1);

/// Reads `delivery`, `history_rate`, `max_rate` and `historical_after`.
pub(super) fn read(fields: &Fields<'_>) -> (Delivery, Duration) {
    let orders = [
        ("oldest-first", Order::OldestFirst),
        ("live-first", Order::LiveFirst),
    ];
    let order = fields.choice("delivery", &orders).unwrap_or_default();
    let late = Duration::ZERO..=Duration::from_secs(86_400);
    let historical_after = fields.duration("historical_after", late);
    if order == Order::LiveFirst && historical_after.is_some_and(|after| after < LEAST_LIVE) {
        let reason = "with delivery = \"live-first\" a record is live until `historical_after`, which is too short";
        let finding = Finding::error(fields.at("historical_after"), reason);
        fields
            .log
            .push(finding.mend("write \"1s\" or more, or remove it: the default is \"10s\""));
    }
    let delivery = Delivery {
        order,
        history_rate: read_rate(fields, "history_rate", "\"500/s\"", |text| {
            text.parse().ok().filter(|rate| *rate > 0)
        }),
        max_rate: read_rate(fields, "max_rate", "\"64KiB/s\"", |text| {
            units::parse_size(text).ok().filter(|rate| *rate > 0)
        }),
    };
    (delivery, historical_after.unwrap_or(HISTORICAL_AFTER))
}

/// A text "…/s".
fn read_rate<T>(
    fields: &Fields<'_>,
    key: &'static str,
    example: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let text = fields.text(key)?;
    let rate = text
        .strip_suffix("/s")
        .and_then(|text| parse(text.trim_end()));
    if rate.is_none() {
        let finding = Finding::error(fields.at(key), format!("`{key} = {text:?}` is no rate"));
        fields
            .log
            .push(finding.mend(format!("write it as in {key} = {example}")));
    }
    rate
}
