//! The gateway around a store whose writer hangs, or fails in its own work.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forebay::config::{self, InMemory};
use forebay::gateway::{Gateway, GatewayError, Opener};
use forebay::reading::{Clock, Outlet, SystemClock};
use forebay::store::{self, Inlet, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::rigged::{EIO, How, Op, Rigged};
use super::sample::{LIMIT, scan};
use super::trouble::until;

const MAIN: &str = "/etc/forebay/forebay.toml";
/// How long anything that must happen may take on a loaded machine.
const BOUND: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(1);

/// The entrance of each store that was opened.
type Opened = Arc<Mutex<Vec<Inlet>>>;

/// A gateway without lines and upstreams on a store in `rigged`, whose writer may hang for so long.
fn gateway(rigged: &Rigged, patience: Duration) -> (Gateway, Opened) {
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
    (gateway.with_store(opener, patience), opened)
}

/// One at work.
struct Running {
    run: JoinHandle<Result<(), GatewayError>>,
    stop: CancellationToken,
    store: Store,
    inlet: Inlet,
}

impl Running {
    /// With so many blocks in its store.
    async fn with(rigged: &Rigged, patience: Duration, blocks: u64) -> Self {
        let (gateway, opened) = gateway(rigged, patience);
        let (mut store, stop) = (gateway.store(), CancellationToken::new());
        let run = tokio::spawn(gateway.run(stop.clone()));
        let open = tokio::time::timeout(BOUND, store.wait_for(Option::is_some));
        let store = open.await.unwrap().unwrap().clone().unwrap();
        let inlet = opened.lock().unwrap()[0].clone();
        let mut head = store.head();
        for block in 1..=blocks {
            let there = tokio::time::timeout(BOUND, head.wait_for(|head| *head >= block));
            there.await.unwrap().unwrap();
            if block < blocks {
                inlet.put(scan("press", block, 3));
            }
        }
        Self {
            run,
            stop,
            store,
            inlet,
        }
    }

    /// It ends by itself, as its writer hangs.
    async fn ends_itself(self) {
        let end = tokio::time::timeout(BOUND, self.run).await;
        match end.unwrap().unwrap() {
            Err(GatewayError::Stalled(time)) => assert!(time >= PATIENCE, "{time:?}"),
            other => panic!("{other:?}"),
        }
    }

    /// It is stopped, in order.
    async fn stopped(self) {
        self.stop.cancel();
        let end = tokio::time::timeout(BOUND, self.run).await;
        end.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_writer_that_hangs_ends_the_gateway_and_one_with_nothing_to_do_does_not() {
    let rigged = Rigged::default();
    let mut running = Running::with(&rigged, PATIENCE, 1).await;
    let idle = tokio::time::timeout(PATIENCE * 5 / 2, &mut running.run).await;
    assert!(idle.is_err(), "{idle:?}");

    rigged.order(Op::Block, How::Hangs);
    running.inlet.put(scan("press", 1, 3));
    running.ends_itself().await;
    rigged.let_pass(u32::MAX);
}

#[tokio::test]
async fn a_writer_that_hangs_when_it_opens_the_store_anew_ends_the_gateway() {
    let rigged = Rigged::default();
    let running = Running::with(&rigged, PATIENCE, 1).await;
    rigged.order(Op::Block, How::Fails(EIO));
    rigged.order(Op::Open, How::Hangs);
    running.inlet.put(scan("press", 1, 3));
    running.ends_itself().await;
    assert_eq!(rigged.came(), 1);
    rigged.let_pass(u32::MAX);
}

#[tokio::test]
async fn a_reader_that_hangs_while_the_store_is_to_be_opened_anew_ends_the_gateway() {
    let rigged = Rigged::default();
    // What was there when the store was opened has to be read from the disk.
    Running::with(&rigged, BOUND * 60, 3).await.stopped().await;
    let running = Running::with(&rigged, PATIENCE, 5).await;
    rigged.order(Op::Read, How::Hangs);
    let store = running.store.clone();
    let reader = tokio::spawn(async move { store.read(1, LIMIT).await });
    until("it reads", || rigged.came() == 1).await;
    rigged.order(Op::Block, How::Fails(EIO));
    running.inlet.put(scan("press", 5, 3));
    running.ends_itself().await;
    rigged.let_pass(u32::MAX);
    assert!(reader.await.is_ok());
}

#[tokio::test]
async fn a_long_rebuild_that_gets_on_is_not_taken_for_one_that_hangs() {
    const BLOCKS: u32 = 6;
    let rigged = Rigged::default();
    let running = Running::with(&rigged, BOUND * 60, BLOCKS.into()).await;
    rigged.order_after(Op::Read, 0, u32::MAX, How::Hangs);
    rigged.order(Op::Block, How::Damaged);
    running.inlet.put(scan("press", BLOCKS.into(), 3));
    until("the first block is read", || rigged.came() == 1).await;
    for block in 1..=BLOCKS {
        let passed = Instant::now();
        rigged.let_pass(1);
        until("the next block is read", || rigged.came() > block).await;
        let busy = running.store.stalled_for();
        assert!(!busy.is_zero(), "it is at work");
        assert!(busy < passed.elapsed(), "since the block before: {busy:?}");
    }
    rigged.heal();
    rigged.let_pass(u32::MAX);
    running.stopped().await;
}

#[tokio::test]
async fn a_writer_that_fails_again_and_again_is_started_anew_after_pauses_and_a_stop_ends_them() {
    let rigged = Rigged::default();
    rigged.order_after(Op::Block, 0, u32::MAX, How::Panics);
    let (gateway, opened) = gateway(&rigged, PATIENCE);
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
