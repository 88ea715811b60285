//! Steps as lines and as JSON; what to do about one that failed.

use std::fmt::Write;
use std::io::ErrorKind;
use std::time::Duration;

use serde_json::{Value, json};

use crate::upstream::error::UpstreamError;
use crate::upstream::message::{Address, Answer, Assurance};
use crate::upstream::probe::{Distrust, Failure, Found, Step, Tried};
use crate::upstream::settings::{MqttVersion, UpstreamSettings};

/// A certificate that ends sooner than this is worth a word.
const SOON: i64 = 30;

/// The way to one broker.
pub(super) struct Tested {
    broker: String,
    address: Address,
    mqtt3: bool,
    amqp: bool,
    inflight: u16,
    steps: Vec<Shown>,
}

struct Shown {
    step: Step,
    took: Duration,
    /// What was found, or the reason and the mend.
    outcome: Result<String, (String, &'static str)>,
}

impl Tested {
    pub(super) fn new(settings: &UpstreamSettings, endpoint: usize, address: &Address) -> Self {
        let amqp = matches!(settings, UpstreamSettings::Amqp(_));
        let place = settings.endpoints().get(endpoint);
        let secure = place.is_some_and(|place| place.tls.is_some());
        let scheme = match (amqp, secure) {
            (false, false) => "mqtt",
            (false, true) => "mqtts",
            (true, false) => "amqp",
            (true, true) => "amqps",
        };
        let broker = place.map(|place| format!("{scheme}://{}:{}", place.host, place.port));
        Self {
            broker: broker.unwrap_or_default(),
            address: address.clone(),
            mqtt3: matches!(settings, UpstreamSettings::Mqtt(mqtt) if mqtt.version == MqttVersion::V3),
            amqp,
            inflight: settings.inflight(),
            steps: Vec::new(),
        }
    }

    /// The line above the steps.
    pub(super) fn head(&self) -> String {
        format!("{}\n", self.broker)
    }

    /// Takes a step; its lines.
    pub(super) fn take(&mut self, tried: Tried) -> String {
        let outcome = match &tried.outcome {
            Ok(found) => Ok(self.found(found)),
            Err(failure) => Err((reason(failure), self.mend(tried.step, failure))),
        };
        let shown = Shown {
            step: tried.step,
            took: tried.took,
            outcome,
        };
        let (name, took) = (title(shown.step), shown.took.as_millis());
        let mut text = String::new();
        // Writing to text cannot fail.
        let _ = match &shown.outcome {
            Ok(found) => writeln!(text, "  {name:<18}{took:>6} ms  {found}"),
            Err((reason, "")) => writeln!(text, "  {name:<18}FAILED after {took} ms: {reason}"),
            Err((reason, mend)) => {
                writeln!(
                    text,
                    "  {name:<18}FAILED after {took} ms: {reason}\n{:20}{mend}",
                    ""
                )
            }
        };
        self.steps.push(shown);
        text
    }

    /// Whether all steps were done, and none failed.
    pub(super) fn passed(&self) -> bool {
        let last = self.steps.last();
        last.is_some_and(|last| last.step == Step::Confirm && last.outcome.is_ok())
    }

    fn found(&self, found: &Found) -> String {
        match found {
            Found::Addresses(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                addresses.join(", ")
            }
            Found::Peer(peer) => peer.to_string(),
            Found::Secured {
                modern,
                chain,
                not_after,
            } => {
                let version = if *modern { "TLS 1.3" } else { "TLS 1.2" };
                format!("{version}, certificates: {chain}{}", validity(*not_after))
            }
            Found::Opened(Some(most)) if *most < self.inflight => {
                format!(
                    "takes {most} messages at once, inflight = {}",
                    self.inflight
                )
            }
            Found::Opened(_) => String::new(),
            Found::Answered(assurance) => self.answered(*assurance),
        }
    }

    fn answered(&self, assurance: Assurance) -> String {
        let place = self.place();
        match assurance {
            Assurance::None => format!("{place} (qos = 0: handed over, nobody acknowledges)"),
            _ if self.mqtt3 => {
                format!("{place} (MQTT 3.1.1: brokers acknowledge also what their rules forbid)")
            }
            _ => place,
        }
    }

    /// Where the message went.
    fn place(&self) -> String {
        let Address { exchange, key } = &self.address;
        if self.amqp {
            format!("exchange {exchange:?}, routing key {key:?}")
        } else {
            key.to_string()
        }
    }

