//! Every fault x every upstream x both orders, from a device that is polled all the time through a real store to a real
//! broker: nothing lost, each lane in order, no scan before its description, polling undisturbed, and it recovers. What
//! came is proved by the product's own books, and by `forebay verify`. A case is a line of data; one runner runs them all.
//! With `FOREBAY_LONG` all of them run, else each fault once for each upstream, the orders in turns.

mod amqp;
mod answers;
mod mqtt;
mod name;
mod plant;
mod recovery;
mod tls;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use forebay::forward::settings::{ForwarderSettings, Order};
use forebay::forward::{ForwarderStatus, Link};
use forebay::proof::{Ledger, Report, Terms};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep, timeout};

use self::plant::Plant;
use self::recovery::Recovery;
use crate::forward::memory::{BOUND, Forwarder};
use crate::harness::proxy::Proxy;
use crate::harness::share;
use crate::harness::tamper::{Protocol, Tamper, Treatment};

/// Messages that may be out.
const WINDOW: u16 = 10;
/// No acknowledgement for so long ends a connection; a window at 2 kB/s is done in less.
const ACK_TIMEOUT: Duration = Duration::from_secs(4);
/// The same where some messages are never answered, and each such costs it.
const SHORT_ACK_TIMEOUT: Duration = Duration::from_secs(1);
/// How late acknowledgements are; far below those timeouts.
const LAG: Duration = Duration::from_millis(300);
/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The link is cut once.
    Cut,
    /// The link is cut and new ones are reset.
    Refused,
    /// Nothing passes, and nobody says so.
    BlackHole,
    /// 2 kB/s.
    Throttled,
    /// Acknowledgements come late.
    SlowAnswers,
    /// Cut again and again, in the middle of a window.
    CutInWindows,
    /// Acknowledgements come in another order.
    SwappedAnswers,
    /// Some messages are not taken, and nobody says so.
    NoAnswers,
    /// Some messages are not taken for now, and the broker says so; with MQTT 3.1.1 it closes the connection instead.
    Failures,
    /// The connection is closed by each tenth record.
    ClosedByRecords,
    /// All that at once.
    MixedAnswers,
    /// The broker stops in order.
    Stopped,
    /// The broker is killed, and has forgotten everything when it comes back.
    Killed,
    /// The broker hangs.
    Frozen,
    /// The queue is gone: what is sent comes back.
    QueueDeleted,
    /// A queue is full: what is sent is taken by others, and nacked.
    QueueFull,
    /// The exchange is gone: the channel is closed.
    ExchangeDeleted,
    /// The user may not publish any more.
    Forbidden,
    /// The broker is short of memory.
    MemoryAlarm,
    /// The broker is short of disk.
    DiskAlarm,
    /// The gateway is told to trust another authority.
    WrongAuthority,
    /// The broker's certificate has expired.
    Expired,
}

impl Fault {
    /// Of the link, whatever the broker.
    const LINK: [Self; 6] = [
        Self::Cut,
        Self::Refused,
        Self::BlackHole,
        Self::Throttled,
        Self::SlowAnswers,
        Self::CutInWindows,
    ];

    /// Of acknowledgements, whatever the broker.
    const ANSWERS: [Self; 5] = [
        Self::SwappedAnswers,
        Self::NoAnswers,
        Self::Failures,
        Self::ClosedByRecords,
        Self::MixedAnswers,
    ];

    /// Of certificates, whatever the broker.
    const TLS: [Self; 2] = [Self::WrongAuthority, Self::Expired];

    fn is_of_tls(self) -> bool {
        Self::TLS.contains(&self)
    }

    /// What the forwarder must notice before the fault ends.
    fn is_noticed(self, status: &ForwarderStatus) -> bool {
        match self {
            Self::Cut | Self::CutInWindows => true,
            Self::Throttled => status.confirmed >= 40,
            Self::SlowAnswers | Self::SwappedAnswers => status.confirmed >= 60,
            Self::NoAnswers => status.confirmed >= 60 && told(status, "no answer within"),
            Self::Failures => {
                told(status, "quota exceeded")
                    || told(status, "could not take it")
                    || status.connects > 1
            }
            Self::ClosedByRecords => status.confirmed >= 60 && status.connects > 1,
            Self::MixedAnswers => status.confirmed >= 60 + share(200, 0),
            Self::QueueDeleted => told(status, "no queue takes it"),
            Self::QueueFull => told(status, "a queue is full"),
            Self::Forbidden => status.link == Link::Stopped,
            Self::WrongAuthority | Self::Expired => told(status, "certificate"),
            _ => status.link != Link::Up,
        }
    }

