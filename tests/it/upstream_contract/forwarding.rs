//! What every kind of upstream must do for a forwarder.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use forebay::forward::Link;
use forebay::forward::route::Template;
use forebay::forward::settings::{ForwarderSettings, Order};
use forebay::payload::settings::MessageKind;
use forebay::proof::{Ledger, Terms};
use forebay::reading::{Catalogue, EventName};
use forebay::upstream::settings::UpstreamSettings;
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::time::Instant;

use super::{PASSWORD, Peer};
use crate::forward::memory::{self, Forwarder, Memory, description, large};
use crate::forward::points;
use crate::harness::tamper::{Tamper, Treatment};

/// All that a forwarder sends goes where the peer's consumer gets it.
fn to(peer: &impl Peer, upstream: UpstreamSettings) -> ForwarderSettings {
    let mut settings = memory::settings(upstream);
    let place = || Template::parse(&peer.address().key).unwrap();
    settings.routes.scan = place();
    settings.routes.event = place();
    settings.routes.describe = place();
    settings
}

fn json(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap()
}

/// What is found in all that arrived, `least` at least. Some come again: acknowledgements that were on their way are lost
/// with a connection.
async fn found_among<T>(peer: &impl Peer, least: usize, find: impl Fn(&[Bytes]) -> Option<T>) -> T {
    let mut count = least;
    loop {
        let all = peer.arrived(count).await;
        if let Some(found) = find(&all) {
            return found;
        }
        count = all.len() + 1;
    }
}

/// Closes the connection over the first message that is so.
fn close_once(is_so: impl Fn(&Value) -> bool + Send) -> impl FnMut(&[u8]) -> Treatment + Send {
    let mut closed = false;
    move |payload| {
        let closes = !closed && is_so(&json(payload));
        closed |= closes;
        if closes {
            Treatment::Close
        } else {
            Treatment::Pass
        }
    }
}

