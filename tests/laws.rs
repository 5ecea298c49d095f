//! The laws that duel holds, in one binary: every extra integration binary links all of Burn again.

// A law whose model or file cannot be made has failed, in helpers as in tests.
#![allow(clippy::unwrap_used)]

#[path = "laws/architectures.rs"]
mod architectures;
#[path = "laws/armorm.rs"]
mod armorm;
#[path = "laws/cli.rs"]
mod cli;
#[path = "laws/devices.rs"]
mod devices;
#[path = "laws/docs.rs"]
mod docs;
#[path = "laws/fitting.rs"]
mod fitting;
#[path = "laws/generation.rs"]
mod generation;
#[path = "laws/house.rs"]
mod house;
#[path = "laws/interchange.rs"]
mod interchange;
#[path = "laws/kernels.rs"]
mod kernels;
#[path = "laws/learning.rs"]
mod learning;
#[path = "laws/narrow.rs"]
mod narrow;
#[path = "laws/oracle.rs"]
mod oracle;
#[path = "laws/reward_checkpoints.rs"]
mod reward_checkpoints;
#[path = "laws/tiny.rs"]
mod tiny;
#[path = "laws/tiny_files.rs"]
mod tiny_files;
#[path = "laws/training.rs"]
mod training;
#[path = "laws/trie.rs"]
mod trie;
