//! A page in a real browser, with a probe in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Collects the boxes of all text and what went wrong, and leaves them in the page.
const PROBE: &str = include_str!("probe.js");
/// Widths of a phone and of a desk.
pub(crate) const WIDTHS: [u32; 2] = [400, 1400];

/// Returns true if there is to be no browser.
pub(crate) fn is_left_out() -> bool {
    let is_left_out = std::env::var_os("BENCHES_SKIP_BROWSER").is_some();
    if is_left_out {
        eprintln!("skipped: BENCHES_SKIP_BROWSER is set");
    }
    is_left_out
}

/// Returns the text that the probe wrote, and the log of the browser. The page lies in a frame, since a
/// window may not be as narrow as a phone.
pub(crate) fn open_in_browser(page: &str, width: u32, dir: &Path) -> (Value, String) {
    let probed = page.replace("<style>", &format!("<script>{PROBE}</script><style>"));
    assert_ne!(probed, page);
    let in_attribute = probed.replace('&', "&amp;").replace('"', "&quot;");
    let frame = format!(
        "<!doctype html><body style=\"margin:0\"><iframe style=\"border:0\" width=\"{width}\" height=\"6000\" \
         srcdoc=\"{in_attribute}\"></iframe><script>onmessage = event => {{ \
         document.documentElement.dataset.seen = event.data }}</script>"
    );
    let file = dir.join("page.html");
    fs::write(&file, frame).unwrap();
    let browse = |what: &str| {
        let output = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--enable-logging=stderr", "--virtual-time-budget=5000", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", dir.join("profile").display()))
            .arg(format!("--window-size={},6000", width.max(500)))
            .arg(what)
            .arg(format!("file://{}", file.display()))
            .output()
            .expect("chromium is installed (.ci/install does it), or BENCHES_SKIP_BROWSER is set");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        (String::from_utf8(output.stdout).unwrap(), log)
    };
    browse(&format!("--screenshot={}", dir.join(format!("{width}.png")).display()));
    let (dom, log) = browse("--dump-dom");
    let (_, after) = dom.split_once("data-seen=\"").expect("the probe ran");
    let seen = after.split('"').next().unwrap().replace("&quot;", "\"").replace("&amp;", "&");
    (serde_json::from_str(&seen).unwrap(), log)
}

/// A picture of one colour would be a few kilobytes.
pub(crate) fn assert_is_picture(path: &Path) {
    let bytes = fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 40_000, "{} bytes", bytes.len());
}
