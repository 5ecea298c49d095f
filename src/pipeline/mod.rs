//! The order of things.

pub mod embedded;
pub mod responses;
