//! A serial port that is none: a pseudo terminal with the devices at its other end.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use tokio_serial::{SerialPort, SerialStream};

use super::{SimulatedDevice, serve_rtu};

/// A pseudo terminal; it is gone when this is dropped.
#[derive(Debug)]
pub struct PseudoTerminal {
    ours: SerialStream,
    path: PathBuf,
}

/// How often it is looked whether somebody has opened the port: nothing announces it.
const LOOK: Duration = Duration::from_millis(20);

impl PseudoTerminal {
    /// Opens a new one.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn open() -> io::Result<Self> {
        // The other side is closed at once: as long as it was open, a program that had the port for itself would keep
        // the next one out.
        let (ours, theirs) = SerialStream::pair()?;
        let path = theirs.name().map(PathBuf::from);
        let path = path.ok_or_else(|| io::Error::other("the pseudo terminal has no name"))?;
        Ok(Self { ours, path })
    }

    /// The device file for the other side.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves `devices` over Modbus RTU until dropped, to one program after the other.
    ///
    /// # Errors
    /// When the terminal breaks.
    pub async fn serve(mut self, devices: Vec<SimulatedDevice>) -> io::Result<()> {
        let nobody = Some(Errno::IO.raw_os_error());
        loop {
            match serve_rtu(&mut self.ours, devices.clone()).await {
                Err(error) if error.raw_os_error() != nobody => return Err(error),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }
}
