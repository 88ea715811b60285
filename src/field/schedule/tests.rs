#![allow(clippy::cast_precision_loss, reason = "milliseconds")]

use super::*;

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Stamp {
    Stamp {
        // The wall clock is 300 ms past a full second when the machine has run for 0 ms.
        wall_ns: 1_700_000_000_300_000_000 + i64::try_from(ms * MS).unwrap(),
        boot_ns: ms * MS,
        ..Stamp::default()
    }
}

fn schedule(periods_ms: &[u64]) -> Schedule {
    let mut schedule = Schedule::default();
    for (class, &period) in periods_ms.iter().enumerate() {
        let period = Some(Duration::from_millis(period));
        schedule.add((0, class), period, Duration::ZERO, at(0));
    }
    schedule
}

#[test]
fn ticks_are_on_the_wall_clock_and_do_not_drift() {
    let mut schedule = schedule(&[1000]);
    assert_eq!(schedule.next(at(0)), Next::Now(0, 0));
    schedule.served(0, 0, Took::Nothing, at(40));
    for second in 0..1000 {
        let tick = 700 + 1000 * second;
        assert_eq!(schedule.next(at(tick - 1)), Next::At(tick * MS));
        assert_eq!(schedule.next(at(tick)), Next::Now(0, 0));
        // Whenever it is served within its period, the next tick is on the grid.
        schedule.served(0, 0, Took::Nothing, at(tick + 37 * second % 1000));
    }
}

#[test]
fn missed_ticks_are_skipped() {
    let mut schedule = schedule(&[100]);
    schedule.served(0, 0, Took::Nothing, at(5));
    assert_eq!(schedule.next(at(5)), Next::At(100 * MS));
    schedule.served(0, 0, Took::Nothing, at(12_345));
    assert_eq!(schedule.next(at(12_345)), Next::At(12_400 * MS));
}

#[test]
fn periods_that_divide_no_day_keep_their_distance() {
    let mut schedule = schedule(&[7_000_000]);
    schedule.served(0, 0, Took::Nothing, at(3));
    assert_eq!(schedule.next(at(3)), Next::At(7_000_000 * MS));
    schedule.served(0, 0, Took::Nothing, at(14_000_001));
    assert_eq!(schedule.next(at(14_000_001)), Next::At(21_000_000 * MS));
}

#[test]
fn a_clock_that_steps_moves_the_grid_by_less_than_a_period() {
    let mut schedule = schedule(&[1000]);
    schedule.served(0, 0, Took::Nothing, at(0));
    for step_ms in [-86_400_123, -250, 250, 3_600_017] {
        let mut now = at(700);
        now.wall_ns += step_ms * i64::try_from(MS).unwrap();
        schedule.entries[0].due_ns = Some(now.boot_ns);
        schedule.served(0, 0, Took::Nothing, now);
        let Next::At(due) = schedule.next(now) else {
            panic!("due at once")
        };
        let wait = due - now.boot_ns;
        assert!((500 * MS..=1500 * MS).contains(&wait), "{step_ms}: {wait}");
    }
}

#[test]
fn the_earliest_deadline_is_first_and_once_is_only_on_demand() {
    let mut schedule = schedule(&[1000, 100]);
    schedule.add((1, 0), None, Duration::ZERO, at(0));
    for class in [1, 0] {
        assert_eq!(schedule.next(at(0)), Next::Now(0, class));
        schedule.served(0, class, Took::Nothing, at(0));
    }
    assert_eq!(schedule.next(at(0)), Next::Now(1, 0));
    schedule.served(1, 0, Took::Nothing, at(0));
    assert_eq!(schedule.next(at(0)), Next::At(100 * MS));
    schedule.at_once(1, at(50));
    assert_eq!(schedule.next(at(60)), Next::Now(1, 0));
    // Due for long, it is before what has only just come.
    schedule.served(0, 1, Took::Nothing, at(12_000));
    schedule.served(0, 0, Took::Nothing, at(12_000));
    assert_eq!(schedule.next(at(12_200)), Next::Now(1, 0));
    schedule.served(1, 0, Took::Nothing, at(12_200));
    assert_eq!(schedule.next(at(12_200)), Next::Now(0, 1));
}

/// A line with classes of so many milliseconds of period and of bus time; gives how many ticks each had of all that there
/// were, and what was told, in the last 100 of 200 s.
fn run(classes: &[(u64, u64)]) -> (Vec<f64>, Schedule, Vec<bool>) {
    let mut schedule = Schedule::default();
    for (class, &(period, cost)) in classes.iter().enumerate() {
        let period = Duration::from_millis(period);
        schedule.add((0, class), Some(period), Duration::from_millis(cost), at(0));
    }
    let (mut now, mut served, mut news) = (0, vec![0_u32; classes.len()], Vec::new());
    while now < 200_000 {
        match schedule.next(at(now)) {
            Next::Now(_, class) => {
                now += classes[class].1;
                let took = Took::Time(Duration::from_millis(classes[class].1));
                schedule.served(0, class, took, at(now));
                served[class] += u32::from(now >= 100_000);
            }
            Next::At(due) => now = due.div_ceil(MS),
            Next::Nothing => unreachable!(),
        }
        news.extend(schedule.news());
    }
    let shares = served.iter().zip(classes);
    let shares =
        shares.map(|(&served, &(period, _))| f64::from(served) * period as f64 / 100_000.0);
    (shares.collect(), schedule, news)
}

#[test]
fn a_line_that_can_serves_every_tick() {
    let mut classes = vec![(1000, 40); 12];
    classes.extend([(200, 40), (500, 60), (100, 12)]);
    let (shares, schedule, news) = run(&classes);
    assert!(
        (0.91..0.95).contains(&schedule.load()),
        "{}",
        schedule.load()
    );
    assert!(shares.iter().all(|&share| share >= 0.99), "{shares:?}");
    assert_eq!(news, [] as [bool; 0]);
}

#[test]
fn an_overloaded_line_leaves_out_the_same_share_of_all() {
    let mut mixed = vec![(1000, 60); 15];
    mixed.extend([(100, 10), (200, 30), (500, 60), (2000, 50), (5000, 50)]);
    for classes in [vec![(1000, 30); 45], mixed] {
        let (shares, schedule, news) = run(&classes);
        let fair = 1.0 / schedule.load();
        assert!(fair < 0.9);
        for share in &shares {
            assert!((share / fair - 1.0).abs() < 0.15, "{shares:?} of {fair}");
        }
        assert_eq!(news, [true]);
    }
}

#[test]
fn what_ends_an_overload_gives_all_ticks_back_and_is_told() {
    let mut schedule = Schedule::default();
    for device in 0..2 {
        let (period, cost) = (Duration::from_secs(1), Duration::from_millis(700));
        schedule.add((device, 0), Some(period), cost, at(0));
    }
    let mut news = Vec::new();
    let mut now = 0;
    while now < 60_000 {
        if let Next::Now(device, _) = schedule.next(at(now)) {
            // The second falls silent after half a minute.
            let is_dead = device == 1 && now > 30_000;
            let took = Took::Time(Duration::from_millis(700));
            let took = if is_dead { Took::Nothing } else { took };
            now += if is_dead { 1 } else { 700 };
            schedule.served(device, 0, took, at(now));
            news.extend(schedule.news().map(|is_on| (now / 1000, is_on)));
        } else {
            now += 10;
        }
    }
    let (on, off) = (news[0], news[1]);
    assert!(on.1 && (5..8).contains(&on.0), "{news:?}");
    assert!(!off.1 && (35..40).contains(&off.0), "{news:?}");
    assert_eq!(schedule.kept(), 1.0);
}
