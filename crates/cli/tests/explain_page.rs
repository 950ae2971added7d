//! The page of `upshift explain --html` in a browser: it is drawn, its scripts run, and it asks for nothing from elsewhere.
//!
//! Needs Chromium or Chrome, from the path or named by `UPSHIFT_BROWSER`; without one the test says so and passes.

use std::path::{Path, PathBuf};
use std::process::Command;

const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

fn browser() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("UPSHIFT_BROWSER") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    let candidates =
        std::env::split_paths(&path).flat_map(|folder| NAMES.iter().map(move |n| folder.join(n)));
    candidates.into_iter().find(|path| path.is_file())
}

/// The page of a program, with the optimizing compiler waited for.
fn page(folder: &Path) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder");
    let program = folder.join("page.mochi");
    // Text that is markup, in code and in a function's own line.
    let text = "\
fun sum(n: int): int {
  var total = 0
  for i in 0..n { if i < n && i > -1 { total = total + i % 7 } }
  return total
}
let text = \"</table><script>document.documentElement.dataset.error = 'escaped'</script>\"
print(len(text) + sum(20000000))
";
    std::fs::write(&program, text).expect("a program");
    let page = folder.join("page.html");
    let output = Command::new(env!("CARGO_BIN_EXE_upshift"))
        .args(["explain", "--sync", "--html", "--output"])
        .args([&page, &program])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    page
}

#[test]
fn the_page_is_drawn_and_its_scripts_run() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain-page");
    let page = page(&folder);
    let text = std::fs::read_to_string(&page).expect("the page");
    // Names of namespaces are no requests.
    for part in ["src=\"http", "href=\"http", "url(http", "@import", "fetch("] {
        assert!(!text.contains(part), "the page asks for something: {part}");
    }
    let Some(browser) = browser() else {
        eprintln!("skipped: there is no Chromium or Chrome here to draw the page");
        return;
    };
    let output = Command::new(&browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("browser").display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser runs");
    let dom = String::from_utf8_lossy(&output.stdout);
    let root = dom.lines().find(|line| line.starts_with("<html")).unwrap_or_else(|| panic!("{dom}"));
    assert!(root.contains("data-loaded=\"yes\"") && !root.contains("data-error"), "{root}");
    let frames = root.split_once("data-frames=\"").and_then(|(_, rest)| rest.split_once('"'));
    let frames: u32 = frames.and_then(|(n, _)| n.parse().ok()).unwrap_or_default();
    assert!(frames > 0, "the flame graph is empty: {root}");
    for part in
        ["id=\"timeline\"", "loop: optimized since", "&lt;/table&gt;&lt;script&gt;", "class=\"remarks\""]
    {
        assert!(dom.contains(part), "{part} is missing");
    }
}
