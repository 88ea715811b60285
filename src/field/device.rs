//! A device as its line sees it: what is read of it, and how it last did. No I/O.

use std::sync::Arc;
use std::time::Duration;

use super::modbus::client::{Answer, Manner};
use super::modbus::cost::ReadCost;
use super::modbus::decode::{Places, Recipe};
use super::modbus::frame::ReadRequest;
use super::modbus::known::Known;
use super::modbus::plan::{Block, Place, ScanPlan, plan};
use super::report::{Report, Reporter};
use super::settings::{DeviceSettings, LineSettings};
use crate::reading::{Description, Name, Quality, Reading, Scan, Schema, SchemaPoint};

/// A device of a line.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: Name,
    pub(super) enabled: bool,
    pub(super) manner: Manner,
    pub(super) description: Arc<Description>,
    pub(super) classes: Vec<Class>,
    /// Why it does not answer; `None`: it does, or was never asked.
    pub(super) silent: Option<Quality>,
    /// Whether it has ever answered.
    pub(super) seen: bool,
    /// Which block it is probed with next: one that the device does not know must not hide it.
    pub(super) probe: usize,
    /// The class and block at which it fell silent.
    pub(super) suspect: Option<(usize, usize)>,
}

/// One scan class of a device.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) period: Option<Duration>,
    pub(super) blocks: Vec<BlockRead>,
    schema: Arc<Schema>,
    plan: ScanPlan,
    recipes: Vec<Recipe>,
    reporter: Reporter,
}

/// A block of a plan, and how its last read did.
#[derive(Debug)]
pub(super) struct BlockRead {
    /// `None`: a single point is wider than any read.
    pub(super) request: Option<ReadRequest>,
    /// Why it cannot be read although the device answers.
    pub(super) trouble: Option<Quality>,
    /// Asked again after this moment only (`boot_ns`): each vain attempt costs a timeout.
    rest_until_ns: u64,
    rest: Duration,
}

/// A block that its device passes over in silence is asked again after so long at first; it doubles.
const FIRST_REST: Duration = Duration::from_secs(5);
/// And at the latest after so long.
const MOST_REST: Duration = Duration::from_secs(60);

/// What the blocks of a scan gave, in their order.
pub(super) type Results = Vec<Result<Answer, Quality>>;

impl Device {
    pub(super) fn new(line: &LineSettings, settings: &DeviceSettings) -> Self {
        let classes = settings.scans.iter().map(|(name, &period)| {
            let class = Class::new(line, settings, name, period);
            (!class.plan.sent.is_empty()).then_some(class)
        });
        Self {
            name: settings.name.clone(),
            enabled: settings.enabled,
            manner: Manner {
                timeout: settings.timeout.unwrap_or(line.timeout),
                retries: settings.retries.unwrap_or(line.retries),
                delay: settings.delay,
                lenient: settings.map.quirks.lenient_transaction_id,
                offline: false,
            },
            description: Arc::clone(&settings.description),
            classes: classes.flatten().collect(),
            silent: None,
            seen: false,
            probe: 0,
            suspect: None,
        }
    }

    /// The block that it is probed with now: class, block, request.
    pub(super) fn next_probe(&mut self) -> Option<(usize, usize, ReadRequest)> {
        let classes = self.classes.iter().enumerate();
        let blocks = classes.flat_map(|(number, class)| {
            let blocks = class.blocks.iter().enumerate();
            blocks.filter_map(move |(block, read)| Some((number, block, read.request?)))
        });
        let all: Vec<_> = blocks.collect();
        let turn = self.probe.checked_rem(all.len())?;
        self.probe = turn + 1;
        all.get(turn).copied()
    }

    /// The next scans are complete.
    pub(super) fn forget_reports(&mut self) {
        for class in &mut self.classes {
            class.reporter.forget();
        }
    }
}

impl Class {
    fn new(
        line: &LineSettings,
        device: &DeviceSettings,
        name: &Name,
        period: Option<Duration>,
    ) -> Self {
        let map = &device.map;
        let cost = ReadCost::typical(&line.transport, device.delay);
        let plan = plan(map, name, &cost, &Known::default());
        let placed = |place: &usize| map.points.get(plan.points.get(*place)?.point);
        let points: Vec<_> = plan.sent.iter().filter_map(placed).collect();
        let schema = Schema {
            line: line.name.clone(),
            device: device.name.clone(),
            scan: name.clone(),
            labels: device.description.labels.clone(),
            map: device.description.map,
            points: points
                .iter()
                .map(|point| SchemaPoint {
                    name: point.name.clone(),
                    value_type: point.value_type(),
                    unit: point.unit.clone(),
                })
                .collect(),
        };
        let rules = points.iter().map(|point| point.report).collect();
        let reporter = Reporter::new(rules, period);
        let recipes = plan.points.iter().filter_map(|p| map.points.get(p.point));
        Self {
            period,
            blocks: plan
                .blocks
                .iter()
                .map(|block| BlockRead::new(device.unit, block))
                .collect(),
            schema: Arc::new(schema),
            recipes: recipes.map(Recipe::new).collect(),
            plan,
            reporter,
        }
    }

