//! Files, folders, devices: how a site is put together.

use std::path::Path;
use std::time::Duration;

use forebay::config::{self, Config, InMemory, Report, Severity};
use forebay::field::learned::LearnedFile;
use forebay::field::modbus::known::Known;
use forebay::field::modbus::map::RawType;
use forebay::field::settings::{Rs485, RtsLevel, Transport};
use forebay::upstream::settings::{Secret, UpstreamSettings};
use proptest::prelude::*;

const MAIN: &str = "/etc/forebay/forebay.toml";

fn load(host: &InMemory) -> Result<Config, Report> {
    config::load_from(host, MAIN.as_ref())
}

fn good(host: &InMemory) -> Config {
    load(host).unwrap_or_else(|report| panic!("{report}"))
}

fn errors(host: &InMemory) -> Vec<String> {
    let problems = load(host).unwrap_err().problems;
    let errors = problems
        .into_iter()
        .filter(|p| p.severity == Severity::Error);
    errors
        .map(|p| format!("{}: {}", p.place, p.reason))
        .collect()
}

const SITE: &str = r#"
[line.plc]
protocol = "modbus-tcp"
address = "10.0.2.15"
[device.meter]
line = "plc"
map = "meter"
every = "1s"
"#;

const METER: &str = r#"
[scans]
slow = "1min"
[points]
a = { input = 0, type = "f32" }
b = { input = 2, type = "f32", scan = "slow" }
c = { input = 4, type = "f32", scan = "once" }
"#;

fn site() -> InMemory {
    InMemory::default()
        .file(MAIN, SITE)
        .file("/usr/share/forebay/maps/meter.toml", METER)
}

#[test]
fn an_empty_site_has_the_documented_defaults() {
    let config = good(&InMemory::default().file(MAIN, ""));
    assert_eq!(config.gateway.id, "gateway");
    assert_eq!(config.gateway.state_dir, Path::new("/var/lib/forebay"));
    assert_eq!(config.store.dir, Path::new("/var/lib/forebay/store"));
    assert_eq!(config.store.max_size, 2 << 30);
    let host = InMemory::default()
        .file(MAIN, "")
        .set("STATE_DIRECTORY", "/a:/b");
    assert_eq!(good(&host).gateway.state_dir, Path::new("/a"));
}