    fn mend(&self, step: Step, failure: &Failure) -> &'static str {
        match (step, failure) {
            (Step::Resolve, _) => "the name in `url`, or the gateway's name servers",
            (Step::Connect, Failure::Network(error))
                if error.kind() == ErrorKind::ConnectionRefused =>
            {
                "is the broker up, and is this its port?"
            }
            (Step::Connect, _) => "the address, the route to it, or a firewall on the way",
            (Step::Tls, Failure::Certificate(distrust, _)) => match distrust {
                Distrust::Issuer => {
                    "name the authority that signed the broker's certificate by tls.ca"
                }
                Distrust::Time => {
                    "have the broker's certificate renewed, or set the gateway's clock"
                }
                Distrust::Name => "`url` must have a name that stands in the certificate",
                Distrust::Other => "have the broker's certificate replaced",
            },
            (Step::Tls, Failure::Network(_) | Failure::Silence(_)) => {
                "does the broker speak TLS on this port?"
            }
            // Files that cannot be used, or one that is missing: the reason names them and the mend.
            (Step::Tls, _)
            | (_, Failure::Upstream(UpstreamError::Secret(_) | UpstreamError::Tls(_))) => "",
            (Step::Open, Failure::Upstream(UpstreamError::NotAuthorised(_))) => {
                "username and password, or what the user may do at the broker"
            }
            (Step::Open, Failure::Upstream(UpstreamError::Rejected(_))) if self.amqp => {
                "the virtual host (the path of `url`), or `declare`"
            }
            (Step::Open, Failure::Upstream(UpstreamError::Rejected(_))) => {
                "version, client_id or qos"
            }
            (Step::Open, Failure::Silence(_) | Failure::Upstream(UpstreamError::Timeout(..))) => {
                "the broker has stalled, or speaks another protocol on this port"
            }
            (Step::Open, _) => "does the broker speak this protocol on this port, and without TLS?",
            (Step::Confirm, failure) => self.mend_confirm(failure),
        }
    }

    fn mend_confirm(&self, failure: &Failure) -> &'static str {
        match failure {
            Failure::Answer(Answer::Returned(_)) if self.amqp => {
                "bind a queue to the exchange with a matching key, or declare one (declare = { … })"
            }
            Failure::Answer(Answer::Stop(_) | Answer::Refused(_))
            | Failure::Upstream(UpstreamError::NotAuthorised(_)) => {
                "let the user publish there, or test another place by --topic"
            }
            // The reason says it.
            Failure::Upstream(UpstreamError::Closed(_)) => "",
            _ => {
                "the broker took the connection, but not the message: has it run out of memory or disk?"
            }
        }
    }
}

/// All brokers as one JSON object on a line.
pub(super) fn to_json(upstream: &str, all: &[Tested]) -> String {
    let step = |shown: &Shown| {
        let (step, ms) = (key(shown.step), shown.took.as_secs_f64() * 1e3);
        match &shown.outcome {
            Ok(found) => json!({"step": step, "ok": true, "ms": ms, "found": found}),
            Err((reason, mend)) => {
                json!({"step": step, "ok": false, "ms": ms, "reason": reason, "mend": mend})
            }
        }
    };
    let broker = |tested: &Tested| -> Value {
        let steps: Vec<Value> = tested.steps.iter().map(step).collect();
        json!({"broker": tested.broker, "ok": tested.passed(), "steps": steps})
    };
    let object = json!({
        "upstream": upstream,
        "ok": all.iter().all(Tested::passed),
        "brokers": all.iter().map(broker).collect::<Vec<_>>(),
    });
    format!("{object}\n")
}

fn title(step: Step) -> &'static str {
    match step {
        Step::Resolve => "name resolved",
        Step::Connect => "connected",
        Step::Tls => "TLS",
        Step::Open => "authenticated",
        Step::Confirm => "message confirmed",
    }
}

fn key(step: Step) -> &'static str {
    match step {
        Step::Resolve => "resolve",
        Step::Connect => "connect",
        Step::Tls => "tls",
        Step::Open => "authenticate",
        Step::Confirm => "confirm",
    }
}

fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Silence(limit) => format!("no answer within {limit:?}"),
        Failure::Network(error) => error.to_string(),
        Failure::Certificate(_, reason) => format!("the broker's certificate: {reason}"),
        Failure::Upstream(error) => error.to_string(),
        Failure::Answer(
            Answer::Retry(reason)
            | Answer::Returned(reason)
            | Answer::Refused(reason)
            | Answer::Stop(reason),
        ) => reason.clone(),
        Failure::Answer(answer) => format!("{answer:?}"),
    }
}

fn validity(not_after: Option<i64>) -> String {
    let Some(end) = not_after else {
        return String::new();
    };
    let days = (end - jiff::Timestamp::now().as_second()) / 86_400;
    let soon = if days < SOON { ": have it renewed" } else { "" };
    format!(", valid for {days} days{soon}")
}
