//! What strace wrote, as operations on files below one folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::disk::{Disk, Inode};

/// The calls that change files, and those that move a file's position.
const CALLS: &str = "openat,open,creat,read,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,\
    rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,fsync,fdatasync,\
    sync_file_range,syncfs,copy_file_range,sendfile,lseek,close,dup,dup2,dup3,fcntl";

/// Runs `command` and adds what it does below `dir` to `disk`.
pub(super) fn record(mut command: Command, dir: &Path, disk: &mut Disk) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-qq", "-y", "-xx", "--signal=none"]);
    strace
        .args(["-s", "99999999", "-e"])
        .arg(format!("trace={CALLS}"));
    strace
        .arg("-o")
        .arg(file.path())
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        strace.env(key, value.unwrap());
    }
    command = strace;
    let output = command
        .output()
        .expect("strace runs (scripts/setup installs it)");
    assert!(
        output.status.success(),
        "strace must be allowed to trace:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(file.path()).unwrap();
    let mut reader = Reader {
        dir,
        disk,
        open: HashMap::new(),
        files: Vec::new(),
    };
    let mut begun: HashMap<&str, (String, usize)> = HashMap::new();
    for line in text.lines() {
        let (process, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(process, (start.to_owned(), reader.disk.count()));
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let (start, at) = begun.remove(process).unwrap();
            let rest = rest.split_once(" resumed>").unwrap().1;
            reader.call(&(start + rest), at);
        } else {
            let at = reader.disk.count();
            reader.call(call, at);
        }
    }
}

/// A file that is open, and how far it was read or written.
struct Open {
    inode: Inode,
    at: u64,
    /// Each write goes to the file's end.
    appends: bool,
}

struct Reader<'a> {
    dir: &'a Path,
    disk: &'a mut Disk,
    /// By descriptor: its place in `files`, which copies of it share.
    open: HashMap<u32, usize>,
    files: Vec<Open>,
}

fn bytes(quoted: &str) -> Vec<u8> {
    let hex = quoted.trim_matches('"');
    let digits = hex.as_bytes().chunks_exact(4);
    digits
        .map(|byte| u8::from_str_radix(std::str::from_utf8(&byte[2..]).unwrap(), 16).unwrap())
        .collect()
}

fn path(quoted: &str) -> PathBuf {
    String::from_utf8(bytes(quoted)).unwrap().into()
}

/// The number before `<`, and the path behind it.
fn descriptor(text: &str) -> (u32, PathBuf) {
    let (number, rest) = text.split_once('<').unwrap_or((text, ""));
    let shown = rest.split_once('>').map_or("", |(shown, _)| shown);
    (number.parse().unwrap_or(u32::MAX), path(shown))
}

impl Reader<'_> {
    /// Adds a call that `began` when there were so many operations.
    fn call(&mut self, line: &str, began: usize) {
        let Some((call, result)) = line.rsplit_once(" = ") else {
            return;
        };
        let (name, arguments) = call.split_once('(').unwrap();
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let arguments = arguments.trim_end().trim_end_matches(')');
        let parts: Vec<&str> = arguments.split(", ").collect();
        if self.names(name, &parts, result) {
            return;
        }
        let (number, _) = descriptor(parts[0]);
        let told = if name == "write" && number == 2 {
            bytes(parts[1])
        } else {
            Vec::new()
        };
        let Some(&place) = self.open.get(&number) else {
            for line in String::from_utf8_lossy(&told).lines() {
                match line.split_once(' ') {
                    Some(("head", seq)) => self.disk.head(seq.parse().unwrap()),
                    Some(("confirm", seq)) => self.disk.confirm(seq.parse().unwrap()),
                    _ => (),
                }
            }
            return;
        };
        let count: u64 = result
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap_or(0);
        let Open {
            inode,
            mut at,
            appends,
        } = self.files[place];
        match name {
            "read" => self.files[place].at += count,
            "lseek" => self.files[place].at = count,
            "write" | "writev" => {
                let mut data = Vec::new();
                if name == "write" {
                    data = bytes(parts[1]);
                } else {
                    for part in &parts {
                        if let Some((_, text)) = part.split_once("iov_base=") {
                            data.extend(bytes(text));
                        }
                    }
                }
                data.truncate(count as usize);
                if appends {
                    at = self.disk.length(inode);
                }
                self.files[place].at = at + count;
                self.disk.write(inode, at, data);
            }
            "pwrite64" => {
                let mut data = bytes(parts[1]);
                data.truncate(count as usize);
                self.disk.write(inode, parts[3].parse().unwrap(), data);
            }
            "ftruncate" => self.disk.set_length(inode, parts[1].parse().unwrap()),
            "fallocate" if parts[1] == "0" => {
                let end = parts[2].parse::<u64>().unwrap() + parts[3].parse::<u64>().unwrap();
                self.disk.grow(inode, end);
            }
            "fsync" | "fdatasync" => self.disk.sync(inode, began),
            "close" => drop(self.open.remove(&number)),
            "fcntl" if parts[1].starts_with("F_DUPFD") => {
                self.open.insert(descriptor(result).0, place);
            }
            "fcntl" => (),
            other => panic!("{other} is not in the model: {arguments:.200}"),
        }
    }

    /// Adds a call that has paths; `false`: it has none.
    fn names(&mut self, name: &str, parts: &[&str], result: &str) -> bool {
        let full = |folder: &str, named: &str| descriptor(folder).1.join(path(named));
        let ours = |found: &Path| found.strip_prefix(self.dir).ok().map(Path::to_owned);
        match name {
            "openat" => {
                let (number, _) = descriptor(result);
                self.open.remove(&number);
                let Some(path) = ours(&full(parts[0], parts[1])) else {
                    return true;
                };
                let inode = self.disk.open(&path, parts[2].contains("O_CREAT"));
                if parts[2].contains("O_TRUNC") {
                    self.disk.set_length(inode, 0);
                }
                self.open.insert(number, self.files.len());
                self.files.push(Open {
                    inode,
                    at: 0,
                    appends: parts[2].contains("O_APPEND"),
                });
            }
            "mkdir" => {
                if let Some(path) = ours(&path(parts[0])) {
                    self.disk.make_folder(&path);
                }
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = if name == "rename" {
                    (path(parts[0]), path(parts[1]))
                } else {
                    (full(parts[0], parts[1]), full(parts[2], parts[3]))
                };
                if let (Some(from), Some(to)) = (ours(&from), ours(&to)) {
                    self.disk.rename(&from, &to);
                }
            }
            "unlink" | "rmdir" => {
                if let Some(path) = ours(&path(parts[0])) {
                    self.disk.remove(&path);
                }
            }
            "unlinkat" => {
                if let Some(path) = ours(&full(parts[0], parts[1])) {
                    self.disk.remove(&path);
                }
            }
            "open" | "creat" | "truncate" | "mkdirat" | "link" | "linkat" | "symlink"
            | "symlinkat" => {
                let quoted = parts.iter().filter(|part| part.starts_with('"'));
                let touched = quoted
                    .map(|part| path(part))
                    .any(|path| ours(&path).is_some());
                assert!(!touched, "{name} is not in the model");
            }
            _ => return false,
        }
        true
    }
}
