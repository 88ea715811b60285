//! The commands that look at the field, run as a user runs them; what they print is compared word for word.
//!
//! With `FOREBAY_BLESS=1` in the environment the expected texts are written anew.

mod plan;
mod read;
mod simulate;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use forebay::simulator::device::{SimulatedDevice, serve_tcp};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Runs the command to its end.
fn forebay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(arguments)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    assert!(
        output.status.code() == Some(0) && output.stderr.is_empty(),
        "{output:?}"
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Compares what was printed with `tests/it/cases/tools/NAME`; what differs from run to run is named by `variables`.
fn compare(name: &str, printed: &str, variables: &[(&str, &str)]) {
    let mut printed = printed.to_owned();
    for (text, stands_for) in variables {
        printed = printed.replace(text, stands_for);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/tools");
    let path = folder.join(name);
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == printed,
        "{} differs; now it is:\n{printed}\n(FOREBAY_BLESS=1 accepts it)",
        path.display()
    );
}

/// Serves `devices` on a free port.
async fn serve(devices: Vec<SimulatedDevice>) -> (u16, JoinSet<std::io::Result<()>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(serve_tcp(listener, devices));
    (port, server)
}