    fn ack_timeout(self) -> Duration {
        match self {
            Self::NoAnswers | Self::MixedAnswers => SHORT_ACK_TIMEOUT,
            _ => ACK_TIMEOUT,
        }
    }

    /// The longest time that the forwarder may wait of its own accord when the fault ends.
    fn longest_pause(self) -> Duration {
        match self {
            // After refusals of the same record, as long as the connection holds.
            Self::QueueDeleted | Self::QueueFull | Self::Failures | Self::MixedAnswers => {
                Duration::from_secs(10)
            }
            // The longest back-off of these settings.
            _ => Duration::from_millis(200),
        }
    }

    /// First arrivals that may be out of order, beside those of messages that the proxy did not let through: what the broker
    /// took behind a message that it did not take (invariant 4).
    fn behind_a_refusal(self) -> u64 {
        match self {
            Self::QueueDeleted => WINDOW.into(),
            _ => 0,
        }
    }
}

fn told(status: &ForwarderStatus, reason: &str) -> bool {
    let error = status.last_error.as_deref();
    error.is_some_and(|error| error.contains(reason))
}

/// One kind of broker with a consumer that misses nothing of what the broker has acknowledged.
trait Peer: Sized {
    /// What it speaks.
    const PROTOCOL: Protocol;
    /// Starts what the fault needs.
    async fn start(fault: Fault) -> Self;
    /// What stands between the forwarder and the broker.
    fn proxy(&self) -> &Proxy;
    /// To reach it by this port: the proxy's, or of what stands before that.
    fn settings(&self, port: u16, ack_timeout: Duration) -> ForwarderSettings;
    /// Payloads that arrived, in order.
    fn arrived(&self) -> Vec<Vec<u8>>;
    /// The broker's own misfortunes begin.
    async fn harm(&mut self, fault: Fault);
    /// They end.
    async fn mend(&mut self, fault: Fault);
}

/// Whether every case is to run, not only the share that each change pays for.
fn all_cases() -> bool {
    std::env::var_os("FOREBAY_LONG").is_some()
}

/// Runs the cases of one kind.
async fn run_all<P: Peer>(faults: &[Fault], turn: usize) {
    for (place, fault) in faults.iter().enumerate() {
        let orders = [Order::OldestFirst, Order::LiveFirst];
        for (nth, order) in orders.into_iter().enumerate() {
            if all_cases() || (place + turn) % orders.len() == nth {
                run::<P>(*fault, order).await;
            }
        }
    }
}

async fn run<P: Peer>(fault: Fault, order: Order) {
    println!("{fault:?}, {order:?}");
    let start = Instant::now();
    let mut peer = P::start(fault).await;
    let tamper = match answers::to(fault) {
        Some(_) => Some(Tamper::to(peer.proxy().port(), P::PROTOCOL).await),
        None => None,
    };
    let port = tamper
        .as_ref()
        .map_or(peer.proxy().port(), |tamper| tamper.port());
    let mut settings = peer.settings(port, fault.ack_timeout());
    settings.delivery.order = order;
    let mut plant = Plant::start().await;
    plant.add_scans(30).await;
    let mut forwarder = plant.forwarder(settings.clone());
    plant.drained(&mut forwarder).await;
    // What the broker has acknowledged and not handed on yet may go with it.
    arrived(&peer, 30).await;

    let polls = plant.polls();
    if let (Some(tamper), Some(answers)) = (&tamper, answers::to(fault)) {
        tamper.treat(answers::script(answers));
    }
    begin(fault, &mut peer, &plant, &mut forwarder).await;
    plant.add_scans(30).await;
    forwarder.wait_for(|status| fault.is_noticed(status)).await;
    end(fault, &mut peer).await;
    if let Some(tamper) = &tamper {
        tamper.treat(|_| Treatment::Pass);
    }
    let recovery = Recovery::of(&forwarder, settings.upstream);
    plant.add_scans(30).await;
    let recovery = recovery.done(&mut forwarder, fault.longest_pause()).await;
    plant.assert_polled_since(&polls);
    plant.stop().await;
    plant.drained(&mut forwarder).await;

    let report = arrived(&peer, plant.last()).await;
    assert!(report.is_complete(), "{report:#?}");
    let withheld = tamper.as_ref().map_or(0, Tamper::withheld);
    assert!(
        report.reordered() <= fault.behind_a_refusal() + withheld,
        "{report:#?}"
    );
    assert_eq!(plant.dead_letters(), 0);
    assert_verified(&peer.arrived());
    assert_described(&peer.arrived());
    forwarder.stop().await;
    println!(
        "    {:?}, {recovery}, {} records, {} again",
        start.elapsed(),
        report.records(),
        report.duplicates()
    );
}

