//! Which descriptions of devices the upstream has been given. Pure.

use std::collections::HashMap;

use crate::reading::{Description, MapHash, Name};

/// Most maps of one device that are remembered; beyond, all are forgotten, and a description goes out once more.
const REMEMBERED: usize = 64;

/// Since the start of the forwarder, whatever the number of connections.
#[derive(Debug, Default)]
pub(super) struct Described {
    maps: HashMap<Name, Vec<MapHash>>,
    /// Those that are out: whether they were taken is not known yet.
    out: Vec<(Name, MapHash)>,
}

impl Described {
    /// Whether this map of the device went out.
    pub(super) fn has(&self, device: &Name, map: MapHash) -> bool {
        self.maps
            .get(device)
            .is_some_and(|maps| maps.contains(&map))
    }

    /// It goes out.
    pub(super) fn went(&mut self, description: &Description) {
        let maps = self.maps.entry(description.device.clone()).or_default();
        if maps.contains(&description.map) {
            return;
        }
        if maps.len() >= REMEMBERED {
            maps.clear();
        }
        maps.push(description.map);
        self.out.push((description.device.clone(), description.map));
    }

    /// All that was out has been answered, and nothing is to be repeated.
    pub(super) fn proved(&mut self) {
        self.out.clear();
    }

    /// Something that was out is to be repeated.
    pub(super) fn failed(&mut self) {
        for (device, map) in self.out.drain(..) {
            if let Some(maps) = self.maps.get_mut(&device) {
                maps.retain(|known| *known != map);
            }
        }
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
        assert!(described.maps[&name].len() <= REMEMBERED);
    }
}
