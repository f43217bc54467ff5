//! The tests that run the command, in one program (see `mirrors.rs`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod clients;
mod docker_registry;
mod exact;
mod fleet;
mod json;
mod object_stores;
mod packaging;
mod plan;
mod prepull;
mod recipes;
mod storage_writers;
mod support;
mod tardf3;
mod terminal;
mod tree;