/// The books of what came, once there are so many records in them.
async fn arrived(peer: &impl Peer, records: u64) -> Report {
    let look = async {
        loop {
            let report = proved(&peer.arrived());
            if report.records() >= records {
                return report;
            }
            // The consumers announce what comes, but there may be several one after the other.
            sleep(Duration::from_millis(20)).await;
        }
    };
    let found = timeout(BOUND, look).await;
    found.unwrap_or_else(|_| panic!("not all came: {:#?}", proved(&peer.arrived())))
}

fn proved(payloads: &[Vec<u8>]) -> Report {
    let mut ledger = Ledger::new(Terms {
        from_start: true,
        ..Terms::default()
    });
    for payload in payloads {
        ledger.take(payload, None);
    }
    ledger.report()
}

/// `forebay verify` says so as well.
fn assert_verified(payloads: &[Vec<u8>]) {
    let mut lines = NamedTempFile::new().unwrap();
    for payload in payloads {
        lines.write_all(payload).unwrap();
        lines.write_all(b"\n").unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["verify", "--from-start"])
        .arg(lines.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
}

/// No scan came before the description of its map.
fn assert_described(payloads: &[Vec<u8>]) {
    let mut described = BTreeSet::new();
    for payload in payloads {
        let message: Value = serde_json::from_slice(payload).unwrap_or_default();
        let of = [&message["device"], &message["map"]].map(Value::to_string);
        if message["describe"].is_object() {
            described.insert(of);
        } else if message["values"].is_object() {
            assert!(described.contains(&of), "{message}");
        }
    }
    assert_eq!(
        described.len(),
        2,
        "the device that is polled, and the other"
    );
}

async fn begin(fault: Fault, peer: &mut impl Peer, plant: &Plant, forwarder: &mut Forwarder) {
    match fault {
        Fault::Cut => peer.proxy().cut(),
        Fault::Refused => {
            peer.proxy().refuse(true);
            peer.proxy().cut();
        }
        Fault::BlackHole => peer.proxy().pause(),
        Fault::Throttled => peer.proxy().rate(Some(2_000)),
        Fault::SlowAnswers => peer.proxy().lag(LAG),
        Fault::CutInWindows => {
            for _ in 0..5 {
                // Less than these thirty take, so that it happens among them.
                peer.proxy().cut_after(3_000);
                plant.add_scans(30).await;
                plant.drained(forwarder).await;
            }
        }
        Fault::MixedAnswers => plant.add_scans(share(200, 0)).await,
        _ if answers::to(fault).is_some() => {}
        _ => peer.harm(fault).await,
    }
}

async fn end(fault: Fault, peer: &mut impl Peer) {
    match fault {
        Fault::Cut | Fault::CutInWindows => {}
        Fault::Refused => peer.proxy().refuse(false),
        Fault::BlackHole => peer.proxy().resume(),
        Fault::Throttled => peer.proxy().rate(None),
        Fault::SlowAnswers => peer.proxy().lag(Duration::ZERO),
        _ if answers::to(fault).is_some() => {}
        _ => peer.mend(fault).await,
    }
}