/// The direction of `[line.bus]` with these lines in it.
fn rs485(lines: &str) -> Result<Option<Rs485>, Vec<String>> {
    let text = format!("[line.bus]\nprotocol = \"modbus-rtu\"\nport = \"/dev/ttyS1\"\n{lines}\n");
    let host = InMemory::default().file(MAIN, text);
    if load(&host).is_err() {
        return Err(errors(&host));
    }
    match &good(&host).lines[0].transport {
        Transport::ModbusRtu(serial) => Ok(serial.rs485),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_direction_of_rs485_is_left_alone_or_switched() {
    assert_eq!(rs485(""), Ok(None));
    assert_eq!(rs485("rs485 = false"), Ok(None));
    assert_eq!(rs485("rs485 = true"), Ok(Some(Rs485::default())));
    let table = r#"rs485 = { rts_on_send = "low", delay_before = "1ms", delay_after = "0s" }"#;
    let wanted = Rs485 {
        rts_on_send: Some(RtsLevel::Low),
        delay_before: Some(Duration::from_millis(1)),
        delay_after: Some(Duration::ZERO),
    };
    assert_eq!(rs485(table), Ok(Some(wanted)));
    for (wrong, reason) in [
        ("rs485 = 1", "`rs485` must be true, false or a table"),
        (r#"rs485.rts_on_send = "up""#, "cannot be \"up\""),
        (r#"rs485.delay_before = "1.5ms""#, "whole milliseconds"),
        (r#"rs485.delay_after = "1s""#, "must be 0s to 100ms"),
    ] {
        let errors = rs485(wrong).unwrap_err();
        assert!(errors[0].contains(reason), "{errors:?}");
    }
    let line = "[line.a]\nprotocol = \"modbus-rtu-over-tcp\"\naddress = \"a:1\"\nrs485 = true\n";
    let errors = errors(&InMemory::default().file(MAIN, line));
    assert!(errors[0].contains("belongs to a serial port"), "{errors:?}");
}

#[test]
fn files_are_merged_in_byte_order_and_the_others_are_skipped() {
    let host = site()
        .file(
            "/etc/forebay/conf.d/b.toml",
            "[store]\nmax_age = \"1d\"\nmax_size = \"1GiB\"",
        )
        .file("/etc/forebay/conf.d/a.toml", "[store]\nmax_size = \"3GiB\"")
        .file("/etc/forebay/conf.d/.c.toml", "x")
        .file("/etc/forebay/conf.d/d.toml.dpkg-new", "x")
        .file("/etc/forebay/conf.d/e.dpkg-old.toml", "x")
        .file("/etc/forebay/conf.d/README", "x");
    assert_eq!(
        errors(&host),
        ["/etc/forebay/conf.d/b.toml:3:1: `max_size` is given twice"]
    );
    let apart = site()
        .file("/etc/forebay/conf.d/b.toml", "[store]\nmax_age = \"1d\"")
        .file("/etc/forebay/conf.d/a.toml", "[store]\nmax_size = \"3GiB\"");
    assert_eq!(good(&apart).store.max_size, 3 << 30);
}

#[test]
fn files_that_are_no_configuration_are_named() {
    assert_eq!(
        errors(&InMemory::default()),
        ["/etc/forebay/forebay.toml: the file cannot be read: there is no such file"]
    );
    let large = InMemory::default().file(MAIN, vec![b'#'; (4 << 20) + 1]);
    assert_eq!(
        errors(&large),
        ["/etc/forebay/forebay.toml: the file is larger than 4 MiB"]
    );
    let exact = InMemory::default().file(MAIN, vec![b'#'; 4 << 20]);
    assert!(load(&exact).is_ok());
    let binary = InMemory::default().file(MAIN, b"# x\n\xff\xfe".as_slice());
    assert_eq!(
        errors(&binary),
        ["/etc/forebay/forebay.toml:2:1: this is not UTF-8"]
    );
}

#[test]
fn periods_come_from_the_device_or_else_from_its_map() {
    let seconds = |text: &str| {
        let host = site().file(MAIN, text);
        let device = good(&host).lines.remove(0).devices.remove(0);
        let periods = device.scans.iter();
        periods
            .map(|(class, period)| format!("{class} {:?}", period.map(|p| p.as_secs())))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        seconds(SITE),
        ["default Some(1)", "once None", "slow Some(60)"]
    );
    let own = format!("{SITE}scans = {{ slow = \"2min\" }}");
    assert_eq!(
        seconds(&own),
        ["default Some(1)", "once None", "slow Some(120)"]
    );
    let none = site().file(MAIN, SITE.replace("every = \"1s\"", ""));
    assert_eq!(
        errors(&none),
        [
            "/etc/forebay/forebay.toml:5:9: device `meter` has no period for the scan class `default`"
        ]
    );
}

#[test]
fn a_device_adds_replaces_and_removes_points_and_its_hash_tells() {
    let hash = |host: &InMemory| {
        let device = good(host).lines.remove(0).devices.remove(0);
        (device.description.map, device)
    };
    let (plain, device) = hash(&site());
    assert_eq!(
        plain.to_string(),
        "3b7aa5f1",
        "a definition that did not change is described anew"
    );
    assert_eq!(device.map.points.len(), 3);
    let changed = format!(
        "{SITE}[device.meter.points]\na = {{ input = 0, type = \"u32\" }}\nb = false\nd = {{ coil = 0 }}"
    );
    let (other, device) = hash(&site().file(MAIN, changed));
    assert_ne!(plain, other);
    let points: Vec<_> = device
        .map
        .points
        .iter()
        .map(|p| (p.name.as_str(), p.raw.clone()))
        .collect();
    assert_eq!(
        points,
        [
            ("a", RawType::U32),
            ("c", RawType::F32),
            ("d", RawType::Bool)
        ]
    );
    // How it is read in time, and how it is labelled, is no part of the definition.
    let slower =
        SITE.replace("\"1s\"", "\"5s\"") + "labels = { area = \"press\" }\nlimits = { gap = 0 }";
    assert_eq!(hash(&site().file(MAIN, slower)).0, plain);
}

#[test]
fn the_first_folder_wins_and_a_path_is_from_the_file_that_names_it() {
    let twice = site().file(
        "/etc/forebay/maps/meter.toml",
        "[points]\nown = { coil = 1 }",
    );
    let config = good(&twice);
    assert_eq!(config.lines[0].devices[0].map.points.len(), 1);
    let note = &config.remarks[0];
    assert_eq!(note.severity, Severity::Note);
    assert!(
        note.reason
            .contains("shadows /usr/share/forebay/maps/meter.toml"),
        "{}",
        note.reason
    );
    let path = site()
        .file(MAIN, SITE.replace("\"meter\"", "\"here/m.toml\""))
        .file("/etc/forebay/here/m.toml", "[points]\nown = { coil = 1 }");
    assert_eq!(
        good(&path).lines[0].devices[0].map.points[0].name.as_str(),
        "own"
    );
}

#[test]
fn secrets_and_files_are_where_they_are_said_to_be() {
    let upstream = |password: &str| {
        let text = format!(
            "[upstream.a]\nkind = \"mqtt\"\nurl = \"mqtts://h\"\nusername = \"u\"\npassword = {password}\ntls = {{ ca = \"ca.pem\" }}"
        );
        site()
            .file("/etc/forebay/conf.d/a.toml", text)
            .file("/etc/forebay/conf.d/ca.pem", "pem")
    };
    let mqtt = |host: &InMemory| match good(host).upstreams.remove(0).upstream {
        UpstreamSettings::Mqtt(mqtt) => mqtt,
        UpstreamSettings::Amqp(_) => panic!(),
    };
    let plain = mqtt(&upstream("\"secret\""));
    let tls = plain.endpoints[0].tls.clone().unwrap();
    assert_eq!(
        tls.ca.as_deref(),
        Some(Path::new("/etc/forebay/conf.d/ca.pem"))
    );
    assert_eq!(plain.client_id, "gateway-a");
    assert_eq!(plain.endpoints[0].port, 8883);
    let file = mqtt(&upstream("{ file = \"pw\" }")).login.unwrap().password;
    assert_eq!(file, Some(Secret::File("/etc/forebay/conf.d/pw".into())));
    let credential = upstream("{ credential = \"mes\" }");
    assert!(load(&credential).is_ok());
    let inside = credential.set("CREDENTIALS_DIRECTORY", "/run/credentials/forebay");
    assert_eq!(
        errors(&inside),
        ["/etc/forebay/conf.d/a.toml:5:12: the service has no credential \"mes\""]
    );
    assert!(load(&inside.file("/run/credentials/forebay/mes", "x")).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("FOREBAY_LONG").is_some() { 20_000 } else { 300 }))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let host = InMemory::default().file(MAIN, bytes.clone());
        let _ = load(&host);
        let _ = config::map_from_text("m.toml", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_configuration_never_panics(at in 0_usize..2_000, cut in 0_usize..30, text in "[\\PC\n]{0,12}") {
        for (whole, is_map) in [
            (include_str!("../../../config/forebay.toml"), false),
            (include_str!("../../../config/maps/demo-press.toml"), true),
        ] {
            let start = whole.floor_char_boundary(at * whole.len() / 2_000);
            let end = whole.floor_char_boundary((start + cut).min(whole.len()));
            let damaged = format!("{}{text}{}", &whole[..start], &whole[end.max(start)..]);
            let problems = if is_map {
                config::map_from_text("m.toml", &damaged).err()
            } else {
                load(&site().file(MAIN, damaged)).err()
            };
            if let Some(report) = problems {
                prop_assert!(report.count(Severity::Error) > 0);
                prop_assert!(!report.to_string().is_empty());
            }
        }
    }
}

fn amqp(lines: &str) -> InMemory {
    let upstream = format!(
        "[upstream.mes]\nkind = \"amqp\"\nurl = \"amqp://127.0.0.1\"\nexchange = \"telemetry\"\n{lines}"
    );
    site().file("/etc/forebay/conf.d/mes.toml", upstream)
}

#[test]
fn a_queue_is_declared_with_its_limits_and_only_those_that_fit_it() {
    let stream =
        "{ queue = \"log\", queue_type = \"stream\", max_size = \"10GiB\", max_age = \"7d\" }";
    let config = good(&amqp(&format!("declare = {stream}")));
    let UpstreamSettings::Amqp(settings) = &config.upstreams[0].upstream else {
        panic!("{config:?}");
    };
    let limits = settings.declare.queue.as_ref().unwrap().limits;
    assert_eq!(limits.max_size, Some(10 << 30));
    assert_eq!(limits.max_age, Some(Duration::from_secs(7 * 86_400)));
    for (declare, reason) in [
        ("queue = \"q\", max_age = \"7d\"", "only a stream lets go"),
        ("queue = \"q\", max_size = \"1kB\"", "must be at least"),
        (
            "exchange = \"topic\", max_size = \"1GiB\"",
            "belongs to a queue",
        ),
        (
            "passive = true, queue = \"q\", max_size = \"1GiB\"",
            "cannot be looked at",
        ),
    ] {
        let errors = errors(&amqp(&format!("declare = {{ {declare} }}")));
        assert!(
            errors.len() == 1 && errors[0].contains(reason),
            "{errors:?}"
        );
    }
}

#[test]
fn a_certificate_as_the_user_needs_tls() {
    let errors = errors(&amqp(
        "auth = \"external\"\ntls = { cert = \"a.pem\", key = \"a.pem\" }",
    ));
    assert!(
        errors.len() == 1 && errors[0].contains("external\" needs TLS"),
        "{errors:?}"
    );
}

/// What each problem of a good configuration says.
fn remarks(path: &Path) -> Vec<String> {
    let config = config::load(path).unwrap_or_else(|report| panic!("{report}"));
    config.remarks.into_iter().map(|p| p.reason).collect()
}

#[test]
fn the_load_of_a_line_is_reckoned_with_what_its_devices_have_taught() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("forebay.toml");
    let places = format!("state_dir = {0:?}\nmaps = [{0:?}]", folder.path());
    let second = "[device.second]\nline = \"plc\"\nunit = 2\nmap = \"meter\"\nevery = \"1s\"";
    let upstream = "[upstream.mes]\nkind = \"mqtt\"\nurl = \"mqtt://mes\"";
    let text = format!("[gateway]\n{places}\n{SITE}{second}\n{upstream}\n");
    std::fs::write(&main, text).unwrap();
    std::fs::write(folder.path().join("meter.toml"), METER).unwrap();
    assert_eq!(remarks(&main), Vec::<String>::new());
    let config = config::load(&main).unwrap();
    let taught = Known {
        answer_time: Some(Duration::from_millis(1_200)),
        ..Known::default()
    };
    for (nth, device) in config.lines[0].devices.iter().enumerate() {
        let file = LearnedFile::new(&config.gateway.learned(), device);
        file.save(&taught).unwrap();
        let basis = [
            "with the measured answer times of 1 of 2 devices, and 1ms a request of the others",
            "with the measured answer times",
        ][nth];
        let said = remarks(&main);
        assert!(
            said.len() == 1 && said[0].contains(&format!("{basis}; slowest classes: ")),
            "{said:?}"
        );
    }
    // Damage costs no more than what it said.
    for device in &config.lines[0].devices {
        let file = LearnedFile::new(&config.gateway.learned(), device);
        std::fs::write(file.path(), "{").unwrap();
    }
    assert_eq!(remarks(&main), Vec::<String>::new());
}
