//! The tests that call the library, against registries in the test's own process, in one program (see `mirrors.rs`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chains;
mod delta_index_room;
mod foreign;
mod hostile_publisher;
mod hostile_registry;
mod in_process;
mod indexes;
mod logins;
mod merged;
mod oci_delta_users;
mod planted;
mod proxies;
mod publish_order;
mod rate;
mod registries;
mod signature;
mod support;
mod tangled;
mod unreadable_layers;
