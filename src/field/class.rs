//! One scan class of a device: how it is read, and what is told of it. No I/O.

use std::sync::Arc;
use std::time::Duration;

use super::lessons::Lessons;
use super::modbus::cost::ReadCost;
use super::modbus::decode::Recipe;
use super::modbus::frame::ReadRequest;
use super::modbus::known::{Hole, Known};
use super::modbus::map::DeviceMap;
use super::modbus::plan::{Block, Place, ScanPlan, plan};
use super::pass::{Pass, places};
use super::report::{Report, Reporter};
use super::settings::{DeviceSettings, LineSettings};
use crate::reading::{Name, Quality, Reading, Scan, Schema, SchemaPoint, Stamp};

/// One scan class of a device.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) period: Option<Duration>,
    pub(super) blocks: Vec<BlockRead>,
    /// The scan that is being read.
    pub(super) pass: Option<Pass>,
    pub(super) map: Arc<DeviceMap>,
    pub(super) unit: u8,
    pub(super) plan: ScanPlan,
    pub(super) cost: ReadCost,
    /// Of the lessons that the plan was made with.
    pub(super) generation: u64,
    schema: Arc<Schema>,
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

impl Class {
    /// The class `name` of `device`; `None`: it has no points that are sent.
    pub(super) fn new(
        line: &LineSettings,
        device: &DeviceSettings,
        (name, period): (&Name, Option<Duration>),
        cost: ReadCost,
    ) -> Option<Self> {
        let map = &device.map;
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
        let recipes = plan.points.iter().filter_map(|p| map.points.get(p.point));
        let recipes = recipes.map(Recipe::new).collect();
        (!plan.sent.is_empty()).then(|| Self {
            period,
            blocks: BlockRead::all(device.unit, &plan.blocks, &[]),
            pass: None,
            map: Arc::clone(map),
            unit: device.unit,
            cost,
            generation: 0,
            schema: Arc::new(schema),
            recipes,
            plan,
            reporter: Reporter::new(rules, period),
        })
    }

    /// Begins a scan, unless one is being read. The plan is made anew where more is known of the device, or reading it
    /// has another `cost` by now.
    pub(super) fn begin(&mut self, lessons: &mut Lessons, cost: ReadCost, now: Stamp) {
        if self.pass.is_some() {
            return;
        }
        if self.generation != lessons.generation() || self.cost != cost {
            self.cost = cost;
            self.generation = lessons.generation();
            self.plan = plan(&self.map, &self.schema.scan, &cost, lessons.known());
            self.blocks = BlockRead::all(self.unit, &self.plan.blocks, &self.blocks);
        }
        // Where all blocks are left alone nobody would notice that they can be read again: then none is.
        let is_resting = |block: &BlockRead| block.resting(now.boot_ns).is_some();
        if self.blocks.iter().all(is_resting) {
            self.blocks
                .iter_mut()
                .for_each(|block| block.rest_until_ns = 0);
        }
        let again = lessons.due(now.boot_ns, |hole| !self.points_in(hole).is_empty());
        self.pass = Some(Pass::new(self.blocks.len(), again, now));
    }

    /// The scan that `pass` was, read at `now_ns`; `None`: nothing has changed.
    pub(super) fn scan(&mut self, pass: &Pass, known: &Known, now_ns: u64) -> Option<Scan> {
        let readings = self.readings(pass, known);
        self.report(readings, now_ns)
    }

    /// A scan without a single value.
    pub(super) fn missing(&mut self, quality: Quality, now_ns: u64) -> Option<Scan> {
        let readings = vec![Reading::missing(quality); self.plan.sent.len()];
        self.report(readings, now_ns)
    }

    /// Its name.
    pub(super) fn name(&self) -> &Name {
        &self.schema.scan
    }

    /// The next scan is complete.
    pub(super) fn forget_report(&mut self) {
        self.reporter.forget();
    }

    /// The names of the points of a block, for people.
    pub(super) fn points_of(&self, block: usize) -> String {
        self.names(|place| {
            let place = self.plan.points.get(place).map(|point| point.place);
            matches!(place, Some(Place::Read { block: at, .. }) if at == block)
        })
    }

    /// The names of the points that a hole takes away, for people; a hole between points takes none.
    pub(super) fn points_in(&self, hole: &Hole) -> String {
        self.names(|place| {
            let placed = self.plan.points.get(place);
            let point = placed.and_then(|placed| self.map.points.get(placed.point));
            point.is_some_and(|point| {
                let first = u32::from(point.address);
                hole.is_hit(point.table, first, first + u32::from(point.raw.width()))
            })
        })
    }

    /// The names of the sent points whose places in the plan are wanted, with the factors that they need.
    fn names(&self, is_wanted: impl Fn(usize) -> bool) -> String {
        let factor = |place: usize| self.plan.points.get(place)?.factor;
        let wanted = |place: usize| is_wanted(place) || factor(place).is_some_and(&is_wanted);
        let sent = self.plan.sent.iter().zip(&self.schema.points);
        let inside = sent.filter(|&(&place, _)| wanted(place));
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

    fn readings(&self, pass: &Pass, known: &Known) -> Vec<Reading> {
        let mut all: Vec<Reading> = Vec::with_capacity(self.recipes.len());
        for (placed, recipe) in self.plan.points.iter().zip(&self.recipes) {
            let (places, otherwise) = match placed.place {
                Place::Read { block, offset } => match pass.results.get(block) {
                    Some(Ok(answer)) => (places(answer, offset), Quality::Timeout),
                    Some(Err(quality)) => (None, *quality),
                    None => (None, Quality::Timeout),
                },
                Place::Refused(code) => (None, Quality::Exception(code)),
            };
            let factor = placed.factor.and_then(|factor| all.get(factor));
            let point = self.map.points.get(placed.point);
            let places = places.or_else(|| pass.part_of(point?));
            let reading = match (places, point) {
                (Some(places), _) => recipe.read(places, factor),
                (None, Some(point)) => {
                    let first = u32::from(point.address);
                    let end = first + u32::from(point.raw.width());
                    let hole = known.hole(point.table, first, end);
                    let quality = hole.map(|hole| Quality::Exception(hole.exception));
                    Reading::missing(quality.unwrap_or(otherwise))
                }
                (None, None) => Reading::missing(otherwise),
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
    /// Those of a plan; blocks that were in the plan before stay as they are.
    fn all(unit: u8, blocks: &[Block], before: &[Self]) -> Vec<Self> {
        let read = |block: &Block| {
            let request = ReadRequest::new(unit, block.table, block.address, block.count);
            let same = before.iter().find(|before| before.request == request);
            Self {
                request,
                trouble: same.and_then(|same| same.trouble),
                rest_until_ns: same.map_or(0, |same| same.rest_until_ns),
                rest: same.map_or(FIRST_REST, |same| same.rest),
            }
        };
        blocks.iter().map(read).collect()
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
