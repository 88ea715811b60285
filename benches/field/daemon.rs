//! The daemon itself: how soon it reads after its start, and what it takes while there is little to do.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Devices of an idle site, a line each.
const DEVICES: u16 = 10;
/// And how often they are read.
const EVERY: Duration = Duration::from_secs(10);
/// Each has so many values of two registers.
const VALUES: u16 = 20;

/// A running daemon; it is killed when this is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Devices that answer, how often they did, and a word at the first answer.
struct Site {
    folder: tempfile::TempDir,
    answers: Arc<AtomicU64>,
    first: Receiver<Instant>,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let answers = Arc::new(AtomicU64::new(0));
        let (tell, first) = channel();
        let mut text = format!("[gateway]\nstate_dir = {:?}\n", folder.path().join("state"));
        for device in 0..DEVICES {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let (answers, tell) = (Arc::clone(&answers), tell.clone());
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true).unwrap();
                    answer(stream, || {
                        if answers.fetch_add(1, Ordering::Relaxed) == 0 {
                            let _ = tell.send(Instant::now());
                        }
                    });
                }
            });
            text.push_str(&format!(
                "[line.l{device}]\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\n\
                 [device.d{device}]\nline = \"l{device}\"\nevery = \"{}s\"\n[device.d{device}.points]\n",
                EVERY.as_secs()
            ));
            for value in 0..VALUES {
                let at = value * 2;
                text.push_str(&format!(
                    "v{value} = {{ holding = {at}, type = \"f32\" }}\n"
                ));
            }
        }
        fs::write(folder.path().join("forebay.toml"), text).unwrap();
        Self {
            folder,
            answers,
            first,
        }
    }

    fn start(&self) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command
            .arg("run")
            .arg("-c")
            .arg(self.folder.path().join("forebay.toml"));
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        Daemon(quiet.spawn().unwrap())
    }
}

fn answer(mut stream: std::net::TcpStream, answered: impl Fn()) {
    let mut request = [0; 12];
    while stream.read_exact(&mut request).is_ok() {
        let data = usize::from(request[11]) * 2;
        let mut answer = request[..4].to_vec();
        answer.extend(u16::try_from(data + 3).unwrap().to_be_bytes());
        answer.extend([request[6], request[7], u8::try_from(data).unwrap()]);
        answer.extend([0x43, 0x66, 0x19, 0x9A].iter().cycle().take(data));
        if stream.write_all(&answer).is_err() {
            return;
        }
        answered();
    }
}

/// From the start of the process to the first answer of a device, in milliseconds, with an empty store.
pub(crate) fn first_reading() -> f64 {
    let site = Site::new();
    let began = Instant::now();
    let _daemon = site.start();
    let first = site.first.recv_timeout(Duration::from_secs(30)).unwrap();
    (first - began).as_secs_f64() * 1e3
}

/// What the daemon takes while ten devices are read every 10 s: the share of a core in percent, its wake-ups a second,
/// and how many requests a second there were.
pub(crate) fn idle(time: Duration) -> (f64, f64, f64) {
    let site = Site::new();
    let daemon = site.start();
    site.first.recv_timeout(Duration::from_secs(30)).unwrap();
    // What belongs to the start is over.
    std::thread::sleep(Duration::from_secs(3));
    let (before, answers) = (
        Used::of(daemon.0.id()),
        site.answers.load(Ordering::Relaxed),
    );
    let began = Instant::now();
    std::thread::sleep(time);
    let seconds = began.elapsed().as_secs_f64();
    let after = Used::of(daemon.0.id());
    let answers = site.answers.load(Ordering::Relaxed) - answers;
    (
        (after.cpu - before.cpu).as_secs_f64() / seconds * 100.0,
        after.woken_since(&before) as f64 / seconds,
        answers as f64 / seconds,
    )
}

/// What a process has used so far.
struct Used {
    cpu: Duration,
    /// How often each of its threads was woken; one that has ended is not among them.
    woken: BTreeMap<String, u64>,
}

impl Used {
    fn of(pid: u32) -> Self {
        let folder = Path::new("/proc").join(pid.to_string());
        let stat = fs::read_to_string(folder.join("stat")).unwrap();
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let mut woken = BTreeMap::new();
        for task in fs::read_dir(folder.join("task")).unwrap().flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let mut lines = status.lines();
            let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            if let Some(count) = count.and_then(|count| count.trim().parse().ok()) {
                woken.insert(task.file_name().to_string_lossy().into_owned(), count);
            }
        }
        Self {
            // The kernel counts in clock ticks of 10 ms.
            cpu: Duration::from_millis(ticks * 10),
            woken,
        }
    }

    fn woken_since(&self, before: &Self) -> u64 {
        let all = self.woken.iter();
        all.map(|(task, count)| count - before.woken.get(task).unwrap_or(&0))
            .sum()
    }
}
