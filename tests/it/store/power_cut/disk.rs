//! What a disk may hold after a power cut: the model that the images are made by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::content::Content;

pub(super) type Inode = usize;
type Folder = BTreeMap<String, Inode>;

/// The folder that all is in.
const ROOT: Inode = 0;

/// What a run does, as far as it matters here.
pub(super) enum Op {
    Write {
        inode: Inode,
        at: u64,
        data: Vec<u8>,
    },
    /// Cuts or grows a file.
    Length {
        inode: Inode,
        length: u64,
    },
    Link {
        folder: Inode,
        name: String,
        inode: Inode,
    },
    Unlink {
        folder: Inode,
        name: String,
    },
    Rename {
        from: (Inode, String),
        to: (Inode, String),
        inode: Inode,
    },
    /// What was done to a file or folder before the operation `began` is on the disk.
    Sync {
        inode: Inode,
        began: usize,
    },
    Head(u64),
    Confirm(u64),
}

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of it is lost.
    Lost,
    /// All of it is there: the cut came late.
    Kept,
    /// Names are there, and nothing of what was written under them.
    OnlyNames,
    /// What was written is there, and no new name.
    OnlyData,
    /// Each page, file length and name for itself; some pages have old and new sectors.
    Any,
}

impl Fate {
    pub(super) const ALL: [Self; 5] = [
        Self::Lost,
        Self::Kept,
        Self::Any,
        Self::OnlyNames,
        Self::OnlyData,
    ];
}

/// The operations of a run, in order.
#[derive(Default)]
pub(super) struct Disk {
    ops: Vec<Op>,
    /// Names as the run sees them; a file has `None`.
    now: Vec<Option<Folder>>,
    /// What was there before the run: durable.
    before: usize,
}

impl Disk {
    /// A disk with what is in `dir`.
    pub(super) fn of(dir: &Path) -> Self {
        let mut disk = Self {
            now: vec![Some(Folder::new())],
            ..Self::default()
        };
        disk.load(dir, Path::new(""));
        disk.before = disk.ops.len();
        disk
    }

    fn load(&mut self, dir: &Path, at: &Path) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = at.join(entry.file_name());
            if entry.path().is_dir() {
                self.make_folder(&path);
                self.load(&entry.path(), &path);
            } else {
                let (inode, data) = (self.open(&path, true), fs::read(entry.path()).unwrap());
                let length = data.len() as u64;
                let used = data
                    .iter()
                    .rposition(|&byte| byte != 0)
                    .map_or(0, |last| last + 1);
                self.write(inode, 0, data[..used].to_vec());
                self.set_length(inode, length);
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ops.len()
    }

    fn folder(&mut self, path: &Path) -> (Inode, String) {
        let mut inode = ROOT;
        for part in path.parent().unwrap().components() {
            let folder = self.now[inode].as_ref().unwrap();
            inode = folder[part.as_os_str().to_str().unwrap()];
        }
        (
            inode,
            path.file_name().unwrap().to_str().unwrap().to_owned(),
        )
    }

    fn entries(&mut self, folder: Inode) -> &mut Folder {
        self.now[folder].as_mut().unwrap()
    }

    fn link(&mut self, path: &Path, new: Option<Folder>) -> Inode {
        let (inode, (folder, name)) = (self.now.len(), self.folder(path));
        self.now.push(new);
        self.entries(folder).insert(name.clone(), inode);
        self.ops.push(Op::Link {
            folder,
            name,
            inode,
        });
        inode
    }

    /// Opens what is at `path`, made where it is not there and may be.
    pub(super) fn open(&mut self, path: &Path, make: bool) -> Inode {
        if path.as_os_str().is_empty() {
            return ROOT;
        }
        let (folder, name) = self.folder(path);
        match self.entries(folder).get(&name) {
            Some(&inode) => inode,
            None if make => self.link(path, None),
            None => panic!("{} is open and was never made", path.display()),
        }
    }

    pub(super) fn make_folder(&mut self, path: &Path) {
        self.link(path, Some(Folder::new()));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        let (from, to) = (self.folder(from), self.folder(to));
        let inode = self.entries(from.0).remove(&from.1).unwrap();
        self.entries(to.0).insert(to.1.clone(), inode);
        self.ops.push(Op::Rename { from, to, inode });
    }

    pub(super) fn remove(&mut self, path: &Path) {
        let (folder, name) = self.folder(path);
        self.entries(folder).remove(&name);
        self.ops.push(Op::Unlink { folder, name });
    }

    pub(super) fn write(&mut self, inode: Inode, at: u64, data: Vec<u8>) {
        self.ops.push(Op::Write { inode, at, data });
    }

    pub(super) fn set_length(&mut self, inode: Inode, length: u64) {
        self.ops.push(Op::Length { inode, length });
    }

