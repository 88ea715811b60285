//! The command as a user and as a service manager see it.

mod queue;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::gateway::Gateway;
use crate::harness::process::until;

const BOUND: Duration = Duration::from_secs(60);

fn forebay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(arguments)
        .output()
        .unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn config(folder: &Path, text: &str) -> String {
    let path = folder.join("forebay.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn exit_codes_tell_bad_configuration_from_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let path = |text: &str| config(folder.path(), text);
    assert_eq!(
        code(&forebay(&[
            "check",
            "--config",
            &path("[gateway]\nid = \"a\"\n")
        ])),
        Some(0)
    );
    assert_eq!(
        code(&forebay(&[
            "check",
            "--config",
            &path("[gateway]\nidd = \"a\"\n")
        ])),
        Some(78)
    );
    assert_eq!(
        code(&forebay(&[
            "run",
            "--config",
            &path("[gateway]\nidd = \"a\"\n")
        ])),
        Some(78)
    );
    assert_eq!(
        code(&forebay(&["check", "--config", "/nowhere/forebay.toml"])),
        Some(78)
    );
    assert_eq!(
        code(&forebay(&["run", "--config", "/nowhere/forebay.toml"])),
        Some(78)
    );
    assert_eq!(code(&forebay(&["chekc"])), Some(2));
}

#[test]
fn check_names_the_place_and_the_mend_also_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "[gateway]\nidd = \"a\"\n");
    let text = String::from_utf8(forebay(&["check", "--config", &path]).stdout).unwrap();
    assert!(
        text.contains(&format!("{path}:2:1: error")) && text.contains("`id`"),
        "{text}"
    );
    let output = forebay(&["check", "--json", "--config", &path]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["line"], 2, "{json}");
}

#[test]
fn a_store_that_another_process_has_is_left_alone() {
    let mut first = Gateway::new("", &[]);
    first.start();
    until(BOUND, || first.log().contains("new stream").then_some(())).expect("the store opens");
    let second = forebay(&[
        "run",
        "--config",
        &first.folder().join("forebay.toml").display().to_string(),
    ]);
    assert_eq!(code(&second), Some(1));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use by another process"), "{said}");
    assert!(first.stop().success());
}

#[test]
fn the_service_manager_is_told_of_ready_alive_and_stopping() {
    told_of_ready_alive_and_stopping("state");
}

#[test]
fn a_gateway_whose_store_cannot_be_opened_counts_as_alive_and_stops_in_order() {
    // The configuration file is no folder.
    told_of_ready_alive_and_stopping("forebay.toml/state");
}

fn told_of_ready_alive_and_stopping(state: &str) {
    let folder = tempfile::tempdir().unwrap();
    let socket_path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&socket_path).unwrap();
    socket.set_read_timeout(Some(BOUND)).unwrap();
    let path = config(
        folder.path(),
        &format!("[gateway]\nid = \"a\"\nstate_dir = {state:?}\n"),
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["run", "--config", &path])
        .env("NOTIFY_SOCKET", &socket_path)
        .env("WATCHDOG_USEC", "1000000")
        .spawn()
        .unwrap();
    let hear = |wanted: &str| {
        let mut buffer = [0; 1024];
        loop {
            let length = socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("no {wanted}: {error}"));
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
        }
    };
    for wanted in ["READY=1", "STATUS=", "WATCHDOG=1", "WATCHDOG=1"] {
        hear(wanted);
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    hear("STOPPING=1");
    assert!(child.wait().unwrap().success());
}

#[test]
#[cfg(feature = "demo")]
fn the_demo_delivers_everything_through_its_outages() {
    let output = forebay(&["demo", "--for", "14s", "--outage", "2s/3s"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("broker away") && said.contains("broker there"),
        "{said}"
    );
    let arrived: Vec<u64> = said
        .lines()
        .map(|line| {
            line.split("arrived")
                .nth(1)
                .unwrap()
                .split_whitespace()
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    // The press alone is scanned five times a second.
    assert!(
        arrived.last().is_some_and(|arrived| *arrived > 20),
        "{said}"
    );
    assert!(
        said.lines().all(|line| line.contains("missing 0")),
        "{said}"
    );
}
