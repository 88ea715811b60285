//! Simulated devices and a loopback MQTT broker, for the demo and for tests.

pub mod broker;
pub mod device;
pub mod plant;
