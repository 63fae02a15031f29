//! A headless browser, if there is one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The browser that `CHIFFRE_BROWSER` names, or a Chromium on the path.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHIFFRE_BROWSER") {
        return Some(PathBuf::from(named));
    }
    let names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).flat_map(|d| names.map(|n| d.join(n))).find(|p| p.is_file())
}

/// A window that a page is opened in.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

/// Opens a page; what the browser prints. `action` is `--dump-dom` or `--screenshot=FILE`.
pub fn open(browser: &Path, page: &Path, window: Window, action: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let printed = folder.path().join("printed");
    let mut child = Command::new(browser)
        // The page is our own, and the sandbox needs rights that containers do not give.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("--window-size={},{}", window.width, window.height))
        .arg(format!("--blink-settings=preferredColorScheme={}", if window.dark { 0 } else { 1 }))
        .arg(action)
        .arg(format!("file://{}", page.display()))
        .stdout(std::fs::File::create(&printed).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", browser.display()));
    let start = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if start.elapsed() > Duration::from_secs(60) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{} does not end with {action}", browser.display());
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success(), "{} {action}: {status}", browser.display());
    std::fs::read_to_string(&printed).unwrap()
}
