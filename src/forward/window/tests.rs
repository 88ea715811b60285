mod blame;
mod model;

use super::*;
use crate::payload::Part;
use crate::upstream::message::Answer;

const ALL: Lane = Lane::Backlog;

fn window(inflight: u16) -> Window {
    Window::new(inflight, Order::OldestFirst, None, RangeSet::new())
}

/// Of three topics in turn.
fn letter(seq: u64) -> Parcel {
    Parcel::Record(Letter {
        seq,
        part: Part::WHOLE,
        size: 10,
        key: (seq % 3).to_string().into(),
    })
}

/// Submits in the only lane.
fn submit(window: &mut Window, seq: u64) -> u64 {
    window.submit(ALL, letter(seq), Instant::now())
}

fn retry() -> Answer {
    Answer::Retry("busy".to_owned())
}

fn stop() -> Answer {
    Answer::Stop("not authorised".to_owned())
}

#[test]
fn live_records_find_half_of_the_window_free() {
    let mut window = Window::new(4, Order::LiveFirst, None, RangeSet::new());
    window.begin(100);
    assert_eq!(window.next(Lane::Live), 97);
    assert_eq!(
        (window.next(Lane::Backlog), window.end(Lane::Backlog)),
        (1, 97)
    );
    for seq in 1..3 {
        assert!(window.has_room(Lane::Backlog));
        window.submit(Lane::Backlog, letter(seq), Instant::now());
    }
    assert!(!window.has_room(Lane::Backlog));
    for seq in 97..99 {
        assert!(window.has_room(Lane::Live));
        window.submit(Lane::Live, letter(seq), Instant::now());
    }
    assert!(!window.has_room(Lane::Live));
}

#[test]
fn what_a_connection_grants_holds_for_it_where_it_is_fewer() {
    let room = |window: &mut Window, lane| {
        let mut seq = window.next(lane);
        while window.has_room(lane) {
            window.submit(lane, letter(seq), Instant::now());
            seq += 1;
        }
        window.track(lane).waiting
    };
    let mut window = Window::new(10, Order::LiveFirst, None, RangeSet::new());
    for (granted, backlog, live) in [
        (Some(4), 2, 2),
        (Some(1), 1, 0),
        (Some(0), 1, 0),
        (Some(100), 5, 5),
        (None, 5, 5),
    ] {
        window.begin(100);
        window.grant(granted);
        assert_eq!(room(&mut window, Lane::Backlog), backlog, "{granted:?}");
        assert_eq!(room(&mut window, Lane::Live), live, "{granted:?}");
    }
}

#[test]
fn what_the_live_lane_leaves_the_backlog_lane_brings() {
    let mut window = Window::new(4, Order::LiveFirst, None, RangeSet::new());
    window.begin(10);
    let token = window.submit(Lane::Live, letter(7), Instant::now());
    assert_eq!(window.leave(8, 100), None, "the seventh may yet come back");
    assert_eq!(window.end(Lane::Backlog), 7);
    assert_eq!(
        window.answer(token, Answer::Confirmed),
        Outcome::Confirmed(7)
    );
    assert_eq!(window.leave(8, 100), Some(97));
    assert_eq!(
        (window.next(Lane::Live), window.end(Lane::Backlog)),
        (97, 97)
    );
}

#[test]
fn copies_of_descriptions_hold_scans_and_are_told_when_not_taken() {
    let mut window = window(3);
    let now = Instant::now();
    let copy = window.submit(ALL, Parcel::Copy, now);
    let Parcel::Record(record) = letter(1) else {
        unreachable!("a record");
    };
    let description = window.submit(ALL, Parcel::Description(record), now);
    assert!(window.is_describing());
    assert_eq!(
        window.answer(description, Answer::Confirmed),
        Outcome::Confirmed(1)
    );
    assert!(window.is_describing());
    assert_eq!(
        window.answer(copy, retry()),
        Outcome::CopyHalted("busy".to_owned())
    );
    assert!(!window.is_describing() && window.is_halted(ALL) && window.is_settled(ALL));
}

