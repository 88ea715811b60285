//! The layers of the crate doc hold: imports go down only, and a crate that bites has one home.

use std::fs;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Folder and level; folders of one level never import each other.
const LEVELS: &[(&str, u8)] = &[
    ("reading", 0),
    ("support", 0),
    ("field", 1),
    ("store", 1),
    ("payload", 1),
    ("proof", 1),
    ("upstream", 1),
    ("forward", 2),
    ("simulator", 2),
    ("config", 3),
    ("health", 3),
    ("control", 3),
    ("gateway", 4),
    ("cli", 5),
];

/// A crate and the only places that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("fjall", &["store/engine/fjall.rs", "store/engine/fjall/"]),
    (
        "lsm_tree",
        &["store/engine/fjall.rs", "store/engine/fjall/"],
    ),
    ("rumqttc", &["upstream/mqtt/"]),
    ("lapin", &["upstream/amqp.rs", "upstream/amqp/"]),
    ("tokio_modbus", &["field/", "simulator/"]),
    ("tokio_serial", &["field/", "simulator/"]),
];

/// The one exception: the simulator's broker speaks MQTT with rumqttc's packet codec.
const CODEC_EXCEPTION: (&str, &str) = ("simulator/broker", "rumqttc::mqttbytes");

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn level(module: &str) -> Option<u8> {
    LEVELS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, level)| *level)
}

/// The modules that a line of code reaches by `crate::`.
fn imported(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let mut modules = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        modules.extend(names.into_iter().map(|name| {
            name.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        }));
    }
    modules
}

/// What is wrong with `text` as the file `path` (relative to src), a line each.
fn violations(path: &str, text: &str) -> Vec<String> {
    let own = path.split(['/', '.']).next().unwrap();
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("src/{path}:{}", number + 1);
        if let Some(own_level) = level(own) {
            for module in imported(line) {
                let reaches =
                    level(&module).unwrap_or_else(|| panic!("{place}: `{module}` has no level"));
                if module != own && reaches >= own_level {
                    wrong.push(format!(
                        "{place}: {own} (level {own_level}) imports {module} (level {reaches})"
                    ));
                }
            }
        }
        let code = line.split("//").next().unwrap_or_default();
        for (name, homes) in HOMES {
            let named =
                code.contains(&format!("{name}::")) || code.contains(&format!("use {name}"));
            let excepted = path.starts_with(CODEC_EXCEPTION.0) && code.contains(CODEC_EXCEPTION.1);
            if named && !excepted && !homes.iter().any(|home| path.starts_with(home)) {
                wrong.push(format!(
                    "{place}: only {} may name {name}",
                    homes.join(", ")
                ));
            }
        }
    }
    wrong
}

#[test]
fn imports_go_down_only() {
    let mut files = Vec::new();
    sources(Path::new(SRC), &mut files);
    assert!(files.len() > 20, "the sources are somewhere else");
    let wrong: Vec<_> = files
        .iter()
        .flat_map(|file| {
            let path = file.strip_prefix(SRC).unwrap().to_str().unwrap();
            violations(path, &fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_within_the_house_rule() {
    let mut files = Vec::new();
    sources(Path::new(SRC), &mut files);
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"),
        &mut files,
    );
    let long: Vec<_> = files
        .iter()
        .map(|file| {
            (
                file.display(),
                fs::read_to_string(file).unwrap().lines().count(),
            )
        })
        .filter(|(_, lines)| *lines > 400)
        .collect();
    assert!(long.is_empty(), "longer than 400 lines: {long:?}");
}

#[test]
fn a_wrong_import_is_seen() {
    let up = violations("store/block.rs", "use crate::forward::window;");
    assert_eq!(
        up,
        ["src/store/block.rs:1: store (level 1) imports forward (level 2)"]
    );
    assert_eq!(
        violations("store/block.rs", "use crate::{reading, field};").len(),
        1
    );
    assert!(
        violations(
            "store/block.rs",
            "use crate::reading::Name; // crate::field"
        )
        .is_empty()
    );
    assert_eq!(
        violations("store/queue.rs", "fjall::Database::open()").len(),
        1
    );
    assert!(violations("simulator/broker.rs", "use rumqttc::mqttbytes::v4;").is_empty());
}
