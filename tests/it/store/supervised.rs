//! The gateway around a store whose writer hangs, or fails in its own work.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay::config::{self, InMemory};
use forebay::gateway::{Gateway, GatewayError, Opener};
use forebay::reading::{Clock, Outlet, SystemClock};
use forebay::store::{self, Inlet};
use tokio_util::sync::CancellationToken;

use super::rigged::{How, Op, Rigged};
use super::sample::scan;

const MAIN: &str = "/etc/forebay/forebay.toml";
/// How long anything that must happen may take on a loaded machine.
const BOUND: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(1);

/// The entrance of each store that was opened.
type Opened = Arc<Mutex<Vec<Inlet>>>;

/// A gateway without lines and upstreams on a store in `rigged`.
fn gateway(rigged: &Rigged) -> (Gateway, Opened) {
    let text = "[gateway]\nid = \"hall-2\"\nstate_dir = \"/nowhere\"\n";
    let host = InMemory::default().file(MAIN, text);
    let config = config::load_from(&host, Path::new(MAIN)).unwrap();
    let (rigged, opened) = (rigged.clone(), Opened::default());
    let noted = Arc::clone(&opened);
    let opener: Opener = Arc::new(move |settings, clock, inlet| {
        noted.lock().unwrap().push(inlet.clone());
        store::open_on(rigged.clone(), settings, clock, inlet)
    });
    let gateway = Gateway::new(config, Clock::new(SystemClock::new()));
    (gateway.with_store(opener, PATIENCE), opened)
}

#[tokio::test]
async fn a_writer_that_hangs_ends_the_gateway_and_one_with_nothing_to_do_does_not() {
    let rigged = Rigged::default();
    let (gateway, opened) = gateway(&rigged);
    let mut store = gateway.store();
    let mut run = tokio::spawn(gateway.run(CancellationToken::new()));
    let open = tokio::time::timeout(BOUND, store.wait_for(Option::is_some));
    let open = open.await.unwrap().unwrap().clone().unwrap();
    let mut head = open.head();
    let first = tokio::time::timeout(BOUND, head.wait_for(|head| *head >= 1));
    first.await.unwrap().unwrap();
    let idle = tokio::time::timeout(PATIENCE * 5 / 2, &mut run).await;
    assert!(idle.is_err(), "{idle:?}");

    rigged.set_pace(BOUND * 60);
    let inlet = opened.lock().unwrap()[0].clone();
    inlet.put(scan("press", 1, 3));
    let end = tokio::time::timeout(BOUND, run).await.unwrap().unwrap();
    match end {
        Err(GatewayError::Stalled(time)) => assert!(time >= PATIENCE, "{time:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_writer_that_fails_again_and_again_is_started_anew_after_pauses_and_a_stop_ends_them() {
    let rigged = Rigged::default();
    rigged.order_after(Op::Block, 0, u32::MAX, How::Panics);
    let (gateway, opened) = gateway(&rigged);
    let stop = CancellationToken::new();
    let run = tokio::spawn(gateway.run(stop.clone()));
    let times = || opened.lock().unwrap().len();
    let again = async {
        while times() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BOUND, again).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Without the pauses it is thousands.
    assert!(times() < 20, "opened {} times", times());
    stop.cancel();
    let end = tokio::time::timeout(BOUND, run).await.unwrap().unwrap();
    assert!(end.is_ok(), "{end:?}");
}
