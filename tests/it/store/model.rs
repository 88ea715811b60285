//! Any course of events against a queue in memory: what was announced arrives or is named, once, in order, unchanged.
//!
//! Each change pays for a few courses, always the same ones; with FOREBAY_LONG=1 they are many, and others each time. One
//! that fails is printed, made as short as it can be.

mod queue;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::rigged::{EIO, ENOSPC, EROFS, How, Op, Rigged};
use crate::harness::share;
use forebay::store::settings::WhenFull;
use queue::Queue;
use world::{End, Medium, World};

/// What happens to a store.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A scan, an event or a description of a device; a few scans fill a block each.
    Put { device: u8, what: u8 },
    /// The writer does what is due.
    Turn,
    /// An upstream takes up to `count` records, confirms them but each `gap`th, and refuses one that stands at `refused`.
    Take {
        upstream: usize,
        count: usize,
        gap: usize,
        refused: Option<usize>,
    },
    /// The disk is to go wrong.
    Order { op: Op, after: u32, how: How },
    /// The process ends and starts again.
    Restart(End),
}

fn step(faults: bool) -> impl Strategy<Value = Step> {
    let put = (0..3u8, 0..16u8).prop_map(|(device, what)| Step::Put { device, what });
    let refused = prop_oneof![4 => Just(None), 1 => (0..20usize).prop_map(Some)];
    let take =
        (0..2usize, 1..40usize, 2..9usize, refused).prop_map(|(upstream, count, gap, refused)| {
            Step::Take {
                upstream,
                count,
                gap,
                refused,
            }
        });
    let end = if faults {
        prop_oneof![
            Just(End::Stop),
            Just(End::Kill),
            (0..6usize).prop_map(End::PowerCut),
            any::<u8>().prop_map(End::Damage),
        ]
        .boxed()
    } else {
        prop_oneof![Just(End::Stop), Just(End::Kill)].boxed()
    };
    let op = prop::sample::select(vec![
        Op::Block,
        Op::Block,
        Op::Notes,
        Op::Sync,
        Op::Read,
        Op::Drop,
    ]);
    let how = prop_oneof![
        2 => any::<u8>().prop_map(How::Torn),
        6 => prop::sample::select(vec![
            How::Fails(ENOSPC),
            How::Fails(EROFS),
            How::Lies(EIO),
            How::Lies(ENOSPC),
            How::Panics,
            How::PanicsAfter,
        ]),
    ];
    let order = (op, 0..3u32, how).prop_map(|(op, after, how)| Step::Order { op, after, how });
    let orders = u32::from(faults) * 2;
    prop_oneof![
        20 => put,
        12 => Just(Step::Turn),
        8 => take,
        orders => order,
        3 => end.prop_map(Step::Restart),
    ]
}

/// Runs `cases` of them; each on a medium of its own.
fn run(cases: u32, steps: usize, faults: bool, medium: impl Fn() -> Medium) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let full = prop::sample::select(vec![WhenFull::DropOldest, WhenFull::DropNewest]);
    let course = (full, prop::collection::vec(step(faults), 5..steps));
    let mut runner = if share(1, 0) == 1 {
        TestRunner::new(config)
    } else {
        let same = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        TestRunner::new_with_rng(config, same)
    };
    runner
        .run(&course, |(when_full, steps)| {
            runtime.block_on(async {
                let mut world = World::open(medium(), when_full);
                let mut queue = Queue::default();
                world.look(&mut queue).await;
                for step in &steps {
                    world.go(step, &mut queue).await;
                }
                world.end(&mut queue).await;
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_course_of_events_over_an_engine_in_memory() {
    // Panics that are ordered say so, thousands of times.
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("on order") {
            eprintln!("{info}");
        }
    }));
    run(share(10_000, 200) as u32, 120, true, || {
        Medium::Memory(Rigged::with_tables(1_500))
    });
}

#[test]
fn any_course_of_events_over_the_engine_on_disk() {
    run(share(200, 4) as u32, 60, false, || {
        Medium::Disk(tempfile::tempdir().unwrap())
    });
}