#[test]
fn after_a_retryable_refusal_it_waits_for_all_and_repeats_what_is_not_confirmed() {
    let mut window = window(3);
    let tokens: Vec<_> = (1..=3).map(|seq| submit(&mut window, seq)).collect();
    assert!(!window.has_room(ALL));
    assert_eq!(
        window.answer(tokens[1], retry()),
        Outcome::Halted("busy".to_owned())
    );
    assert!(!window.has_room(ALL) && !window.is_settled(ALL));
    assert_eq!(
        window.answer(tokens[0], Answer::Confirmed),
        Outcome::Confirmed(1)
    );
    assert_eq!(
        window.answer(tokens[2], Answer::Confirmed),
        Outcome::Confirmed(3)
    );
    assert!(window.is_settled(ALL) && window.is_halted(ALL));
    window.rewind(ALL);
    assert_eq!(
        (window.next(ALL), window.wants(ALL, 2), window.wants(ALL, 3)),
        (2, true, false)
    );
}

#[test]
fn an_answer_of_an_earlier_connection_is_none() {
    let mut window = window(3);
    let token = submit(&mut window, 1);
    window.begin(0);
    assert_eq!(window.answer(token, Answer::Confirmed), Outcome::Nothing);
    let again = submit(&mut window, 1);
    assert_ne!(token, again);
    assert_eq!(
        window.answer(again, Answer::Confirmed),
        Outcome::Confirmed(1)
    );
    assert_eq!(window.answer(again, Answer::Confirmed), Outcome::Nothing);
}

#[test]
fn what_is_not_allowed_again_after_another_was_taken_is_a_dead_letter() {
    let mut window = window(2);
    let first = submit(&mut window, 1);
    assert_eq!(window.answer(first, stop()), Outcome::Aside);
    assert_eq!(window.stopped(false), None, "there is more to try");
    let second = submit(&mut window, 2);
    assert_eq!(
        window.answer(second, Answer::Confirmed),
        Outcome::Confirmed(2)
    );
    assert_eq!(window.stopped(true), None);
    assert!(window.is_halted(ALL) && window.condemned().is_empty());
    window.rewind(ALL);
    let again = submit(&mut window, 1);
    let refused = |outcome| matches!(outcome, Outcome::Refused(_));
    assert!(refused(window.answer(again, stop())));
    assert_eq!(window.oldest_unconfirmed(), 3);
    // The topic is known by now, until something to it is taken.
    window.begin(9);
    let token = submit(&mut window, 4);
    assert!(refused(window.answer(token, stop())));
    let token = submit(&mut window, 7);
    window.answer(token, Answer::Confirmed);
    let token = submit(&mut window, 10);
    assert_eq!(window.answer(token, stop()), Outcome::Aside);
}

#[test]
fn what_is_allowed_again_is_repeated_wherever_it_goes() {
    let mut window = window(5);
    let tokens: Vec<_> = [1, 2, 4].map(|seq| submit(&mut window, seq)).into();
    window.answer(tokens[0], stop());
    window.answer(tokens[1], stop());
    assert_eq!(
        window.answer(tokens[2], Answer::Confirmed),
        Outcome::Confirmed(4)
    );
    assert!(window.is_halted(ALL) && window.is_settled(ALL));
    window.rewind(ALL);
    for seq in [1, 2] {
        assert_eq!(window.next(ALL), seq);
        let token = submit(&mut window, seq);
        assert_eq!(
            window.answer(token, Answer::Confirmed),
            Outcome::Confirmed(seq)
        );
    }
    assert!(window.condemned().is_empty() && window.forbidden.is_empty());
}

#[test]
fn where_nothing_is_allowed_the_upstream_is_stopped_and_nothing_lost() {
    let mut window = window(1);
    let mut seq = 0;
    while window.has_room(ALL) {
        seq += 1;
        let token = submit(&mut window, seq);
        window.answer(token, stop());
    }
    assert_eq!(seq, 20);
    assert_eq!(window.stopped(false), Some("not authorised"));
    window.rewind(ALL);
    assert_eq!(window.next(ALL), 1);
}

#[test]
fn a_message_that_is_never_answered_bounds_what_is_remembered() {
    let mut window = window(2);
    submit(&mut window, 1);
    let mut seq = 1;
    while window.has_room(ALL) {
        seq += 1;
        let token = submit(&mut window, seq);
        window.answer(token, Answer::Confirmed);
    }
    assert_eq!(window.out.len(), 8);
}

#[test]
fn greetings_move_no_cursor() {
    let mut window = window(2);
    let token = window.submit(ALL, Parcel::Copy, Instant::now());
    let refused = Outcome::CopyRefused("not authorised".to_owned());
    assert_eq!(window.answer(token, stop()), refused);
    assert!(window.has_room(ALL) && window.is_settled(ALL));
    assert_eq!(window.next(ALL), 1);
}
