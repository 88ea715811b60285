//! A serial adapter that is pulled and plugged in again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay::field::modbus::map::DeviceMap;
use forebay::reading::{EventName, Quality};
use forebay::simulator::device::{SimulatedDevice, serve_rtu};
use tokio::task::JoinHandle;
use tokio_serial::{SerialPort, SerialStream};

use super::rig::*;

const EVERY: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_millis(500);

/// An adapter: a pseudo terminal with a device behind it, under the name that stays.
struct Adapter {
    terminal: PathBuf,
    bus: JoinHandle<()>,
    name: PathBuf,
}

impl Adapter {
    fn plug_in(name: &Path, device: &SimulatedDevice) -> Self {
        let (mut bus, terminal) = SerialStream::pair().unwrap();
        let path = PathBuf::from(terminal.name().unwrap());
        drop(terminal);
        symlink(&path, name).unwrap();
        let devices = vec![device.clone()];
        let bus = tokio::spawn(async move {
            loop {
                // While nobody has the other end open, there is nothing to read from.
                let _ = serve_rtu(&mut bus, devices.clone()).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self {
            terminal: path,
            bus,
            name: name.to_owned(),
        }
    }

    async fn pull(self) -> PathBuf {
        fs::remove_file(&self.name).unwrap();
        self.bus.abort();
        let _ = self.bus.await;
        self.terminal
    }
}

/// How many open files of this process are `path`.
fn open_files(path: &Path) -> usize {
    let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.filter(|target| target == path).count()
}

#[tokio::test]
async fn an_adapter_that_is_pulled_and_plugged_in_is_found_again_and_its_file_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("usb-adapter-port0");
    let simulated = device(1, 10);
    let map = DeviceMap {
        points: (0..10).map(point).collect(),
        ..DeviceMap::default()
    };
    let mut adapter = Adapter::plug_in(&port, &simulated);
    let devices = vec![device_settings(1, map, EVERY)];
    let line = run(line(rtu(&port), TIMEOUT, devices));
    let rounds = share(100, 5);
    for round in 0..rounds {
        line.outbox.wait_for("d1", Quality::Good).await;
        assert_eq!(open_files(&adapter.terminal), 1, "round {round}");
        let gone = adapter.pull().await;
        line.outbox.wait_for("d1", Quality::NoConnection).await;
        assert_eq!(open_files(&gone), 0, "closed before it is looked for again");
        adapter = Adapter::plug_in(&port, &simulated);
    }
    line.outbox.wait_for("d1", Quality::Good).await;
    let events = line.outbox.events();
    let count = |name| events.iter().filter(|&&event| event == name).count() as u64;
    assert_eq!(count(EventName::LineDown), rounds);
    assert_eq!(count(EventName::LineUp), rounds);
    assert_no_wrong_value(&line.outbox, [1]);
}
