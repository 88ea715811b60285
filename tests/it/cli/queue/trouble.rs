//! A store that is in use, of another version, damaged, or not there; and a configuration that is bad.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::plant::{config, done, queue, refused, used};

#[test]
fn a_running_daemon_is_named_with_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    used(folder.path());
    let lock = fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("lock"))
        .unwrap();
    lock.lock().unwrap();
    let commands: [&[&str]; 8] = [
        &["status"],
        &["peek"],
        &["export"],
        &["dead", "list"],
        &["dead", "show", "9"],
        &["dead", "drop", "--all", "--yes"],
        &["purge", "--yes"],
        &["forget", "old", "--force", "--yes"],
    ];
    for command in commands {
        let (code, said) = refused(&[command, &["--dir", &place]].concat());
        assert_eq!(code, 1, "{command:?}: {said}");
        let by = format!("process {} holds {place}/lock", std::process::id());
        assert!(
            said.contains(&by) && said.contains("systemctl stop forebay"),
            "{said}"
        );
    }
}

#[test]
fn no_store_and_one_of_a_later_version_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere").display().to_string();
    let (code, said) = refused(&["status", "--dir", &nowhere]);
    assert_eq!(code, 1);
    assert!(
        said.contains("there is no store in") && said.contains("help: "),
        "{said}"
    );
    let (code, said) = refused(&["purge", "--yes", "--dir", &nowhere]);
    assert_eq!(code, 1, "{said}");
    assert!(!Path::new(&nowhere).exists());

    let dir = folder.path().join("later");
    used(&dir);
    fs::write(dir.join("format"), forebay::store::format_line(9)).unwrap();
    let before = files(&dir);
    let place = dir.display().to_string();
    for command in [&["status"][..], &["purge", "--yes"]] {
        let (code, said) = refused(&[command, &["--dir", &place]].concat());
        assert_eq!(code, 1);
        assert!(
            said.contains("has format 9") && said.contains("untouched"),
            "{said}"
        );
    }
    assert_eq!(files(&dir), before);
}

#[test]
fn a_bad_configuration_ends_with_78_and_the_directory_still_works() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path());
    used(&folder.path().join("state/store"));
    fs::write(&file, "[gateway]\nidd = \"a\"\n").unwrap();
    let (code, said) = refused(&["status", "-c", &file]);
    assert_eq!(code, 78);
    assert!(
        said.contains("forebay.toml:2:1: error") && said.contains("--dir DIR"),
        "{said}"
    );
    let state = folder.path().join("state").display().to_string();
    assert!(done(&["status", "--dir", &state]).contains("13 records"));
    assert_eq!(refused(&["status", "--dri", &state]).0, 2);
    assert_eq!(refused(&["peek", "-n", "100000", "--dir", &state]).0, 2);
}

/// Every file below `dir` with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

/// The journal, and where what was written to it ends.
fn journal(dir: &Path) -> (PathBuf, Vec<u8>, usize) {
    let all = files(&dir.join("engine"));
    let journal = all.into_iter().find(|(path, bytes)| {
        path.extension().is_some_and(|end| end == "jnl") && bytes.iter().any(|&byte| byte != 0)
    });
    let (path, bytes) = journal.unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    (path, bytes, end)
}

#[test]
fn a_torn_end_is_looked_past_and_not_mended() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    used(dir);
    let (path, mut bytes, end) = journal(dir);
    bytes[end - 2] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let before = files(dir);
    let place = dir.display().to_string();
    let run = queue(&["status", "--dir", &place]);
    assert!(run.status.success());
    let (text, said) = (
        String::from_utf8(run.stdout).unwrap(),
        String::from_utf8(run.stderr).unwrap(),
    );
    assert!(
        text.contains("not whole: a journal's end is torn"),
        "{text}"
    );
    assert!(text.contains("the next start begins a new one"), "{text}");
    assert!(
        said.contains("nothing was changed") && said.contains("next starts"),
        "{said}"
    );
    assert_eq!(done(&["export", "--dir", &place]).lines().count(), 13);
    assert!(files(dir) == before, "not a byte was changed");
}

#[test]
fn what_is_intact_of_a_damaged_store_can_be_got_out() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    used(dir);
    let (path, mut bytes, _) = journal(dir);
    // Within the first block: the batches behind it are whole.
    let magic = forebay::store::envelope::MAGIC;
    let starts = bytes
        .windows(8)
        .enumerate()
        .filter(|(_, window)| *window == magic);
    let block = starts
        .map(|(at, _)| at)
        .find(|at| bytes[at + 8] == 1)
        .unwrap();
    bytes[block + 100] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let before = files(dir);
    let place = dir.display().to_string();
    let run = queue(&["export", "--dir", &place]);
    assert!(run.status.success());
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(
        said.contains("not whole") && said.contains("damaged"),
        "{said}"
    );
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(
        text.contains("\"seq\":13") && text.contains("\"seq\":12"),
        "{text}"
    );
    assert!(!text.contains("\"seq\":2,"), "{text}");
    assert!(files(dir) == before, "not a byte was changed");
}

#[test]
fn root_takes_on_the_owner_of_the_directory() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: nobody to become");
        return;
    }
    const OWNER: u32 = 65_534;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state/store");
    let file = config(folder.path());
    used(&dir);
    chown(folder.path().join("state"), Some(OWNER), Some(OWNER)).unwrap();
    chown(&dir, Some(OWNER), Some(OWNER)).unwrap();
    for path in folders(&dir).into_iter().chain(files(&dir).into_keys()) {
        chown(path, Some(OWNER), Some(OWNER)).unwrap();
    }
    // Only its owner may go in there; the file for the export is root's.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    let output = folder.path().join("all.ndjson");
    done(&["status", "-c", &file]);
    done(&[
        "export",
        "-c",
        &file,
        "--output",
        &output.display().to_string(),
    ]);
    done(&["purge", "-c", &file, "--yes"]);
    for (path, _) in files(&dir) {
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(
            (meta.uid(), meta.gid()),
            (OWNER, OWNER),
            "{}",
            path.display()
        );
    }
    assert_eq!(fs::metadata(&output).unwrap().uid(), 0);
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(folders(&path));
        }
    }
    found
}
