//! Where `verify` gets its messages: a broker, a file, standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Complaint;
use crate::config::BrokerUrl;
use crate::upstream::error::UpstreamError;
use crate::upstream::settings::{Endpoint, Login, Secret, TlsSettings};
use crate::upstream::subscription::{AmqpSource, Arrival, MqttFilter, Reach, Subscription, Wanted};

/// Messages that wait to be booked.
pub(super) const AHEAD: usize = 1_000;
/// Longest line of a file; a longer one falls apart, and its parts are no records.
const LONGEST_LINE: u64 = 16 << 20;
/// Pause before a broken connection is opened anew.
const PAUSE: Duration = Duration::from_secs(1);

/// The source, as the command line names it.
#[derive(Debug, Args)]
pub(super) struct SourceArguments {
    /// mqtt://HOST, mqtts://HOST, amqp://HOST/VHOST, amqps://HOST/VHOST, or a file with one message a line; without
    /// any, or `-`: standard input
    #[arg(value_name = "SOURCE", default_value = "-")]
    source: String,
    /// MQTT: topic filter
    #[arg(long, value_name = "FILTER", default_value = "forebay/#")]
    topic: String,
    /// AMQP: take the messages out of this queue
    #[arg(long, value_name = "NAME", conflicts_with = "exchange")]
    queue: Option<String>,
    /// AMQP: get a copy of what goes to this exchange from now on
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
    /// AMQP: binding key for --exchange
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "#",
        requires = "exchange"
    )]
    binding: String,
    /// User name
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// File with the password
    #[arg(
        long,
        value_name = "FILE",
        requires = "username",
        conflicts_with = "password_env"
    )]
    password_file: Option<PathBuf>,
    /// Environment variable with the password
    #[arg(long, value_name = "NAME", requires = "username")]
    password_env: Option<String>,
    /// PEM file of the authorities to trust; without it, those of the system
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of our own certificate
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// Where messages come from.
pub(super) enum Source {
    /// One a line.
    Lines(PathBuf),
    /// A broker.
    Broker(Box<Broker>),
}

/// A broker, and what is wanted of it.
pub(super) struct Broker {
    reach: Reach,
    wanted: Wanted,
    title: String,
}

/// What comes from a source.
pub(super) enum Item {
    /// The broker has taken the subscription.
    Subscribed,
    /// A message's payload, and the line of the file that it stands in.
    Message(Bytes, Option<u64>),
    /// It broke off, for this reason.
    Broken(String),
}

impl SourceArguments {
    /// # Errors
    /// What does not fit together.
    pub(super) fn source(&self) -> Result<Source, String> {
        if !self.source.contains("://") {
            return Ok(Source::Lines(PathBuf::from(&self.source)));
        }
        let url = BrokerUrl::parse(&self.source)?;
        let wanted = match (url.vhost, &self.queue, &self.exchange) {
            (None, None, None) => Wanted::Mqtt(MqttFilter {
                topic: self.topic.clone(),
            }),
            (None, ..) => return Err("an MQTT broker has neither queue nor exchange".to_owned()),
            (Some(vhost), queue, exchange) => Wanted::Amqp {
                vhost,
                source: self.amqp_source(queue.as_deref(), exchange.as_deref())?,
            },
        };
        let tls = TlsSettings {
            ca: self.ca.clone(),
            identity: self.cert.clone().zip(self.key.clone()),
        };
        let password = self.password_file.clone().map(Secret::File);
        let password = password.or(self.password_env.clone().map(Secret::Env));
        let reach = Reach {
            endpoint: Endpoint {
                host: url.host,
                port: url.port,
                tls: url.secure.then_some(tls),
            },
            login: self
                .username
                .clone()
                .map(|username| Login { username, password }),
        };
        Ok(Source::Broker(Box::new(Broker {
            reach,
            wanted,
            title: self.source.clone(),
        })))
    }

    fn amqp_source(
        &self,
        queue: Option<&str>,
        exchange: Option<&str>,
    ) -> Result<AmqpSource, String> {
        match (queue, exchange) {
            (Some(queue), _) => Ok(AmqpSource::Queue(queue.to_owned())),
            (None, Some(exchange)) => Ok(AmqpSource::Exchange {
                exchange: exchange.to_owned(),
                key: self.binding.clone(),
            }),
            (None, None) => Err("an AMQP broker needs --queue NAME or --exchange NAME".to_owned()),
        }
    }
}

