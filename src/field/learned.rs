//! What devices taught their lines, kept on disk so that it need not be learned again: a small JSON file a device.
//!
//! Nothing depends on it: a file that is missing, damaged or of another map is as good as none, and costs the requests of
//! learning once more.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::modbus::known::{Hole, Known};
use super::modbus::map::Table;
use super::settings::DeviceSettings;
use crate::reading::Name;

/// Longer than any file that this writes: 65,536 holes in each table.
const MOST_BYTES: u64 = 32 << 20;

/// No device is given more time to answer.
const MOST_ANSWER_TIME: Duration = Duration::from_secs(60);

/// The first key of each file, with the version of its form.
const FORM: u32 = 1;

/// A file.
#[derive(Debug, Serialize, Deserialize)]
struct Form {
    forebay_learned: u32,
    device: String,
    /// Of the map and the unit id that this was learned with.
    map: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registers_per_read: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bits_per_read: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_time_us: Option<u64>,
    holes: Vec<HoleForm>,
}

#[derive(Debug, Serialize, Deserialize)]
struct HoleForm {
    table: String,
    address: u16,
    count: u16,
    exception: u8,
}

/// A file and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedFile {
    path: PathBuf,
    device: Name,
    map: String,
}

impl LearnedFile {
    /// The file of `device` in `folder`.
    pub fn new(folder: &Path, device: &DeviceSettings) -> Self {
        Self {
            path: folder.join(format!("{}.json", device.name)),
            device: device.name.clone(),
            map: format!("{}-{}", device.description.map, device.unit),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `bytes` of it say; `None`: they are of another device, map or version.
    ///
    /// # Errors
    /// When they are not such a file.
    pub fn parse(&self, bytes: &[u8]) -> serde_json::Result<Option<Known>> {
        parse(bytes, self.device.as_str(), &self.map)
    }

    /// What was learned; nothing where the file is missing, damaged (told in the log), or of another map.
    pub fn load(&self) -> Known {
        let (path, device) = (self.path.display(), &self.device);
        match self.read() {
            Ok(Some(known)) => {
                let holes = known.holes.len();
                if holes > 0 {
                    tracing::info!(
                        "device {device}: {holes} holes in its map are known from {path}"
                    );
                }
                known
            }
            Ok(None) => Known::default(),
            Err(error) => {
                tracing::warn!("{path} is ignored, and learned anew: {error}");
                Known::default()
            }
        }
    }

    fn read(&self) -> io::Result<Option<Known>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes)?;
        Ok(self.parse(&bytes)?)
    }

    /// Writes it anew: after a power cut there is the file as it was, or as it is.
    ///
    /// # Errors
    /// When the disk takes no files.
    pub fn save(&self, known: &Known) -> io::Result<()> {
        let hole = |hole: &Hole| HoleForm {
            table: hole.table.as_str().to_owned(),
            address: hole.address,
            count: hole.count,
            exception: hole.exception,
        };
        let form = Form {
            forebay_learned: FORM,
            device: self.device.as_str().to_owned(),
            map: self.map.clone(),
            registers_per_read: known.registers_per_read,
            bits_per_read: known.bits_per_read,
            answer_time_us: known
                .answer_time
                .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            holes: known.holes.iter().map(hole).collect(),
        };
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&form)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

/// What the bytes of a file say of `device` and `map` (its hash and the unit id, `HASH-UNIT`); `None`: the file is of others, or
/// of another version. Never more holes than the bytes name.
///
/// # Errors
/// When they are not such a file.
pub fn parse(bytes: &[u8], device: &str, map: &str) -> serde_json::Result<Option<Known>> {
    let form: Form = serde_json::from_slice(bytes)?;
    let is_own = form.forebay_learned == FORM && form.device == device && form.map == map;
    if !is_own {
        return Ok(None);
    }
    let holes = form.holes.iter().map(|hole| {
        Some(Hole {
            table: table(&hole.table)?,
            address: hole.address,
            count: hole.count,
            exception: hole.exception,
        })
    });
    Ok(Some(Known {
        holes: holes.flatten().collect(),
        registers_per_read: form.registers_per_read.filter(|&most| most > 0),
        bits_per_read: form.bits_per_read.filter(|&most| most > 0),
        answer_time: form
            .answer_time_us
            .map(Duration::from_micros)
            .filter(|&time| time <= MOST_ANSWER_TIME),
    }))
}

fn table(word: &str) -> Option<Table> {
    let tables = [
        Table::Coil,
        Table::DiscreteInput,
        Table::InputRegister,
        Table::HoldingRegister,
    ];
    tables.into_iter().find(|table| table.as_str() == word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(folder: &Path, map: &str) -> LearnedFile {
        LearnedFile {
            path: folder.join("meter-3.json"),
            device: Name::new("meter-3").unwrap(),
            map: map.to_owned(),
        }
    }

    fn known() -> Known {
        Known {
            holes: vec![Hole {
                table: Table::DiscreteInput,
                address: 7,
                count: 0,
                exception: 2,
            }],
            registers_per_read: Some(60),
            bits_per_read: None,
            answer_time: Some(Duration::from_micros(12_345)),
        }
    }

    #[test]
    fn what_was_learned_is_there_again_for_the_same_map_only() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("learned");
        file(&folder, "1-1").save(&known()).unwrap();
        assert_eq!(file(&folder, "1-1").load(), known());
        assert_eq!(file(&folder, "1-2").load(), Known::default());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let path = folder.join("meter-3.json");
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() - 2 {
            fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(file(&folder, "1-1").load(), Known::default(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
            let _ = parse(&bytes, "meter-3", "1-1");
            let _ = parse(text.as_bytes(), "meter-3", "1-1");
        }
    }
}
