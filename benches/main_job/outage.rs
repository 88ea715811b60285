//! After an outage, with `delivery = "live-first"`: how soon data is current again, and how soon the backlog is there,
//! against a socket (MQTT) or the client library (AMQP) that publishes as many messages of the same size with the same window.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::broker::Broker;
use crate::shared::Spread;
use crate::{Options, Process, start_devices, start_forebay};

/// Data so young is current.
const CURRENT: Duration = Duration::from_secs(1);
/// Nothing older has come for so long: the backlog is there.
const QUIET: Duration = Duration::from_secs(5);

/// One outage, seconds after the gateway had its connection back.
struct Figures {
    current: f64,
    done: f64,
    backlog: f64,
    floor: f64,
}

pub(crate) fn run(options: &Options, kind: &str, away: Duration) {
    let mut all = Vec::new();
    for run in 0..options.runs {
        all.push(one_run(options, kind, away));
        eprintln!("run {} of {} done", run + 1, options.runs);
    }
    let share = |figures: &Figures| figures.done / away.as_secs_f64() * 100.0;
    println!(
        "{} devices every {:?}, {kind}, the link away for {away:?}; {} runs, median (least to most)",
        options.load.devices, options.load.period, options.runs
    );
    for (title, spread) in [
        (
            "first current data, s after reconnecting",
            Spread::of(&all, |f| f.current),
        ),
        ("records of the backlog", Spread::of(&all, |f| f.backlog)),
        (
            "backlog there, s after reconnecting",
            Spread::of(&all, |f| f.done),
        ),
        ("that is % of the outage", Spread::of(&all, share)),
        (
            "floor: published by the bare client in s",
            Spread::of(&all, |f| f.floor),
        ),
    ] {
        println!("{title:<44} {spread}");
    }
}

fn one_run(options: &Options, kind: &str, away: Duration) -> Figures {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(kind, dir.path());
    let (devices, modbus_port) = start_devices();
    let subscriber = broker.subscribe();
    let link = Link::to(broker.port());
    let upstream = broker.upstream(link.port) + "delivery = \"live-first\"\n";
    let forebay = Process(start_forebay(dir.path(), modbus_port, &upstream, options));
    std::thread::sleep(Duration::from_secs(3));
    link.whole.send_replace(false);
    std::thread::sleep(away);
    subscriber.reset();
    let mended = Instant::now();
    link.whole.send_replace(true);
    // The subscriber has no queue that could overflow: what it is sent it takes.
    let (mut arrivals, mut last_old) = (Vec::new(), None);
    while last_old.is_none_or(|at: Instant| at.elapsed() < QUIET) {
        assert!(
            mended.elapsed() < away + Duration::from_secs(120),
            "it does not come back"
        );
        std::thread::sleep(Duration::from_millis(100));
        let more = subscriber.take();
        let old = more.iter().rfind(|arrival| arrival.age > CURRENT);
        last_old = old.map(|arrival| arrival.at).or(last_old);
        arrivals.extend(more);
    }
    let connected = link.connected_since(mended);
    let since = |at: Instant| at.saturating_duration_since(connected).as_secs_f64();
    let current = arrivals.iter().find(|arrival| arrival.age < CURRENT);
    let backlog = arrivals
        .iter()
        .filter(|arrival| arrival.age > CURRENT)
        .count();
    drop((forebay, devices));
    Figures {
        current: since(current.unwrap().at),
        done: since(last_old.unwrap()),
        backlog: backlog as f64,
        floor: broker.floor(backlog).as_secs_f64(),
    }
}

/// The way to the broker, whole or not.
struct Link {
    port: u16,
    whole: watch::Sender<bool>,
    connects: Arc<Mutex<Vec<Instant>>>,
}

impl Link {
    fn to(broker: u16) -> Self {
        let (whole, is_whole) = watch::channel(true);
        let connects = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&connects);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((client, _)) = listener.accept().await {
                    if *is_whole.borrow() {
                        noted.lock().unwrap().push(Instant::now());
                        tokio::spawn(carry(client, broker, is_whole.clone()));
                    }
                }
            });
        });
        Self {
            port,
            whole,
            connects,
        }
    }

    fn connected_since(&self, moment: Instant) -> Instant {
        let connects = self.connects.lock().unwrap();
        *connects.iter().find(|at| **at >= moment).unwrap()
    }
}

async fn carry(mut client: TcpStream, broker: u16, mut whole: watch::Receiver<bool>) {
    let mut broker = TcpStream::connect((Ipv4Addr::LOCALHOST, broker))
        .await
        .unwrap();
    client.set_nodelay(true).unwrap();
    broker.set_nodelay(true).unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut broker) => {}
        _ = whole.wait_for(|whole| !*whole) => {}
    }
}
