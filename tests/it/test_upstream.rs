//! `forebay test upstream`: each way to fail has its step, its reason and its mend.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::certs::{Certs, Identity};
use crate::harness::mosquitto::{Mosquitto, MosquittoSettings, MosquittoTls};
use crate::harness::process::free_port;
use crate::harness::rabbitmq::RabbitMq;

/// Exit code and what was printed, with `PORT` for the port, `N ms` for times and `N days` for what is left.
fn tested(port: u16, upstream: &str, more: &[&str]) -> (Option<i32>, String) {
    let (code, text) = run(upstream, more);
    let text = text.replace(&port.to_string(), "PORT");
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let unit = |place: usize| {
            words
                .get(place + 1)
                .is_some_and(|next| ["ms", "days", "ms:"].contains(next))
        };
        let word = |(place, word): (usize, &&str)| {
            if unit(place) {
                "N".to_owned()
            } else {
                (*word).to_owned()
            }
        };
        let shown: Vec<String> = words
            .iter()
            .enumerate()
            .map(word)
            .filter(|word| !word.is_empty())
            .collect();
        shown.join(" ") + "\n"
    });
    (code, lines.collect())
}

fn run(upstream: &str, more: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forebay.toml");
    std::fs::write(folder.path().join("right"), "secret\n").unwrap();
    std::fs::write(folder.path().join("wrong"), "guess\n").unwrap();
    std::fs::write(
        &path,
        format!("[gateway]\nid = \"hall-2\"\n[upstream.cloud]\n{upstream}"),
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command
        .args(["test", "upstream", "cloud", "--config"])
        .arg(path)
        .args(more);
    let output = command.output().unwrap();
    let text =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text)
}

fn mqtt(port: u16) -> String {
    format!("kind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\n")
}

fn amqp(broker: &RabbitMq, exchange: &str) -> String {
    format!(
        "kind = \"amqp\"\nurl = \"amqp://127.0.0.1:{}/{}\"\nexchange = \"{exchange}\"\n",
        broker.port(),
        broker.vhost().replace('/', "%2F")
    )
}

/// It ended with this step, reason and mend.
fn fails((code, text): (Option<i32>, String), reason: &str, mend: &str) {
    assert_eq!(code, Some(1), "{text}");
    let failed = text.contains(reason) && text.ends_with(&format!("{mend}\n"));
    assert!(failed && text.matches("FAILED").count() == 1, "{text}");
}

#[test]
fn nobody_listens() {
    let port = free_port();
    fails(
        tested(port, &mqtt(port), &[]),
        "mqtt://127.0.0.1:PORT\nname resolved N ms 127.0.0.1\nconnected FAILED after N ms: Connection refused",
        "\nis the broker up, and is this its port?",
    );
}

#[test]
fn the_name_is_unknown_or_there_is_no_such_upstream() {
    let unknown = "kind = \"mqtt\"\nurl = \"mqtt://broker.invalid\"\n";
    fails(
        tested(1883, unknown, &["--timeout", "2s"]),
        "name resolved FAILED after N ms: ",
        "the name in `url`, or the gateway's name servers",
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forebay.toml");
    let other = format!("[gateway]\nid = \"a\"\n[upstream.other]\n{}", mqtt(1));
    std::fs::write(&path, other).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command
        .args(["test", "upstream", "cloud", "--config"])
        .arg(path);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("there are: other"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_takes_a_bounded_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let testing =
        tokio::task::spawn_blocking(move || tested(port, &mqtt(port), &["--timeout", "500ms"]));
    fails(
        testing.await.unwrap(),
        "authenticated FAILED after N ms: no answer within 500ms",
        "the broker has stalled, or speaks another protocol on this port",
    );
}

#[test]
#[ignore = "needs mosquitto"]
fn mqtt_passes_also_as_json_and_as_another_client_than_the_daemon() {
    let broker = Mosquitto::start();
    let (code, text) = tested(broker.port(), &mqtt(broker.port()), &[]);
    let expected = "mqtt://127.0.0.1:PORT\nname resolved N ms 127.0.0.1\nconnected N ms 127.0.0.1:PORT\nauthenticated N ms \
                    takes 20 messages at once, inflight = 100\nmessage confirmed N ms forebay/hall-2/event\n";
    assert_eq!((code, text.as_str()), (Some(0), expected));
    let (code, text) = run(
        &(mqtt(broker.port()) + "version = \"3.1.1\"\n"),
        &["--json", "--topic", "a/b"],
    );
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &result["ok"]),
        (Some(0), &Value::Bool(true)),
        "{result}"
    );
    assert_eq!(
        result["brokers"][0]["steps"][3]["step"], "confirm",
        "{result}"
    );
    assert!(
        broker.log().contains("as hall-2-cloud-test"),
        "{}",
        broker.log()
    );
}

#[test]
#[ignore = "needs mosquitto"]
fn mqtt_with_a_wrong_password_and_without_permission() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    std::fs::write(&rules, "user hall-2\ntopic write allowed/#\n").unwrap();
    let broker = Mosquitto::start_with(&MosquittoSettings {
        users: vec![("hall-2".to_owned(), "secret".to_owned())],
        listener: vec![format!("acl_file {}", rules.display())],
        ..MosquittoSettings::default()
    });
    let port = broker.port();
    let login = |file: &str| {
        format!(
            "{}username = \"hall-2\"\npassword = {{ file = \"{file}\" }}\n",
            mqtt(port)
        )
    };
    fails(
        tested(port, &login("wrong"), &[]),
        "authenticated FAILED after N ms: not authorised: ",
        "username and password, or what the user may do at the broker",
    );
    fails(
        tested(port, &login("right"), &[]),
        "message confirmed FAILED after N ms: not authorised (0x87)",
        "let the user publish there, or test another place by --topic",
    );
    let (code, text) = tested(port, &login("right"), &["--topic", "allowed/x"]);
    assert!(
        code == Some(0) && text.ends_with("message confirmed N ms allowed/x\n"),
        "{text}"
    );
}

