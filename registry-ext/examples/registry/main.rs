//! A small registry in memory, with the referrers API: for demos and tests. It prints its address.
//!
//! `cargo run -p registry-ext --features demo --bin demo-registry -- [ADDRESS] [--no-referrers]`

use std::io::Write;

#[path = "server.rs"]
mod server;

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "it prints nothing that comes from outside")]
async fn main() -> std::io::Result<()> {
    let (flags, plain): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let address = plain.first().map_or("127.0.0.1:0", String::as_str);
    let switches = server::Switches {
        referrers: !flags.iter().any(|flag| flag == "--no-referrers"),
        ..Default::default()
    };
    let registry = server::Registry::start(address, switches).await?;
    writeln!(std::io::stdout(), "{}", registry.address())?;
    registry.wait().await
}
