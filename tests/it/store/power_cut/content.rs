//! What may be in a file after a power cut.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk::{Fate, Op};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// What is in a file: as it was synced, and the pages as each later operation left them.
#[derive(Default)]
pub(super) struct Content {
    synced: Vec<u8>,
    synced_length: u64,
    latest: Vec<u8>,
    pages: BTreeMap<usize, Vec<Vec<u8>>>,
    lengths: Vec<u64>,
}

impl Content {
    /// Adds a change, which is `pending` where no sync covered it.
    pub(super) fn apply(&mut self, op: &Op, pending: bool) {
        if pending && self.lengths.is_empty() {
            self.latest = self.synced.clone();
            self.lengths.push(self.synced_length);
        }
        let bytes = if pending {
            &mut self.latest
        } else {
            &mut self.synced
        };
        let mut length = self.lengths.last().copied().unwrap_or(self.synced_length);
        let touched = match op {
            Op::Write { at, data, .. } => {
                let (from, to) = (*at as usize, *at as usize + data.len());
                bytes.resize(bytes.len().max(to), 0);
                bytes[from..to].copy_from_slice(data);
                length = length.max(to as u64);
                from..to
            }
            Op::Length { length: new, .. } => {
                // What is allocated and was never written is not held in memory.
                let end = bytes.len();
                bytes.truncate(usize::try_from(*new).unwrap());
                length = *new;
                bytes.len()..end
            }
            _ => unreachable!(),
        };
        if !pending {
            self.synced_length = length;
            return;
        }
        self.lengths.push(length);
        if touched.is_empty() {
            return;
        }
        for page in touched.start / PAGE..=(touched.end - 1) / PAGE {
            let of = |bytes: &[u8]| {
                let mut found = bytes
                    [(page * PAGE).min(bytes.len())..(page * PAGE + PAGE).min(bytes.len())]
                    .to_vec();
                found.resize(PAGE, 0);
                found
            };
            let (synced, latest) = (&self.synced, &self.latest);
            self.pages
                .entry(page)
                .or_insert_with(|| vec![of(synced)])
                .push(of(latest));
        }
    }

    /// Makes the file at `path`.
    pub(super) fn put(self, path: &Path, fate: Fate, random: &mut fastrand::Rng) {
        let file = File::create(path).unwrap();
        let pick = |count: usize, random: &mut fastrand::Rng| match fate {
            Fate::Lost | Fate::OnlyNames => 0,
            Fate::Kept | Fate::OnlyData => count - 1,
            Fate::Any => random.usize(..count),
        };
        let mut bytes = self.synced;
        for (page, versions) in self.pages {
            let mut found = versions[pick(versions.len(), random)].clone();
            if fate == Fate::Any && random.u8(..8) == 0 {
                let other = &versions[pick(versions.len(), random)];
                for sector in (0..PAGE).step_by(SECTOR).filter(|_| random.bool()) {
                    found[sector..sector + SECTOR].copy_from_slice(&other[sector..sector + SECTOR]);
                }
            }
            let end = (page + 1) * PAGE;
            bytes.resize(bytes.len().max(end), 0);
            bytes[page * PAGE..end].copy_from_slice(&found);
        }
        let length = match self.lengths.len() {
            0 => self.synced_length,
            count => self.lengths[pick(count, random)],
        };
        bytes.truncate(usize::try_from(length).unwrap());
        for (page, data) in bytes.chunks(PAGE).enumerate() {
            if data.iter().any(|&byte| byte != 0) {
                file.write_all_at(data, (page * PAGE) as u64).unwrap();
            }
        }
        file.set_len(length).unwrap();
    }
}
