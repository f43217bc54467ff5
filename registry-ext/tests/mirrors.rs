//! All tests of the mirror, in one program: each program compiles the library's futures again, which takes
//! most of a minute.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod mirror;
mod mirror_client_faults;
mod mirror_clients;
mod mirror_faults;
mod mirror_log;
mod mirror_login_clients;
mod mirror_page;
mod mirror_prefetch;
mod mirror_readers;
mod mirror_rewrite;
mod support;
