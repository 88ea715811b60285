//! Which descriptions of devices the upstream has been given. Pure.

use std::collections::HashMap;

use crate::reading::{Description, MapHash, Name, Schema};

/// Most of one device that is remembered; beyond, all is forgotten, and a description goes out once more.
const REMEMBERED: usize = 64;

/// Since the start of the forwarder, whatever the number of connections.
#[derive(Debug, Default)]
pub(super) struct Described {
    given: HashMap<Name, Vec<Given>>,
    /// Those that are out: whether they were taken is not known yet.
    out: Vec<(Name, Given)>,
}

/// What was told of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    /// All of this map.
    Whole(MapHash),
    /// Of this map, what the schema of this scan class has.
    Sketch(MapHash, Name),
}

impl Described {
    /// Whether this map of the device went out.
    pub(super) fn has(&self, device: &Name, map: MapHash) -> bool {
        self.was_given(device, &Given::Whole(map))
    }

    /// Whether what the schema tells of its device went out.
    pub(super) fn has_sketch(&self, schema: &Schema) -> bool {
        let sketch = Given::Sketch(schema.map, schema.scan.clone());
        self.was_given(&schema.device, &sketch)
    }

    /// It goes out.
    pub(super) fn went(&mut self, description: &Description) {
        self.give(&description.device, Given::Whole(description.map));
    }

    /// What it tells of its device goes out.
    pub(super) fn was_sketched(&mut self, schema: &Schema) {
        let sketch = Given::Sketch(schema.map, schema.scan.clone());
        self.give(&schema.device, sketch);
    }

    /// All that was out has been answered, and nothing is to be repeated.
    pub(super) fn proved(&mut self) {
        self.out.clear();
    }

    /// Something that was out is to be repeated.
    pub(super) fn failed(&mut self) {
        for (device, given) in self.out.drain(..) {
            if let Some(all) = self.given.get_mut(&device) {
                all.retain(|known| *known != given);
            }
        }
    }

    fn was_given(&self, device: &Name, given: &Given) -> bool {
        let all = self.given.get(device);
        all.is_some_and(|all| all.contains(given))
    }

    fn give(&mut self, device: &Name, given: Given) {
        let all = self.given.entry(device.clone()).or_default();
        if all.contains(&given) {
            return;
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.push(given.clone());
        self.out.push((device.clone(), given));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_forgotten_and_what_was_proved_is_kept() {
        let name = Name::new("meter-3").unwrap();
        let description = |map| Description {
            device: name.clone(),
            line: name.clone(),
            map: MapHash(map),
            title: None,
            labels: Vec::new(),
            points: Vec::new(),
        };
        let mut described = Described::default();
        assert!(!described.has(&name, MapHash(1)));
        described.went(&description(1));
        described.proved();
        described.went(&description(2));
        assert!(described.has(&name, MapHash(1)) && described.has(&name, MapHash(2)));
        described.failed();
        assert!(described.has(&name, MapHash(1)) && !described.has(&name, MapHash(2)));
        for map in 0..1_000 {
            described.went(&description(map));
        }
        assert!(described.given[&name].len() <= REMEMBERED);
    }
}
