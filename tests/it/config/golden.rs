//! Folders of files with mistakes, and what is said of them, word for word.
//!
//! With `FOREBAY_BLESS=1` in the environment the expected texts are written anew.

use std::fs;
use std::path::{Path, PathBuf};

use forebay::config::{self, Host, InMemory, Problem, Report, render};

fn case(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/config");
    folder.join(name)
}

/// All files of a folder, under paths that are the same on every machine.
fn host(folder: &Path) -> InMemory {
    fn add(mut host: InMemory, folder: &Path, at: &Path) -> InMemory {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let at = at.join(entry.file_name());
            host = if entry.path().is_dir() {
                add(host, &entry.path(), &at)
            } else {
                host.file(at, fs::read(entry.path()).unwrap())
            };
        }
        host
    }
    add(InMemory::default(), folder, Path::new(""))
}

fn check(host: &dyn Host) -> Vec<Problem> {
    match config::load_from(host, Path::new("forebay.toml")) {
        Ok(config) => config.remarks,
        Err(Report { problems }) => problems,
    }
}

fn compare(name: &str) {
    let folder = case(name);
    let problems = check(&host(&folder));
    for (file, shown) in [
        ("expected.txt", render::to_text(&problems, false)),
        ("expected.json", format!("{}\n", render::to_json(&problems))),
    ] {
        let path = folder.join(file);
        if std::env::var_os("FOREBAY_BLESS").is_some() {
            fs::write(&path, &shown).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap();
        assert!(
            expected == shown,
            "{} differs; now it is:\n{shown}\n(FOREBAY_BLESS=1 accepts it)",
            path.display()
        );
    }
}

#[test]
fn every_mistake_of_every_file_is_found_in_one_run() {
    compare("mistakes");
}

#[test]
fn what_is_legal_but_surely_wrong_is_said() {
    compare("warnings");
}

#[test]
fn files_on_disk_give_the_same_as_files_in_memory() {
    let folder = case("mistakes");
    let on_disk = config::load(&folder.join("forebay.toml")).unwrap_err();
    let reasons = |problems: &[Problem]| -> Vec<_> {
        let lines = problems.iter().map(|problem| {
            let at = problem.place.at.as_ref().map(|at| (at.line, at.column));
            (at, problem.severity)
        });
        lines.collect()
    };
    assert_eq!(reasons(&on_disk.problems), reasons(&check(&host(&folder))));
}

#[test]
fn a_map_of_thousands_of_points_is_read_in_a_moment() {
    use std::fmt::Write;
    let mut text = String::from("[points]\n");
    for number in 0..5_000 {
        let _ = writeln!(text, "p{number} = {{ holding = {number}, type = \"u16\" }}");
    }
    let began = std::time::Instant::now();
    assert_eq!(
        config::map_from_text("m.toml", &text).unwrap().points.len(),
        5_000
    );
    // Unoptimised and beside other tests; a square of the size would take minutes.
    let took = began.elapsed();
    assert!(took.as_secs() < 10, "{took:?}");
}
