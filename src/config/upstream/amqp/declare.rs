//! `declare = { … }`: what is declared at connect.

use std::time::Duration;

use crate::config::fields::Fields;
use crate::config::upstream::Site;
use crate::upstream::settings::{
    Binding, Declare, DeclareQueue, ExchangeKind, QueueLimits, QueueType,
};

const EXCHANGES: [(&str, ExchangeKind); 4] = [
    ("topic", ExchangeKind::Topic),
    ("direct", ExchangeKind::Direct),
    ("fanout", ExchangeKind::Fanout),
    ("headers", ExchangeKind::Headers),
];
const QUEUES: [(&str, QueueType); 3] = [
    ("classic", QueueType::Classic),
    ("quorum", QueueType::Quorum),
    ("stream", QueueType::Stream),
];
const MINUTE: Duration = Duration::from_secs(60);
/// A longer time is as good as none.
const TEN_YEARS: Duration = Duration::from_secs(3_650 * 86_400);
/// Less would hold a few messages only.
const LEAST_SIZE: u64 = 1 << 20;

pub(super) fn read(fields: &Fields<'_>, name: &str, site: &Site<'_>) -> Option<Declare> {
    let Some(declare) = fields.fields("declare") else {
        return (!fields.has("declare")).then(Declare::default);
    };
    let passive = declare.bool("passive").unwrap_or(false);
    let kind = declare.choice("exchange", &EXCHANGES);
    let queue = declare.filled_text("queue");
    let queue_type = declare.choice("queue_type", &QUEUES);
    let queue_type = queue_type.unwrap_or(QueueType::Classic);
    let bind = declare.text("bind").map(str::to_owned);
    let limits = read_limits(&declare, queue_type);
    check_queue_keys(&declare, passive);
    let exchange = fields.text("exchange").unwrap_or_default();
    let exchange = exchange
        .replace("{gateway}", site.gateway)
        .replace("{upstream}", name);
    if exchange.is_empty() && fields.has("exchange") {
        for key in ["exchange", "bind"] {
            let reason = format!("`{key}` cannot apply to the default exchange \"\"");
            declare.refuse(key, reason, "name an exchange, or remove it");
        }
    }
    declare.finish();
    let bind = bind.map(|key| Binding {
        exchange: exchange.clone(),
        key,
    });
    Some(Declare {
        passive,
        exchange: kind.map(|kind| (exchange, kind)),
        queue: queue.map(|queue| DeclareQueue {
            name: queue.to_owned(),
            queue_type,
            limits,
            bind,
        }),
    })
}

/// Those that say how a queue is made need one that is.
fn check_queue_keys(declare: &Fields<'_>, passive: bool) {
    for key in ["queue_type", "bind", "max_size", "max_age"] {
        if passive {
            let reason = format!("`{key}` cannot be looked at: with `passive` nothing is made");
            declare.refuse(key, reason, "remove it, or remove `passive`");
        } else if !declare.has("queue") {
            let reason = format!("`{key}` belongs to a queue to declare");
            declare.refuse(key, reason, "add queue = \"NAME\"");
        }
    }
}

fn read_limits(declare: &Fields<'_>, queue_type: QueueType) -> QueueLimits {
    let limits = QueueLimits {
        max_size: declare.size("max_size", LEAST_SIZE),
        max_age: declare.duration("max_age", MINUTE..=TEN_YEARS),
    };
    if queue_type != QueueType::Stream {
        let reason = "only a stream lets go of messages by their age";
        let mend =
            "write queue_type = \"stream\"; or message_expiry beside declare, for each message";
        declare.refuse("max_age", reason, mend);
    }
    limits
}
