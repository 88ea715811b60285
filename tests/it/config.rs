//! Configuration: what is accepted, and what is said of what is not.

use std::time::Duration;

use forebay::config::{self, Config, InMemory, Report, Severity};
use forebay::field::modbus::map::{Order, RawType, Table};
use forebay::field::settings::Transport;

const MAIN: &str = "/etc/forebay/forebay.toml";

fn load(text: &str, map: &str) -> Result<Config, Report> {
    let host = InMemory::default()
        .file(MAIN, text)
        .file("/etc/forebay/maps/meter.toml", map);
    config::load_from(&host, MAIN.as_ref())
}

const SITE: &str = r#"
[gateway]
id = "hall-2"
state_dir = "/tmp/x"

[store]
max_size = "1GiB"

[line.plc]
protocol = "modbus-tcp"
address = "10.0.2.15"

[device.meter-3]
line = "plc"
map = "meter"
every = "1s"
labels = { area = "press" }

[upstream.cloud]
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
topic = "plant/{gateway}/{label.area}/{device}/{scan}"

[upstream.mes]
kind = "amqp"
url = "amqp://127.0.0.1/plant"
exchange = "telemetry"
"#;

const METER: &str = r#"
title = "A meter"
[defaults]
order = "CDAB"
[scans]
slow = "1min"
[points]
voltage = { input = 0, type = "f32", unit = "V" }
energy = { input = 72, type = "u64", scan = "slow", kind = "counter" }
a_sf = { holding = 40076, type = "i16", send = false }
current = { holding = 40072, type = "u16", scale = { power10 = "a_sf" }, unit = "A" }
relay = { coil = 0 }
"#;

#[test]
fn a_site_is_read() {
    let config = load(SITE, METER).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(config.gateway.id, "hall-2");
    assert_eq!(config.store.max_size, 1 << 30);
    let line = &config.lines[0];
    assert_eq!(
        line.transport,
        Transport::ModbusTcp {
            host: "10.0.2.15".to_owned(),
            port: 502
        }
    );
    let device = &line.devices[0];
    assert_eq!(device.unit, 1);
    let default = device.scans.get("default").unwrap();
    assert_eq!(*default, Some(Duration::from_secs(1)));
    let slow = device.scans.get("slow").unwrap();
    assert_eq!(*slow, Some(Duration::from_secs(60)));
    let voltage = &device.map.points[0];
    assert_eq!(voltage.table, Table::InputRegister);
    assert_eq!(voltage.raw, RawType::F32);
    let words = Order {
        words_reversed: true,
        bytes_swapped: false,
    };
    assert_eq!(voltage.order, words);
    assert_eq!(device.description.points.len(), 4);
    assert_eq!(config.upstreams.len(), 2);
    assert!(
        config
            .remarks
            .iter()
            .all(|problem| problem.severity != Severity::Error)
    );
}

mod golden;
mod identity;
mod model;
mod shipped;
mod site;
