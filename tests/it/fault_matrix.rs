//! Every fault x every upstream x both orders, from a device that is polled all the time through a real store to a real
//! broker: nothing lost, each lane in order, polling undisturbed, and it recovers. What came is proved by the product's own
//! books. A case is a line of data; one runner runs them all. With `FOREBAY_LONG` all of them run, else each fault once for each upstream, the orders in turns.

mod amqp;
mod mqtt;
mod name;
mod plant;
mod scripted;
mod tls;

use std::time::Duration;

use forebay::forward::settings::{ForwarderSettings, Order};
use forebay::forward::{ForwarderStatus, Link};
use forebay::proof::{Ledger, Report, Terms};
use tokio::time::{Instant, sleep, timeout};

use self::plant::Plant;
use crate::forward::memory::{BOUND, Forwarder};
use crate::harness::proxy::Proxy;

/// Messages that may be out.
const WINDOW: u16 = 10;
/// No acknowledgement for so long ends a connection; a window at 2 kB/s is done in less.
const ACK_TIMEOUT: Duration = Duration::from_secs(4);
/// How late acknowledgements are; far below that timeout.
const LAG: Duration = Duration::from_millis(300);
/// From the end of a fault to the next confirmation: the longest back-off (0.2 s), or the rest of an attempt that the fault
/// had caught, and what a loaded machine needs.
const RECOVERY: Duration = Duration::from_secs(15);

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
            Self::SlowAnswers => status.confirmed >= 60,
            Self::QueueDeleted => told(status, "no queue takes it"),
            Self::QueueFull => told(status, "a queue is full"),
            Self::Forbidden => status.link == Link::Stopped,
            Self::WrongAuthority | Self::Expired => told(status, "certificate"),
            _ => status.link != Link::Up,
        }
    }

    /// First arrivals that may be out of order: what the broker took behind a message that it did not take (invariant 4).
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
    /// Starts what the fault needs.
    async fn start(fault: Fault) -> Self;
    /// What stands between the forwarder and the broker.
    fn proxy(&self) -> &Proxy;
    /// To reach it through the proxy.
    fn settings(&self) -> ForwarderSettings;
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
    let mut settings = peer.settings();
    settings.delivery.order = order;
    let mut plant = Plant::start().await;
    plant.add_scans(30).await;
    let mut forwarder = plant.forwarder(settings);
    plant.drained(&mut forwarder).await;
    // What the broker has acknowledged and not handed on yet may go with it.
    arrived(&peer, 30).await;

    let polls = plant.polls();
    begin(fault, &mut peer, &plant, &mut forwarder).await;
    plant.add_scans(30).await;
    forwarder.wait_for(|status| fault.is_noticed(status)).await;
    end(fault, &mut peer).await;
    let (mended, confirmed) = (Instant::now(), forwarder.status.borrow().confirmed);
    plant.add_scans(30).await;
    forwarder
        .wait_for(|status| status.confirmed > confirmed)
        .await;
    let recovered = mended.elapsed();
    assert!(recovered < RECOVERY, "{recovered:?} until it went on");
    plant.assert_polled_since(&polls);
    plant.stop().await;
    plant.drained(&mut forwarder).await;

    let report = arrived(&peer, plant.last()).await;
    assert!(report.is_complete(), "{report:#?}");
    assert!(
        report.reordered() <= fault.behind_a_refusal(),
        "{report:#?}"
    );
    assert_eq!(plant.dead_letters(), 0);
    forwarder.stop().await;
    println!(
        "    {:?}, went on after {recovered:?}, {} records, {} again",
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
        _ => peer.mend(fault).await,
    }
}
