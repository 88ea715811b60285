//! Where the values of a simulated point come from.

use std::str::FromStr;
use std::time::Duration;

use crate::reading::Value;
use crate::support::units::parse_duration;

/// How the value of a point moves.
#[derive(Debug, Clone, PartialEq)]
pub enum Generator {
    /// Stays; also texts of an `enum`, and strings.
    Constant(Value),
    /// Rises (or falls) evenly, and begins again.
    Ramp {
        /// Where it begins.
        from: f64,
        /// Where it ends.
        to: f64,
        /// How long it takes.
        period: Duration,
    },
    /// Swings.
    Sine {
        /// Around this.
        mean: f64,
        /// So far to either side.
        amplitude: f64,
        /// How long a swing takes.
        period: Duration,
    },
    /// Wanders at random, up to `step` with each movement, at most ten steps away from its start.
    Walk {
        /// Where it begins.
        start: f64,
        /// The furthest it goes at once.
        step: f64,
    },
    /// Counts.
    Counter {
        /// Where it begins.
        start: f64,
        /// What it gains in a second.
        per_second: f64,
    },
}

/// The forms of a generator, for people.
pub const FORMS: &str = "constant:VALUE, ramp:FROM:TO:PERIOD, sine:MEAN:AMPLITUDE:PERIOD, walk:START:STEP or counter:START:PER_SECOND";

impl FromStr for Generator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no generator; write {FORMS}");
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        if kind == "constant" {
            return Ok(Self::Constant(constant(rest)));
        }
        let parts: Vec<&str> = rest.split(':').collect();
        let number = |text: &str| {
            let number: Option<f64> = text.parse().ok();
            number.filter(|number| number.is_finite()).ok_or_else(wrong)
        };
        let period = |text: &str| {
            let period = parse_duration(text).map_err(|_| wrong())?;
            (!period.is_zero()).then_some(period).ok_or_else(wrong)
        };
        Ok(match (kind, parts.as_slice()) {
            ("ramp", [from, to, time]) => Self::Ramp {
                from: number(from)?,
                to: number(to)?,
                period: period(time)?,
            },
            ("sine", [mean, amplitude, time]) => Self::Sine {
                mean: number(mean)?,
                amplitude: number(amplitude)?,
                period: period(time)?,
            },
            ("walk", [start, step]) => Self::Walk {
                start: number(start)?,
                step: number(step)?,
            },
            ("counter", [start, per_second]) => Self::Counter {
                start: number(start)?,
                per_second: number(per_second)?,
            },
            _ => return Err(wrong()),
        })
    }
}

fn constant(text: &str) -> Value {
    match (text, text.parse::<i64>(), text.parse::<f64>()) {
        ("true", ..) => Value::Bool(true),
        ("false", ..) => Value::Bool(false),
        (_, Ok(number), _) => Value::Int(number),
        (_, _, Ok(number)) if number.is_finite() => Value::F64(number),
        _ => Value::Text(text.into()),
    }
}

/// A generator at work.
#[derive(Debug, Clone)]
pub struct Signal {
    generator: Generator,
    /// Where a walk is.
    at: f64,
    dice: fastrand::Rng,
}

/// How many steps a walk gets away from its start.
const LEASH: f64 = 10.0;

impl Signal {
    /// A signal of `generator`; the same `seed` walks the same way.
    pub fn new(generator: Generator, seed: u64) -> Self {
        let at = match &generator {
            Generator::Walk { start, .. } => *start,
            _ => 0.0,
        };
        Self {
            generator,
            at,
            dice: fastrand::Rng::with_seed(seed),
        }
    }

    /// The value `elapsed` after the start; each call moves a walk on.
    pub fn next(&mut self, elapsed: Duration) -> Value {
        let seconds = elapsed.as_secs_f64();
        let turn = |period: &Duration| (seconds / period.as_secs_f64()).fract();
        Value::F64(match &self.generator {
            Generator::Constant(value) => return value.clone(),
            Generator::Ramp { from, to, period } => from + (to - from) * turn(period),
            Generator::Sine {
                mean,
                amplitude,
                period,
            } => mean + amplitude * (turn(period) * std::f64::consts::TAU).sin(),
            Generator::Walk { start, step } => {
                let moved = self.at + step * (2.0 * self.dice.f64() - 1.0);
                let leash = step.abs() * LEASH;
                self.at = moved.clamp(start - leash, start + leash);
                self.at
            }
            Generator::Counter { start, per_second } => (start + per_second * seconds).floor(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, seconds: &[f64]) -> Vec<f64> {
        let mut signal = Signal::new(text.parse().unwrap(), 1);
        let values = seconds
            .iter()
            .map(|&s| signal.next(Duration::from_secs_f64(s)));
        values
            .map(|value| match value {
                Value::F64(number) => (number * 1000.0).round() / 1000.0,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn ramps_swings_and_counters_are_functions_of_time() {
        assert_eq!(
            at("ramp:0:10:10s", &[0.0, 5.0, 9.0, 10.0]),
            [0.0, 5.0, 9.0, 0.0]
        );
        assert_eq!(at("ramp:1:-1:1min", &[0.0, 30.0]), [1.0, 0.0]);
        assert_eq!(
            at("sine:230:5:4s", &[0.0, 1.0, 2.0, 3.0]),
            [230.0, 235.0, 230.0, 225.0]
        );
        assert_eq!(
            at("counter:100:2.5", &[0.0, 1.0, 2.0]),
            [100.0, 102.0, 105.0]
        );
    }

    #[test]
    fn a_walk_stays_near_its_start_and_repeats_with_its_seed() {
        let steps: Vec<f64> = (0..10_000).map(f64::from).collect();
        let walk = at("walk:50:0.5", &steps);
        assert!(walk.iter().all(|value| (45.0..=55.0).contains(value)));
        assert!(
            walk.windows(2)
                .all(|pair| (pair[1] - pair[0]).abs() <= 0.501)
        );
        assert!(walk.iter().any(|value| *value > 51.0) && walk.iter().any(|value| *value < 49.0));
        assert_eq!(walk, at("walk:50:0.5", &steps));
    }

    #[test]
    fn a_constant_is_what_it_looks_like() {
        let constant = |text: &str| Signal::new(text.parse().unwrap(), 1).next(Duration::ZERO);
        assert_eq!(constant("constant:7"), Value::Int(7));
        assert_eq!(constant("constant:-0.5"), Value::F64(-0.5));
        assert_eq!(constant("constant:true"), Value::Bool(true));
        assert_eq!(constant("constant:running"), Value::Text("running".into()));
        assert_eq!(constant("constant:a:b"), Value::Text("a:b".into()));
    }

    #[test]
    fn what_is_no_generator_is_told_with_all_forms() {
        for wrong in [
            "",
            "7",
            "ramp:0:1",
            "ramp:0:1:0s",
            "sine:a:1:1s",
            "walk:1",
            "rand:1",
            "counter:nan:1",
        ] {
            let said = wrong.parse::<Generator>().unwrap_err();
            assert!(said.contains("walk:START:STEP"), "{said}");
        }
    }
}
