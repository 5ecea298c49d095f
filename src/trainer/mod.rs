//! trainer

pub mod diagnose;
pub mod schedule;