    /// Where all blocks are left alone nobody would notice that they can be read again: then none is.
    pub(super) fn wake(&mut self, now_ns: u64) {
        if self
            .blocks
            .iter()
            .all(|block| block.resting(now_ns).is_some())
        {
            self.blocks
                .iter_mut()
                .for_each(|block| block.rest_until_ns = 0);
        }
    }

    /// The scan of what the blocks gave, read at `now_ns`; `None`: nothing has changed.
    pub(super) fn scan(&mut self, results: &Results, now_ns: u64) -> Option<Scan> {
        let readings = self.readings(results);
        self.report(readings, now_ns)
    }

    /// A scan without a single value.
    pub(super) fn missing(&mut self, quality: Quality, now_ns: u64) -> Option<Scan> {
        let readings = vec![Reading::missing(quality); self.plan.sent.len()];
        self.report(readings, now_ns)
    }

    /// The names of the points of a block, for people.
    pub(super) fn points_of(&self, block: usize) -> String {
        let sent = self.plan.sent.iter().zip(&self.schema.points);
        let inside = sent.filter(|(place, _)| {
            let point = self.plan.points.get(**place);
            point.is_some_and(
                |point| matches!(point.place, Place::Read { block: at, .. } if at == block),
            )
        });
        let names: Vec<_> = inside.map(|(_, point)| point.name.as_str()).collect();
        names.join(", ")
    }

    fn report(&mut self, readings: Vec<Reading>, now_ns: u64) -> Option<Scan> {
        let Report { readings, full } = self.reporter.report(readings, now_ns)?;
        Some(Scan {
            schema: Arc::clone(&self.schema),
            readings,
            full,
        })
    }

    fn readings(&self, results: &Results) -> Vec<Reading> {
        let mut all: Vec<Reading> = Vec::with_capacity(self.recipes.len());
        for (placed, recipe) in self.plan.points.iter().zip(&self.recipes) {
            let (result, offset) = match placed.place {
                Place::Read { block, offset } => (results.get(block), offset),
                Place::Refused(code) => {
                    all.push(Reading::missing(Quality::Exception(code)));
                    continue;
                }
            };
            let places = match result {
                Some(Ok(Answer::Registers(words))) => words.get(offset..).map(Places::Registers),
                Some(Ok(Answer::Bits(bits))) => bits.get(offset).copied().map(Places::Bit),
                Some(Err(_)) | None => None,
            };
            let factor = placed.factor.and_then(|factor| all.get(factor));
            let reading = match (places, result) {
                (Some(places), _) => recipe.read(places, factor),
                (None, Some(Err(quality))) => Reading::missing(*quality),
                (None, _) => Reading::missing(Quality::Timeout),
            };
            all.push(reading);
        }
        if self.plan.sent.len() == all.len() && self.plan.sent.is_sorted() {
            return all;
        }
        let sent = self.plan.sent.iter();
        sent.filter_map(|&place| all.get(place).cloned()).collect()
    }
}

impl BlockRead {
    fn new(unit: u8, block: &Block) -> Self {
        Self {
            request: ReadRequest::new(unit, block.table, block.address, block.count),
            trouble: None,
            rest_until_ns: 0,
            rest: FIRST_REST,
        }
    }

    /// Whether it is left alone for now, and with which quality.
    pub(super) fn resting(&self, now_ns: u64) -> Option<Quality> {
        self.trouble.filter(|_| now_ns < self.rest_until_ns)
    }

    /// Notes that it was passed over in silence at `now_ns`.
    pub(super) fn passed_over(&mut self, now_ns: u64) {
        let rest = u64::try_from(self.rest.as_nanos()).unwrap_or(u64::MAX);
        self.rest_until_ns = now_ns.saturating_add(rest);
        self.rest = (self.rest * 2).min(MOST_REST);
    }

    /// Notes that there was an answer of any kind.
    pub(super) fn answered(&mut self) {
        self.rest_until_ns = 0;
        self.rest = FIRST_REST;
    }
}
