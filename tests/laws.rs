//! The laws that duel holds, in one binary: every extra integration binary links all of Burn again.

#[path = "laws/house.rs"]
mod house;
#[path = "laws/oracle.rs"]
mod oracle;