impl Source {
    /// Whether messages come as they are sent, so that their time of arrival means something.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Broker(_))
    }

    /// Passes on what comes until the source ends, nobody takes it any more, or `stop` is cancelled.
    ///
    /// # Errors
    /// The source cannot be opened.
    pub(super) async fn pump(
        self,
        items: mpsc::Sender<Item>,
        stop: CancellationToken,
    ) -> Result<(), Complaint> {
        match self {
            Self::Lines(path) => {
                let input = open(&path)?;
                let read = tokio::task::spawn_blocking(move || read_lines(input, &items));
                let _ended = stop.run_until_cancelled(read).await;
                Ok(())
            }
            Self::Broker(broker) => {
                let opened = Subscription::open(&broker.reach, &broker.wanted).await;
                let subscription = opened.map_err(|error| {
                    Complaint::new(format!("{}: {error}", broker.title), help(&error))
                })?;
                say(&format!("{}: subscribed", broker.title));
                Feed { broker, items }.run(subscription, &stop).await;
                Ok(())
            }
        }
    }
}

/// A file, or standard input.
fn open(path: &Path) -> Result<Box<dyn Read + Send>, Complaint> {
    if path.as_os_str() == "-" {
        let input = io::stdin();
        if input.is_terminal() {
            say("reads messages from standard input, one a line; Ctrl-D ends them");
        }
        return Ok(Box::new(input));
    }
    let unreadable = |error: io::Error| {
        let reason = match error.kind() {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            ErrorKind::IsADirectory => "it is a folder".to_owned(),
            _ => error.to_string(),
        };
        let help =
            "name a file with one message a line, or a broker as mqtt://HOST or amqp://HOST/VHOST";
        Complaint::new(format!("{} cannot be read: {reason}", path.display()), help)
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(ErrorKind::IsADirectory.into()));
    }
    Ok(Box::new(file))
}

/// What to do about a broker that does not let us listen; empty, where the reason says it.
fn help(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Unreachable(_) => "is the broker up, and are its name and port these?",
        UpstreamError::Connection(_) => {
            "is this the broker's port, for this protocol and with or without TLS?"
        }
        UpstreamError::Silent(_) | UpstreamError::Timeout(..) => {
            "is there a firewall on the way, or another protocol on this port?"
        }
        UpstreamError::Tls(_) => {
            "the broker's certificate must be valid, for this name, and of an authority in --ca FILE (without it: the \
             system's); some brokers want one of ours, too (--cert, --key)"
        }
        UpstreamError::NotAuthorised(_) => {
            "--username with --password-file or --password-env, or what this user may read at the broker"
        }
        UpstreamError::Rejected(_) => "is the virtual host, the path of the URL, the right one?",
        UpstreamError::Secret(_) | UpstreamError::Refused(_) | UpstreamError::Closed(_) => "",
    }
}

fn read_lines(input: impl Read, items: &mpsc::Sender<Item>) {
    let mut input = BufReader::new(input);
    for number in 1_u64.. {
        let mut line = Vec::new();
        let item = match (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) if line.trim_ascii().is_empty() => continue,
            Ok(_) => Item::Message(line.into(), Some(number)),
            Err(error) => Item::Broken(format!("line {number}: {error}")),
        };
        let ends = matches!(item, Item::Broken(_));
        if items.blocking_send(item).is_err() || ends {
            return;
        }
    }
}

/// Passes on what a broker sends, over broken connections where nothing is lost by them.
struct Feed {
    broker: Box<Broker>,
    items: mpsc::Sender<Item>,
}

impl Feed {
    async fn run(&mut self, mut subscription: Subscription, stop: &CancellationToken) {
        if self.items.send(Item::Subscribed).await.is_err() {
            return;
        }
        while let Some(next) = stop.run_until_cancelled(subscription.next()).await {
            let passed = match next {
                Ok(Arrival::Message(payload)) => {
                    self.items.send(Item::Message(payload, None)).await
                }
                Ok(Arrival::Interrupted) => {
                    let lost = "the broker has forgotten the subscription: what it was sent meanwhile did not come";
                    say(&format!("{}: {lost}", self.broker.title));
                    Ok(())
                }
                Err(error) => match self.again(subscription, error, stop).await {
                    Some(anew) => {
                        subscription = anew;
                        continue;
                    }
                    None => return,
                },
            };
            if passed.is_err() {
                break;
            }
        }
        subscription.close().await;
    }

    /// A subscription that goes on where the broken one ended; `None` where there is none, or nobody wants it any more.
    async fn again(
        &mut self,
        broken: Subscription,
        error: UpstreamError,
        stop: &CancellationToken,
    ) -> Option<Subscription> {
        if let Wanted::Amqp {
            source: AmqpSource::Exchange { .. },
            ..
        } = &self.broker.wanted
        {
            // Its queue went with the connection.
            let _gone = self.items.send(Item::Broken(error.to_string())).await;
            return None;
        }
        say(&format!("{}: {error}: trying again", self.broker.title));
        let survives = broken.survives().then_some(broken);
        loop {
            stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await?;
            if survives.is_some() {
                return survives;
            }
            let opened = Subscription::open(&self.broker.reach, &self.broker.wanted);
            if let Ok(anew) = stop.run_until_cancelled(opened).await? {
                return Some(anew);
            }
        }
    }
}

/// To standard error: standard output is for the result.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "verify: {text}");
}
