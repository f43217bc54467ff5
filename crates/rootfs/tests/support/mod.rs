//! The parts that the tests share: trees, and their listings.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod kinds;
pub(crate) mod listing;
pub(crate) mod unpacked;
