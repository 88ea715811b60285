//! Simulated devices and a loopback MQTT broker, for `simulate`, the demo and tests.

pub mod broker;
pub mod device;
pub mod generator;
pub mod plant;
