//! Against libmodbus: values equal what it was given, for every type, order and transformation, over all transports.

use super::peers::values_equal_what_the_server_was_given;
use super::rig::*;
use crate::harness::modbus::ModbusServer;
use crate::harness::pty::{Cable, Converter};

#[tokio::test]
#[ignore = "needs pymodbus and libmodbus"]
async fn values_equal_what_libmodbus_was_given_over_tcp() {
    let start = |units: &serde_json::Value| ModbusServer::libmodbus_tcp(0, units);
    values_equal_what_the_server_was_given(tcp(0), start).await;
}

#[tokio::test]
#[ignore = "needs pymodbus, libmodbus and socat"]
async fn values_equal_what_libmodbus_was_given_over_rtu() {
    let cable = Cable::new();
    let there = cable.there();
    let start = |units: &serde_json::Value| ModbusServer::libmodbus_rtu(&there, 115_200, units);
    values_equal_what_the_server_was_given(rtu(&cable.here()), start).await;
}

#[tokio::test]
#[ignore = "needs pymodbus, libmodbus and socat"]
async fn values_equal_what_libmodbus_was_given_over_rtu_in_tcp() {
    let cable = Cable::new();
    let there = cable.there();
    let converter = Converter::before(&cable.here());
    let start = |units: &serde_json::Value| {
        let mut server = ModbusServer::libmodbus_rtu(&there, 115_200, units);
        server.port = converter.port;
        server
    };
    values_equal_what_the_server_was_given(rtu_over_tcp(0), start).await;
}
