//! What the outside sees of a running gateway: systemd notifications.

pub mod systemd;
