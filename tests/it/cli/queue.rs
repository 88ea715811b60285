//! `forebay queue`: what it shows, what it writes, and that looking changes nothing.

mod check;
mod export;
mod forget;
mod look;
mod plant;
mod purge;
mod trouble;
