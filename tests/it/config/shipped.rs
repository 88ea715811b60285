//! The files that are shipped load, as they stand and with every alternative that they offer.

use std::fs;
use std::path::Path;

use forebay::config::{self, InMemory, Severity};

const MAIN: &str = "/etc/forebay/forebay.toml";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn host(reference: String) -> InMemory {
    let mut host = InMemory::default().file(MAIN, reference);
    for file in ["ca.pem", "gw.pem", "gw.key"] {
        host = host.file(Path::new("/etc/forebay").join(file), "pem");
    }
    host = host.file("/etc/forebay/cloud.password", "secret");
    for entry in fs::read_dir(root().join("config/maps")).unwrap() {
        let entry = entry.unwrap();
        let path = Path::new("/etc/forebay/maps").join(entry.file_name());
        host = host.file(path, fs::read(entry.path()).unwrap());
    }
    host
}

fn reference() -> String {
    fs::read_to_string(root().join("config/forebay.toml")).unwrap()
}

#[test]
fn the_reference_loads_without_a_warning() {
    let config = config::load_from(&host(reference()), MAIN.as_ref())
        .unwrap_or_else(|report| panic!("{report}"));
    let warnings: Vec<_> = config
        .remarks
        .iter()
        .filter(|problem| problem.severity != Severity::Note)
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(config.lines.len(), 3);
    assert_eq!(config.upstreams.len(), 2);
}

#[test]
fn how_much_of_the_file_system_stays_free_can_be_set() {
    let kept = |reference| {
        let config = config::load_from(&host(reference), MAIN.as_ref());
        config.unwrap().store.keep_free
    };
    assert_eq!(kept(reference()), None);
    assert_eq!(
        kept(reference().replace("#keep_free", "keep_free")),
        Some(1 << 30)
    );
}

/// The key of a line `key = …` or `#key = …`.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.trim_start_matches('#').split_once('=')?;
    let key = key.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!key.is_empty() && key.chars().all(plain)).then_some(key)
}

#[test]
fn every_alternative_of_the_reference_loads() {
    let reference = reference();
    let lines: Vec<&str> = reference.lines().collect();
    let offered: Vec<usize> = (0..lines.len())
        .filter(|&at| lines[at].starts_with('#') && !lines[at].starts_with("# "))
        .collect();
    assert!(offered.len() > 20, "{}", offered.len());
    for at in offered {
        let chosen = key(lines[at]).unwrap_or_else(|| panic!("no setting: {}", lines[at]));
        let start = lines[..at]
            .iter()
            .rposition(|line| line.starts_with('['))
            .unwrap();
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            let replaced = (start..at).contains(&number) && key(line) == Some(chosen);
            match number {
                _ if number == at => text.push_str(line.trim_start_matches('#')),
                _ if replaced => {}
                _ => text.push_str(line),
            }
            text.push('\n');
        }
        if let Err(report) = config::load_from(&host(text), MAIN.as_ref()) {
            panic!("{}:\n{report}", lines[at]);
        }
    }
}

#[test]
fn every_shipped_map_is_free_of_remarks_and_names_its_source() {
    for entry in fs::read_dir(root().join("config/maps")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let map = config::map_from_text(name, &text).unwrap_or_else(|report| panic!("{report}"));
        assert!(map.source.is_some() && map.title.is_some(), "{name}");
        assert!(!map.points.is_empty(), "{name}");
    }
}