fn tls_broker(certs: &Certs, server: Identity) -> Mosquitto {
    Mosquitto::start_with(&MosquittoSettings {
        tls: Some(MosquittoTls {
            ca: certs.ca(),
            cert: server.cert,
            key: server.key,
            client_certificate: false,
        }),
        ..MosquittoSettings::default()
    })
}

fn mqtts(host: &str, port: u16, certs: &Certs) -> String {
    let ca = certs.ca();
    format!("kind = \"mqtt\"\nurl = \"mqtts://{host}:{port}\"\ntls = {{ ca = {ca:?} }}\n")
}

#[test]
#[ignore = "needs mosquitto"]
fn the_brokers_certificate() {
    let (certs, others) = (Certs::new(), Certs::new());
    let broker = tls_broker(&certs, certs.server());
    let port = broker.port();
    let (code, text) = tested(port, &mqtts("localhost", port, &certs), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("\nTLS N ms TLS 1.3, certificates: 2, valid for N days\n"),
        "{text}"
    );
    fails(
        tested(port, &mqtts("127.0.0.1", port, &others), &[]),
        "\nTLS FAILED after N ms: the broker's certificate: ",
        "name the authority that signed the broker's certificate by tls.ca",
    );
    let elsewhere = tls_broker(&certs, certs.server_of("elsewhere"));
    fails(
        tested(
            elsewhere.port(),
            &mqtts("localhost", elsewhere.port(), &certs),
            &[],
        ),
        "\nTLS FAILED after N ms: the broker's certificate: certificate not valid for name",
        "`url` must have a name that stands in the certificate",
    );
    let expired = tls_broker(&certs, certs.expired_server());
    fails(
        tested(
            expired.port(),
            &mqtts("localhost", expired.port(), &certs),
            &[],
        ),
        "\nTLS FAILED after N ms: the broker's certificate: certificate expired",
        "have the broker's certificate renewed, or set the gateway's clock",
    );
    let server = certs.server();
    let suspicious = Mosquitto::start_with(&MosquittoSettings {
        tls: Some(MosquittoTls {
            ca: certs.ca(),
            cert: server.cert,
            key: server.key,
            client_certificate: true,
        }),
        ..MosquittoSettings::default()
    });
    let (port, name) = (suspicious.port(), "localhost");
    let (code, text) = tested(port, &mqtts(name, port, &certs), &[]);
    assert!(
        code == Some(1) && text.contains("client certificate (tls.cert, tls.key)"),
        "{text}"
    );
    let plain = Mosquitto::start();
    fails(
        tested(
            plain.port(),
            &mqtts("localhost", plain.port(), &certs),
            &["--timeout", "2s"],
        ),
        "\nTLS FAILED after N ms: ",
        "does the broker speak TLS on this port?",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn amqp_passes_where_exchange_and_queue_are_there() {
    let broker = RabbitMq::shared();
    let (port, upstream) = (broker.port(), amqp(&broker, "telemetry"));
    fails(
        tested(port, &upstream, &[]),
        "message confirmed FAILED after N ms: closed by the broker: NOT_FOUND - no exchange 'telemetry'",
        ": create it at the broker, or have it declared (declare = { … })",
    );
    let client = broker.client().await;
    client
        .exchange("telemetry", lapin::ExchangeKind::Topic)
        .await;
    fails(
        tested(port, &upstream, &[]),
        "message confirmed FAILED after N ms: no queue takes it (exchange \"telemetry\"",
        "bind a queue to the exchange with a matching key, or declare one (declare = { … })",
    );
    client.queue("all").await;
    client.bind("all", "telemetry", "#").await;
    let (code, text) = tested(port, &upstream, &[]);
    let last =
        "message confirmed N ms exchange \"telemetry\", routing key \"forebay.hall-2.event\"\n";
    assert!(code == Some(0) && text.ends_with(last), "{text}");
    let consumer = client.consume("all").await;
    let one = consumer
        .wait_for(Duration::from_secs(20), |all| all.len() == 1)
        .await;
    let message = one[0].json();
    assert_eq!(
        (&message["test"], &message["seq"]),
        (&Value::from("cloud"), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn amqp_with_a_wrong_password_a_wrong_virtual_host_and_without_permission() {
    let broker = RabbitMq::shared();
    let (port, upstream) = (broker.port(), amqp(&broker, "telemetry"));
    let login = "username = \"guest\"\npassword = { file = \"wrong\" }\n";
    fails(
        tested(port, &format!("{upstream}{login}"), &[]),
        "authenticated FAILED after N ms: not authorised: ACCESS_REFUSED",
        "username and password, or what the user may do at the broker",
    );
    fails(
        tested(port, &upstream.replace(broker.vhost(), "nowhere"), &[]),
        "authenticated FAILED after N ms: rejected by the broker: ",
        "the virtual host (the path of `url`), or `declare`",
    );
    broker
        .client()
        .await
        .exchange("telemetry", lapin::ExchangeKind::Topic)
        .await;
    broker.permit("^$");
    fails(
        tested(port, &upstream, &[]),
        "message confirmed FAILED after N ms: ACCESS_REFUSED",
        "let the user publish there, or test another place by --topic",
    );
}
