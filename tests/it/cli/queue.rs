//! `forebay queue`: what it shows, what it writes, and that looking changes nothing.

mod export;
mod look;
mod plant;
mod trouble;
