//! Modbus Application Protocol V1.1b3: maps, block reads, decoding, the link.

pub mod client;
pub mod cost;
pub mod decode;
pub mod frame;
pub mod identity;
pub mod known;
mod ledger;
mod link;
pub mod map;
mod pause;
mod pipe;
pub mod plan;
pub mod search;
pub mod survey;
pub mod wire;