pub(super) async fn stopped_in_order_and_started_again_it_repeats_nothing<P: Peer>() {
    let peer = P::start().await;
    let store = Memory::new();
    store.add_scans(2_000);
    for round in 1..=3 {
        let settings = to(&peer, peer.settings(50));
        let mut forwarder = Forwarder::start(settings, &store);
        forwarder.wait_for(|status| status.confirmed > 200).await;
        forwarder.stop().await;
        assert_eq!(store.cursor().range_count(), 1, "round {round}");
    }
    let forwarder = Forwarder::start(to(&peer, peer.settings(50)), &store);
    store.drained().await;
    forwarder.stop().await;
    let all = peer.arrived(2_000).await;
    let seqs: Vec<_> = all.iter().map(|one| json(one)["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=2_000).map(Some).collect::<Vec<_>>());
}

pub(super) async fn a_description_goes_before_the_scans_that_need_it<P: Peer>() {
    for order in [Order::OldestFirst, Order::LiveFirst] {
        let peer = P::start().await;
        let tamper = Tamper::to(peer.port(), P::PROTOCOL).await;
        // The first one goes down with its connection.
        tamper.treat(close_once(|message| message["describe"].is_object()));
        let store = Memory::new();
        let mut settings = to(&peer, peer.settings_by(tamper.port(), 10));
        settings.delivery.order = order;
        // More than the live lane brings: the rest is history.
        store.add_scans(30);
        let catalogue = || Catalogue::new([description("meter-3", 1)]);
        let mut forwarder = Forwarder::start_with(settings.clone(), &store, catalogue());
        store.drained().await;
        forwarder.wait_for(|status| status.connects == 2).await;
        forwarder.stop().await;
        let all = peer.arrived(31).await;
        let describes = |one: &Bytes| json(one)["describe"].is_object();
        assert!(describes(&all[0]), "{order:?}: {:?}", all[0]);
        let scans = all.iter().filter(|one| !describes(one)).count();
        assert_eq!(scans, 30, "{order:?}");
    }
}

pub(super) async fn a_record_in_parts_is_repeated_where_the_link_breaks_in_it<P: Peer>() {
    for order in [Order::OldestFirst, Order::LiveFirst] {
        let peer = P::start().await;
        let tamper = Tamper::to(peer.port(), P::PROTOCOL).await;
        let second_half = |message: &Value| message["seq"] == 5 && message["part"][0] == 2;
        tamper.treat(close_once(second_half));
        let mut settings = to(&peer, peer.settings_by(tamper.port(), 10));
        settings.delivery.order = order;
        settings.payload.message = MessageKind::Point;
        let store = Memory::new();
        points::add(&store, 20);
        let mut forwarder = Forwarder::start(settings, &store);
        store.drained().await;
        let status = forwarder.wait_for(|status| status.confirmed == 20).await;
        assert_eq!(status.connects, 2, "{order:?}");
        forwarder.stop().await;
        let report = found_among(&peer, 40, |all| {
            let mut ledger = Ledger::new(Terms {
                from_start: true,
                ..Terms::default()
            });
            for payload in all {
                ledger.take(payload, None);
            }
            Some(ledger.report()).filter(|report| report.records() == 20)
        })
        .await;
        assert!(report.is_complete(), "{order:?}: {report:#?}");
    }
}

pub(super) async fn what_is_too_large_is_a_dead_letter_and_the_rest_goes_on<P: Peer>() {
    let peer = P::small().await;
    let store = Memory::new();
    store.add_scans(20);
    store.add(large(3_000));
    store.add_scans(20);
    let forwarder = Forwarder::start(to(&peer, peer.settings(10)), &store);
    store.drained().await;
    let refused: Vec<_> = store.refused().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(refused, [21]);
    assert!(store.events().is_empty(), "{:?}", store.events());
    forwarder.stop().await;
    let all = peer.arrived(40).await;
    let mut seqs: Vec<_> = all.iter().map(|one| json(one)["seq"].as_u64()).collect();
    seqs.sort_unstable();
    seqs.dedup();
    let expected = (1..=41).filter(|seq| *seq != 21).map(Some);
    assert_eq!(seqs, expected.collect::<Vec<_>>());
}

pub(super) async fn what_the_connection_is_closed_over_again_and_again_is_a_dead_letter<P: Peer>() {
    let peer = P::start().await;
    let tamper = Tamper::to(peer.port(), P::PROTOCOL).await;
    tamper.treat(|payload| match json(payload)["seq"].as_u64() {
        Some(7 | 8) => Treatment::Close,
        _ => Treatment::Pass,
    });
    let store = Memory::new();
    store.add_scans(40);
    let settings = to(&peer, peer.settings_by(tamper.port(), 10));
    let forwarder = Forwarder::start(settings, &store);
    store.drained().await;
    let mut refused = store.refused();
    refused.sort_unstable();
    let seqs: Vec<_> = refused.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [7, 8]);
    let reason = &refused[0].1;
    assert!(reason.contains("closed the connection 5 times"), "{reason}");
    assert!(store.events().is_empty(), "{:?}", store.events());
    forwarder.stop().await;
    let wanted: BTreeSet<_> = (1..=40).filter(|seq| !seqs.contains(seq)).collect();
    found_among(&peer, wanted.len(), |all| {
        let numbers = all.iter().filter_map(|one| json(one)["seq"].as_u64());
        (numbers.collect::<BTreeSet<_>>() == wanted).then_some(())
    })
    .await;
}

pub(super) async fn where_nothing_is_allowed_it_stops_with_an_alarm_and_goes_on_when_it_is<
    P: Peer,
>() {
    let file = NamedTempFile::new().unwrap();
    let write = |path: &Path, password: &str| std::fs::write(path, password).unwrap();
    write(file.path(), "wrong");
    let (peer, upstream) = P::guarded(file.path()).await;
    let store = Memory::new();
    store.add_scans(50);
    let mut forwarder = Forwarder::start(to(&peer, upstream), &store);
    let status = forwarder
        .wait_for(|status| status.link == Link::Stopped)
        .await;
    let reason = status.last_error.unwrap();
    assert!(reason.starts_with("not authorised"), "{reason}");
    let told: Vec<_> = store.events().iter().map(|event| event.name).collect();
    assert_eq!(told, [EventName::UpstreamStopped]);
    assert_eq!((status.confirmed, store.refused().len()), (0, 0));
    write(file.path(), PASSWORD);
    store.drained().await;
    assert_eq!((store.events().len(), store.refused().len()), (1, 0));
    forwarder.stop().await;
    assert_eq!(peer.arrived(50).await.len(), 50);
}

pub(super) async fn a_broker_that_is_away_is_tried_again_after_pauses<P: Peer>() {
    let mut peer = P::start().await;
    let store = Memory::new();
    store.add_scans(10);
    let mut forwarder = Forwarder::start(to(&peer, peer.settings(10)), &store);
    store.drained().await;
    peer.kill();
    forwarder
        .wait_for(|status| status.link == Link::Connecting)
        .await;
    store.add_scans(10);
    // It neither ends nor turns in a circle: the pauses leave the processor alone.
    let (start, before) = (Instant::now(), processor_time());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let busy = processor_time() - before;
    assert!(busy < start.elapsed() / 2, "{busy:?} in two seconds");
    let status = forwarder.status.borrow().clone();
    assert_eq!((status.connects, status.confirmed), (1, 10));
    assert!(status.last_error.is_some());
    forwarder.stop().await;
    assert_eq!(store.cursor().first_missing(1), 11);
}

pub(super) async fn the_gateways_state_is_told_whatever_ends_it_where_the_broker_keeps_it<
    P: Peer,
>() {
    let peer = P::start().await;
    let connection = super::open(&peer.settings(1)).await;
    assert_eq!(connection.retains(), P::TELLS_STATE);
    connection.close().await;
    if !P::TELLS_STATE {
        return;
    }
    let mut settings = to(&peer, peer.settings(10));
    settings.routes.status = Some(Template::parse(&peer.address().key).unwrap());
    let told = async |count| {
        let all = peer.arrived(count).await;
        let last = json(all.last().unwrap());
        assert_eq!(all.len(), count);
        ["status", "reason"].map(|key| last[key].as_str().unwrap().to_owned())
    };
    let forwarder = Forwarder::start(settings.clone(), &Memory::new());
    assert_eq!(told(1).await, ["online", "connected"]);
    forwarder.stop().await;
    assert_eq!(told(2).await, ["offline", "stopped"]);
    let forwarder = Forwarder::start(settings, &Memory::new());
    assert_eq!(told(3).await, ["online", "connected"]);
    forwarder.abort();
    assert_eq!(told(4).await, ["offline", "connection-lost"]);
}

/// Of this process.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}
