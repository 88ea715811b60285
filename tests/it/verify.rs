//! `forebay verify`: what a consumer learns about what came, and by which exit code.

mod brokers;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn record(seq: u64, device: &str, device_seq: u64) -> Value {
    json!({"v": 1, "gateway": "hall-2", "device": device, "stream": "5f3a9c1e", "seq": seq, "device_seq": device_seq,
           "time": "2026-11-20T09:00:00.000000Z", "values": {"x": seq}})
}

fn verify(arguments: &[&str], messages: &[Value]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .arg("verify")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for message in messages {
        writeln!(input, "{message}").unwrap();
    }
    drop(input);
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn what_is_complete_ends_with_zero_and_what_is_not_with_one() {
    let whole = [record(1, "a", 1), record(2, "b", 1), record(3, "a", 2)];
    let output = verify(&["--from-start"], &whole);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output).ends_with("complete: 3 records, none missing\n"),
        "{output:?}"
    );
    let output = verify(&[], &[record(1, "a", 1), record(4, "a", 4)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let sentence = "5f3a9c1e: seq 2 to 3 did not come, and no event names them (2 in all)";
    assert!(text(&output).contains(sentence), "{output:?}");
}

#[test]
fn wrong_usage_and_a_source_that_is_not_there_have_their_own_codes() {
    for (arguments, code) in [
        (&["amqp://127.0.0.1"][..], 2),
        (&["mqtt://127.0.0.1", "--queue", "q"], 2),
        (&["http://127.0.0.1"], 2),
        (&["--for", "5"], 2),
        (&["/nowhere/messages.ndjson"], 1),
        (&["mqtt://127.0.0.1:1"], 1),
        (&["amqp://127.0.0.1:1", "--queue", "q"], 1),
    ] {
        let output = verify(arguments, &[]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{output:?}"
        );
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for (source, reason, help) in [
        (
            "/nowhere/messages.ndjson",
            "error: /nowhere/messages.ndjson cannot be read: there is no such file\n",
            "one message a line",
        ),
        (
            folder,
            "cannot be read: it is a folder\n",
            "one message a line",
        ),
        (
            "mqtt://127.0.0.1:1",
            "error: mqtt://127.0.0.1:1: Connection refused",
            "is the broker up",
        ),
        (
            "amqps://127.0.0.1:1/plant",
            "error: amqps://127.0.0.1:1/plant: 127.0.0.1:1: Connection refused",
            "is the broker up",
        ),
        (
            "mqtt://broker.invalid",
            "error: mqtt://broker.invalid: failed to lookup",
            "name and port",
        ),
    ] {
        let arguments = match source.starts_with("amqp") {
            true => vec![source, "--exchange", "e"],
            false => vec![source],
        };
        let output = verify(&arguments, &[]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(reason), "{told}");
        let (_, mend) = told
            .split_once("  help: ")
            .unwrap_or_else(|| panic!("{told}"));
        assert!(mend.contains(help), "{told}");
    }
}

#[test]
fn lines_that_are_no_messages_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messages.ndjson");
    let mut lines: Vec<String> = (1..=9)
        .map(|seq| record(seq, "a", seq).to_string())
        .collect();
    lines.insert(3, "{\"v\":1,\"gateway\":\"hall-2\",\"stre".to_owned());
    lines.insert(7, "nothing of ours".to_owned());
    std::fs::write(&path, lines.join("\n")).unwrap();
    let path = path.to_str().unwrap();
    let output = verify(&[path], &[]);
    let sentence = "messages that are no gateway's, or damaged: 2 (lines 4, 8)\n";
    assert!(text(&output).contains(sentence), "{output:?}");
    let output = verify(&[path, "--json"], &[]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["foreign_lines"], json!([4, 8]));
}

#[test]
fn nothing_is_no_proof() {
    let output = verify(&["--until-idle", "100ms"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output), "not proved: no record came\n");
}

#[test]
fn an_upstream_of_some_devices_is_proved_by_their_own_numbers() {
    let some = [
        record(1, "meter-1", 1),
        record(5, "meter-1", 2),
        record(6, "meter-2", 1),
    ];
    let output = verify(&[], &some);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("prove by --devices"), "{output:?}");
    assert_eq!(verify(&["--devices"], &some).status.code(), Some(0));
    assert_eq!(verify(&["--devices=meter-*"], &some).status.code(), Some(0));
    let output = verify(&["--devices=meter-*,press"], &some);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("no record of a device press came"),
        "{output:?}"
    );
}

#[test]
fn order_counts_where_it_is_asked_for() {
    let swapped = [record(1, "a", 1), record(3, "a", 3), record(2, "a", 2)];
    assert_eq!(verify(&[], &swapped).status.code(), Some(0));
    let output = verify(&["--ordered"], &swapped);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("1 records came after a later one of their lane"),
        "{output:?}"
    );
}

#[test]
fn a_file_is_read_to_its_end_and_the_result_is_json_where_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messages.ndjson");
    let lines: Vec<String> = (1..=1000)
        .map(|seq| record(seq, "a", seq).to_string())
        .collect();
    std::fs::write(&path, lines.join("\n") + "\n\n").unwrap();
    let output = verify(&["--json", path.to_str().unwrap()], &[]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&result["complete"], &result["records"]),
        (&json!(true), &json!(1000))
    );
    assert_eq!(result["streams"][0]["seq"], json!([1, 1000]));
}
