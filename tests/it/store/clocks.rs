//! A gateway whose clock starts in 1970: every record gets its true time once that is known, or says that it is not.

use std::sync::Arc;
use std::time::Duration;

use forebay::reading::{BootId, Clock, Detail, EventName, ManualClock, Outlet, Record, Stamp};
use forebay::store::settings::Start;

use super::sample::{Running, name, scan, settings, told};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR.cast_signed();
/// When the machine of these tests was switched on, by the true time.
const ON: i64 = 1_790_000_000 * SECOND.cast_signed();

/// A machine of which each boot begins in 1970, `boot_ns` after it was switched on.
fn boots(clock: &ManualClock, boot: u128, boot_ns: u64) {
    clock.set(|stamp| {
        *stamp = Stamp {
            wall_ns: boot_ns.cast_signed(),
            boot_ns,
            boot: BootId(boot),
            synced: false,
        };
    });
}

fn synchronises(clock: &ManualClock, offset_ns: i64) {
    clock.set(|stamp| {
        stamp.wall_ns = offset_ns + stamp.boot_ns.cast_signed();
        stamp.synced = true;
    });
}

/// Puts a scan of the present moment.
fn put(store: &Running, clock: &ManualClock, n: u64) {
    let mut observation = scan("press", n, 3);
    observation.stamp = Clock::new(clock.clone()).now();
    store.inlet.put(observation);
}

/// The scans, in order: wall time, and whether it can be trusted.
async fn times(store: &Running) -> Vec<(i64, bool)> {
    store.store.flushed().await;
    let records = store.records_until(store.store.status().last).await;
    assert!(records.windows(2).all(|two| two[0].seq < two[1].seq));
    let scans = records
        .iter()
        .filter(|record| record.body.device().is_some());
    scans
        .map(|record: &Arc<Record>| (record.stamp.wall_ns, record.stamp.synced))
        .collect()
}

#[tokio::test]
async fn records_from_before_the_clock_was_right_get_their_true_time() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let settings = settings(dir.path());
    let open = || Running::open_with(&settings, Clock::new(clock.clone()));
    let in_1970 = |seconds: u64| ((seconds * SECOND).cast_signed(), false);
    let truly = |seconds: u64| (ON + (seconds * SECOND).cast_signed(), true);

    boots(&clock, 1, 5 * SECOND);
    let store = open();
    put(&store, &clock, 1);
    assert_eq!(times(&store).await, [in_1970(5)]);
    store.stop();
    // A restart before the clock is right, in the same boot.
    let store = open();
    clock.advance(5 * SECOND);
    put(&store, &clock, 2);
    assert_eq!(times(&store).await, [in_1970(5), in_1970(10)]);
    clock.advance(HOUR - 10 * SECOND);
    synchronises(&clock, ON);
    store.store.trust_clock(Clock::new(clock.clone()).now());
    put(&store, &clock, 3);
    let known = [truly(5), truly(10), truly(3600)];
    assert_eq!(times(&store).await, known);
    store.stop();
    // A restart after it.
    let store = open();
    assert_eq!(times(&store).await, known);
    // A step back changes neither what was read before, nor the order.
    clock.set(|stamp| stamp.wall_ns -= DAY);
    store.store.trust_clock(Clock::new(clock.clone()).now());
    put(&store, &clock, 4);
    let stepped = (truly(3600).0 - DAY, true);
    assert_eq!(times(&store).await, [known.as_slice(), &[stepped]].concat());
    store.stop();
    // The next boot ends before its clock was right: what it read stays marked.
    boots(&clock, 2, 7 * SECOND);
    let store = open();
    put(&store, &clock, 5);
    store.stop();
    boots(&clock, 3, 9 * SECOND);
    synchronises(&clock, ON + DAY);
    let store = open();
    store.store.trust_clock(Clock::new(clock.clone()).now());
    put(&store, &clock, 6);
    let after = [
        stepped,
        in_1970(7),
        (ON + DAY + 9 * SECOND.cast_signed(), true),
    ];
    assert_eq!(times(&store).await, [known.as_slice(), &after].concat());
    store.stop();
}

#[tokio::test]
async fn what_is_known_of_a_boot_outlives_a_crash_and_goes_with_its_last_record() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let settings = settings(dir.path());
    let open = || Running::open_with(&settings, Clock::new(clock.clone()));
    boots(&clock, 1, 5 * SECOND);
    let early = Clock::new(clock.clone()).now();
    let store = open();
    store.store.register(&name("cloud"), Start::Oldest);
    put(&store, &clock, 1);
    clock.advance(HOUR);
    synchronises(&clock, ON);
    store.store.trust_clock(Clock::new(clock.clone()).now());
    put(&store, &clock, 2);
    assert_eq!(times(&store).await.len(), 2);
    // Without an orderly stop: what went to disk with the block is all there is.
    let copy = tempfile::tempdir().unwrap();
    crate::engine::damage::copy(dir.path(), copy.path());
    store.stop();
    boots(&clock, 2, 5 * SECOND);
    let settings = super::sample::settings(copy.path());
    let store = Running::open_with(&settings, Clock::new(clock.clone()));
    assert_eq!(
        times(&store).await[0],
        (ON + 5 * SECOND.cast_signed(), true)
    );
    assert!(store.store.true_time(early).synced);
    store.stop();
}

#[tokio::test]
async fn no_step_of_the_clock_and_no_unknown_time_makes_a_record_too_old() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let mut settings = settings(dir.path());
    settings.max_age = Some(Duration::from_secs(7 * 86_400));
    // Each opening looks at the age, once something was committed: the first `seq` that is there then.
    let first = async || {
        let store = Running::open_with(&settings, Clock::new(clock.clone()));
        store.store.trust_clock(Clock::new(clock.clone()).now());
        put(&store, &clock, 9);
        store.store.flushed().await;
        store.stop().first
    };
    boots(&clock, 1, 5 * SECOND);
    assert_eq!(first().await, 1, "in 1970");
    boots(&clock, 2, 5 * SECOND);
    assert_eq!(first().await, 1, "in 1970 again");
    boots(&clock, 3, 5 * SECOND);
    synchronises(&clock, ON);
    assert_eq!(first().await, 1, "synchronised");
    clock.set(|stamp| stamp.wall_ns += 365 * DAY);
    assert_eq!(first().await, 1, "set a year ahead");
    clock.set(|stamp| stamp.wall_ns -= 2 * 365 * DAY);
    assert_eq!(first().await, 1, "set two years back");
    clock.set(|stamp| {
        stamp.synced = false;
        stamp.wall_ns += 100 * 365 * DAY;
    });
    assert_eq!(first().await, 1, "not synchronised");
    // Eight days later what was read before a record that is too old is so, too, whatever its own time says.
    boots(&clock, 4, 5 * SECOND);
    synchronises(&clock, ON + 8 * DAY);
    let kept = first().await;
    assert!(kept > 1);
    let store = Running::open_with(&settings, Clock::new(clock.clone()));
    let records = store.records_from(kept, 4).await;
    let dropped = |record: &Arc<Record>| told(record, EventName::RecordsDropped, "reason");
    let reasons: Vec<Detail> = records.iter().filter_map(dropped).collect();
    assert!(
        !reasons.is_empty()
            && reasons
                .iter()
                .all(|reason| *reason == Detail::Text("max_age".to_owned())),
        "{reasons:?}"
    );
    store.stop();
}
