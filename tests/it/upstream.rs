//! Each kind of upstream against its real broker, beyond what the shared contract asks.

pub(crate) mod amqp;
mod amqp_faults;
mod amqp_identity;
mod amqp_topology;
mod mqtt;
