//! Keeps what the devices of a line have taught it, and reads it again at the start.

use std::path::Path;

use tokio::task::JoinHandle;

use super::learned::LearnedFile;
use super::lessons::Lessons;
use super::session::Session;
use super::settings::DeviceSettings;

/// The files of a line's devices, in their order; none where nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    files: Vec<LearnedFile>,
    /// The file that is being written. A disk that hangs must not hold up the line, nor pile up writers.
    saving: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Keeps files in `folder`.
    pub(super) fn new(folder: &Path, devices: &[DeviceSettings]) -> Self {
        let files = devices
            .iter()
            .map(|device| LearnedFile::new(folder, device));
        Self {
            files: files.collect(),
            saving: None,
        }
    }

    /// What is known of the device with this index from an earlier run.
    pub(super) fn load(&self, index: usize) -> Lessons {
        let known = self.files.get(index).map(LearnedFile::load);
        Lessons::new(known.unwrap_or_default())
    }

    fn save(&mut self, index: usize, lessons: &mut Lessons) {
        let is_busy = self
            .saving
            .as_ref()
            .is_some_and(|saving| !saving.is_finished());
        let Some(file) = self.files.get(index).filter(|_| !is_busy) else {
            return;
        };
        let Some(known) = lessons.take_new() else {
            return;
        };
        let file = file.clone();
        self.saving = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = file.save(&known) {
                tracing::warn!("what was learned of a device cannot be kept: {error}");
            }
        }));
    }
}

impl Session {
    /// Writes what a device has taught, if that is new.
    pub(super) fn keep_lessons(&mut self, index: usize) {
        if let Some(device) = self.devices.get_mut(index) {
            self.keeper.save(index, &mut device.lessons);
        }
    }
}
