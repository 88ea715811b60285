//! What happened that a consumer must know to read the data right.

use std::fmt;
use std::str::FromStr;

use super::{Name, RangeSet};

macro_rules! event_names {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// The closed list of events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventName { $($(#[$doc])* $variant,)* }

        impl EventName {
            /// Every event there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in messages.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

event_names! {
    /// The daemon started: `clean` or not, and the previous stream where a new one began.
    GatewayStarted = "gateway-started",
    /// The daemon stops in order.
    GatewayStopping = "gateway-stopping",
    /// A new configuration was applied.
    ConfigChanged = "config-changed",
    /// A line cannot be opened or broke.
    LineDown = "line-down",
    /// A line works again.
    LineUp = "line-up",
    /// A device does not answer.
    DeviceOffline = "device-offline",
    /// A device answers again.
    DeviceOnline = "device-online",
    /// A device is not the model its map is for.
    DeviceWrong = "device-wrong",
    /// A point cannot be read.
    PointUnreadable = "point-unreadable",
    /// Records were dropped by a bound of the store.
    RecordsDropped = "records-dropped",
    /// A broker refused records for good.
    RecordsRefused = "records-refused",
    /// Records were lost by damage.
    RecordsLost = "records-lost",
    /// Scans fell out of the buffer before the disk took them.
    BufferOverflow = "buffer-overflow",
    /// The disk cannot be written.
    DiskTrouble = "disk-trouble",
    /// The disk can be written again.
    DiskRecovered = "disk-recovered",
    /// The wall clock became trustworthy.
    ClockSynchronised = "clock-synchronised",
    /// The wall clock was set.
    ClockStepped = "clock-stepped",
    /// An upstream is given up until its configuration or permission changes.
    UpstreamStopped = "upstream-stopped",
    /// A line cannot serve its periods.
    Overload = "overload",
    /// A task panicked and was started anew.
    TaskRestarted = "task-restarted",
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .copied()
            .find(|name| name.as_str() == text)
            .ok_or(())
    }
}

/// One fact of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// Yes or no.
    Bool(bool),
    /// A count or number.
    Int(i64),
    /// A reason or name.
    Text(String),
    /// Ranges of sequence numbers, both ends included.
    Ranges(RangeSet),
    /// A time range in nanoseconds since 1970, both ends included.
    Times(i64, i64),
}

/// Something that happened, of a device or (without one) of the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub name: EventName,
    /// The device in whose sequence it stands; `None`: the gateway's own.
    pub device: Option<Name>,
    /// Facts by key, in the order given.
    pub detail: Vec<(String, Detail)>,
}

impl Event {
    /// An event of the gateway itself.
    pub fn gateway(name: EventName) -> Self {
        Self {
            name,
            device: None,
            detail: Vec::new(),
        }
    }

    /// An event in the sequence of `device`.
    pub fn device(name: EventName, device: Name) -> Self {
        Self {
            name,
            device: Some(device),
            detail: Vec::new(),
        }
    }

    /// Adds a fact.
    pub fn with(mut self, key: &str, detail: Detail) -> Self {
        self.detail.push((key.to_owned(), detail));
        self
    }

    /// Adds a fact that is text.
    pub fn text(self, key: &str, text: impl Into<String>) -> Self {
        self.with(key, Detail::Text(text.into()))
    }
}
