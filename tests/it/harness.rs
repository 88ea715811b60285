//! Real peers for the tests: brokers, Modbus servers, pseudo terminals, a proxy that misbehaves.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test takes what it needs of a peer; a peer offers what a broker or device can do"
)]

pub mod certs;
pub mod collected;
pub mod gateway;
pub mod ledger;
pub mod modbus;
pub mod mosquitto;
pub mod process;
pub mod proxy;
pub mod pty;
pub mod rabbitmq;
pub mod scripted;
pub mod subscriber;
pub mod tamper;
pub mod verifier;

/// The full count of a heavy suite, or the share that every change pays for.
pub fn share(long: u64, short: u64) -> u64 {
    if std::env::var_os("FOREBAY_LONG").is_some() {
        long
    } else {
        short
    }
}
