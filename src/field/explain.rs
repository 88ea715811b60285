//! Why something could not be read, in words, with the causes that an engineer finds most often; pure.

use super::error::FieldError;
use super::settings::Transport;

/// What happened, and what to look at first, most likely first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What happened.
    pub what: String,
    /// What to look at.
    pub causes: &'static [&'static str],
}

/// Explains `error` of a request over `transport`.
pub fn explain(error: &FieldError, transport: &Transport) -> Explanation {
    let tcp = matches!(transport, Transport::ModbusTcp { .. });
    let (what, causes): (String, &[&str]) = match error {
        FieldError::Timeout if tcp => (
            "no answer: the connection is there, but nothing came back in time".to_owned(),
            &[
                "the unit id is wrong: many devices answer only to their own; try 1, 255 and 0",
                "a gateway waits for a device on its serial side that is off or wired wrong",
                "the device needs longer: raise the timeout",
                "the device serves one connection only, and another master has it",
            ],
        ),
        FieldError::Timeout => (
            "no answer: the request went out, but nothing came back in time".to_owned(),
            &[
                "the unit id, the baud rate or the parity is not that of the device",
                "the two wires of the bus are exchanged (A and B, D0 and D1: makers disagree on the names)",
                "the device is off, or not on this bus",
                "the device needs longer: raise the timeout",
            ],
        ),
        FieldError::Garbled if tcp => (
            "no valid answer: something came back that is not Modbus TCP, or does not fit the request".to_owned(),
            &[
                "the other side speaks RTU frames over TCP: use modbus-rtu-over-tcp",
                "it is no Modbus device at all: look at host and port",
                "a gateway answers with transaction ids of its own: lenient_transaction_id = true",
            ],
        ),
        FieldError::Garbled => (
            "no valid answer: something came back, but with a wrong checksum, length or sender".to_owned(),
            &[
                "the baud rate or the parity is not that of the device",
                "two devices have the same unit id and answer at once",
                "the bus has no termination, no bias, or too long stubs",
                "another master is on the bus, or the converter speaks Modbus TCP",
            ],
        ),
        FieldError::Short => (
            "a short answer: the device gave less than was asked for".to_owned(),
            &["more registers than the device gives at once: read fewer (registers_per_read)"],
        ),
        FieldError::Exception(code) => exception(*code),
        FieldError::NoConnection(cause) => (format!("no connection: {cause}"), connection(cause, transport)),
    };
    Explanation { what, causes }
}

/// The exception codes of MODBUS Application Protocol V1.1b3, 7.
fn exception(code: u8) -> (String, &'static [&'static str]) {
    let (name, causes): (_, &[_]) = match code {
        1 => (
            "illegal function",
            &["the device has no such table: try input instead of holding, or the other way round"],
        ),
        2 => (
            "illegal data address",
            &[
                "the device has nothing at one of these addresses: read fewer, or others",
                "the manual counts from 1, or prints 4xxxx numbers: the number on the wire is then one less",
                "the values are in the other table: try input instead of holding",
            ],
        ),
        3 => (
            "illegal data value",
            &[
                "more registers than the device gives at once: read fewer (registers_per_read)",
                "a value of several registers is cut in two",
            ],
        ),
        4 => (
            "device failure",
            &["the device could not do it: look at the device itself"],
        ),
        5 => ("acknowledge", &["the device works on it: ask again later"]),
        6 => (
            "device busy",
            &["the device is at something else: ask less often"],
        ),
        8 => (
            "memory parity error",
            &["the memory of the device is damaged"],
        ),
        10 => (
            "gateway path unavailable",
            &["the gateway has no way to this unit id: look at its table of devices"],
        ),
        11 => (
            "gateway target failed to respond",
            &[
                "the device behind the gateway does not answer: its unit id, its baud rate, its wires",
                "the timeout of the gateway is shorter than the device needs",
            ],
        ),
        _ => (
            "a code that the standard does not know",
            &["look it up in the manual of the device"],
        ),
    };
    (format!("exception {code}: {name}"), causes)
}

fn connection(cause: &str, transport: &Transport) -> &'static [&'static str] {
    let has = |part: &str| cause.to_lowercase().contains(part);
    if matches!(transport, Transport::ModbusRtu(_)) {
        return if has("permission") {
            &["this user may not open the port: add it to the group of the device file (dialout)"]
        } else if has("busy") {
            &["another program has the port open: a running forebay, or a modem daemon"]
        } else {
            &["the adapter is not plugged in, or has another name: look into /dev/serial/by-id"]
        };
    }
    if has("refused") {
        &[
            "nothing listens on this port: Modbus TCP is 502 on most devices; it may have to be switched on",
            "the device serves one connection only, and another master has it",
        ]
    } else if has("in time") || has("timed out") || has("unreachable") || has("no route") {
        &["the address is wrong, the device is off, or a firewall or another network lies between"]
    } else if has("lookup") || has("resolve") || has("not known") {
        &["the name is not known to the resolver: write the IP address"]
    } else {
        &["the device closed the connection: some take only one, some only known addresses"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> Transport {
        Transport::ModbusTcp {
            host: "10.0.0.1".into(),
            port: 502,
        }
    }

    #[test]
    fn every_error_has_words_and_a_cause() {
        let errors = (1..=255_u8).map(FieldError::Exception).chain([
            FieldError::Timeout,
            FieldError::Garbled,
            FieldError::Short,
            FieldError::NoConnection("Connection refused (os error 111)".into()),
            FieldError::NoConnection("no connection in time".into()),
            FieldError::NoConnection("failed to lookup address information".into()),
            FieldError::NoConnection("Broken pipe".into()),
        ]);
        for error in errors {
            let explained = explain(&error, &tcp());
            assert!(
                !explained.what.is_empty() && !explained.causes.is_empty(),
                "{error}"
            );
        }
    }

    #[test]
    fn the_causes_are_those_of_the_transport() {
        let first = |error: &FieldError| explain(error, &tcp()).causes[0];
        assert!(first(&FieldError::Garbled).contains("RTU frames over TCP"));
        assert!(first(&FieldError::Exception(2)).contains("addresses"));
        let refused = FieldError::NoConnection("Connection refused (os error 111)".into());
        assert!(first(&refused).contains("502"));
    }
}