    /// Grows a file to `length`, where it is shorter.
    pub(super) fn grow(&mut self, inode: Inode, length: u64) {
        if self.length(inode) < length {
            self.set_length(inode, length);
        }
    }

    /// How long a file is, as the run sees it.
    pub(super) fn length(&self, inode: Inode) -> u64 {
        self.ops.iter().fold(0, |known, op| match op {
            Op::Write {
                inode: of,
                at,
                data,
            } if *of == inode => known.max(at + data.len() as u64),
            Op::Length { inode: of, length } if *of == inode => *length,
            _ => known,
        })
    }

    pub(super) fn sync(&mut self, inode: Inode, began: usize) {
        self.ops.push(Op::Sync { inode, began });
    }

    pub(super) fn head(&mut self, seq: u64) {
        self.ops.push(Op::Head(seq));
    }

    pub(super) fn confirm(&mut self, seq: u64) {
        self.ops.push(Op::Confirm(seq));
    }

    /// The points just before and just after each sync, and the operations between.
    pub(super) fn cuts(&self) -> (Vec<usize>, Vec<usize>) {
        let (mut boundaries, mut between) = (BTreeSet::new(), Vec::new());
        for (place, op) in self.ops.iter().enumerate().skip(self.before) {
            if matches!(op, Op::Sync { .. }) {
                boundaries.extend([place, place + 1]);
            } else {
                between.push(place);
            }
        }
        between.retain(|place| !boundaries.contains(place));
        (boundaries.into_iter().collect(), between)
    }

    /// At `cut`: up to where records had been announced, and up to where they may be confirmed.
    pub(super) fn promised(&self, cut: usize) -> (u64, u64) {
        let (mut head, mut confirmed) = (0, 0);
        for op in &self.ops[..cut] {
            match op {
                Op::Head(seq) => head = head.max(*seq),
                Op::Confirm(seq) => confirmed = confirmed.max(*seq),
                _ => (),
            }
        }
        (head, confirmed)
    }

    /// Makes in `target` what the disk may hold when the power goes at `cut`.
    pub(super) fn image(&self, cut: usize, fate: Fate, random: &mut fastrand::Rng, target: &Path) {
        let mut synced = vec![self.before; self.now.len()];
        for op in &self.ops[..cut] {
            if let Op::Sync { inode, began } = op {
                synced[*inode] = synced[*inode].max(*began);
            }
        }
        let tree = self.names(cut, &synced, fate, random);
        let mut files: BTreeMap<Inode, Content> = BTreeMap::new();
        for (place, op) in self.ops[..cut].iter().enumerate() {
            if let Op::Write { inode, .. } | Op::Length { inode, .. } = op {
                files
                    .entry(*inode)
                    .or_default()
                    .apply(op, place >= synced[*inode]);
            }
        }
        make(&tree, ROOT, &mut files, fate, random, target);
    }

    fn names(&self, cut: usize, synced: &[usize], fate: Fate, random: &mut fastrand::Rng) -> Tree {
        let mut tree = Tree::new();
        let mut stays = || match fate {
            Fate::Lost | Fate::OnlyData => false,
            Fate::Kept | Fate::OnlyNames => true,
            Fate::Any => random.bool(),
        };
        for (place, op) in self.ops[..cut].iter().enumerate() {
            match op {
                Op::Link {
                    folder,
                    name,
                    inode,
                } if place < synced[*folder] || stays() => {
                    tree.entry(*folder)
                        .or_default()
                        .insert(name.clone(), *inode);
                }
                Op::Unlink { folder, name } if place < synced[*folder] || stays() => {
                    tree.entry(*folder).or_default().remove(name);
                }
                // One change, whichever of the two folders takes it along.
                Op::Rename { from, to, inode }
                    if place < synced[from.0] || place < synced[to.0] || stays() =>
                {
                    tree.entry(from.0).or_default().remove(&from.1);
                    tree.entry(to.0).or_default().insert(to.1.clone(), *inode);
                }
                _ => (),
            }
        }
        for (inode, folder) in self.now.iter().enumerate() {
            if folder.is_some() {
                tree.entry(inode).or_default();
            }
        }
        tree
    }
}

/// The folders that are there.
type Tree = BTreeMap<Inode, Folder>;

fn make(
    tree: &Tree,
    folder: Inode,
    files: &mut BTreeMap<Inode, Content>,
    fate: Fate,
    random: &mut fastrand::Rng,
    target: &Path,
) {
    fs::create_dir_all(target).unwrap();
    for (name, inode) in &tree[&folder] {
        let path = target.join(name);
        if tree.contains_key(inode) {
            make(tree, *inode, files, fate, random, &path);
        } else {
            let content = files.remove(inode).unwrap_or_default();
            content.put(&path, fate, random);
        }
    }
}
