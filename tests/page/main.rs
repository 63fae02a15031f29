//! The page of `inspect --html`: its structure as text, and as a browser lays it out and paints it.
//!
//! The second needs a Chromium: on the path, or named by `CHIFFRE_BROWSER`. Without one, its test
//! is recorded as skipped. `KEEP_PAGES=FOLDER` keeps the pages, and their screenshots, for looking
//! at.

mod browser;
#[path = "../../passes/tests/common/mod.rs"]
mod common;

use browser::Window;
use chiffre::overview::Overview;
use chiffre::pipeline::{Request, compile, compile_graph};
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::{Certificate, TensorOp};
use chiffre_passes::options::{CompileOptions, PackingWish};
use common::{residual_net, with_series};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn page(program: Result<chiffre::pipeline::Compiled, chiffre::Error>) -> String {
    let program = program.unwrap();
    chiffre::page::html(&Overview::of(&ProgramFile::in_memory(program.program, program.stages).unwrap()))
}

fn options(batch: usize) -> CompileOptions {
    CompileOptions { batch, log_n: Some(11), allow_insecure: true, ..CompileOptions::default() }
}

fn request(options: CompileOptions) -> Request {
    Request { options, ..Request::default() }
}

/// A program without bootstraps.
fn plain() -> String {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny_cnn.onnx");
    page(compile(&chiffre_frontend::load(&model).unwrap(), &request(options(8))))
}

/// A program with bootstraps, a merge of units, certified ranges, and names that are long or look
/// like markup.
fn bootstrapped() -> String {
    let mut g = with_series(residual_net(1), 1, 7, |name| name != "act0");
    for (i, n) in g.nodes.iter_mut().enumerate() {
        n.source = format!("/model/a_rather_long_name_of_a_stage.{i}/a_block_within_it/<{}> & \"more\"", n.source);
        if let TensorOp::Chebyshev { certificate, .. } = &mut n.op {
            let range = [-0.75 - i as f64, 2.5 * i as f64];
            *certificate =
                Some(Certificate { function: "relu".into(), range, margin: 1.5, limit: 1.0, rms: 1e-3, max: 2e-5, outside: 0.0 });
        }
    }
    // Units of 32 images, four of which the stride merges.
    let packing = PackingWish { phases: Some([0, 0]), fill: Some(0), tile: Some(1), ..PackingWish::default() };
    page(compile_graph(&g, "test", &request(CompileOptions { packing, ..options(128) })))
}

/// Writes the page to the folder for pages that are kept, if there is one.
fn keep(name: &str, bytes: impl AsRef<[u8]>) {
    if let Some(folder) = std::env::var_os("KEEP_PAGES") {
        std::fs::write(PathBuf::from(folder).join(name), bytes).unwrap();
    }
}

/// Tags of a page in order, with their text of attributes; fails if they do not nest.
fn elements(page: &str) -> Vec<(String, String)> {
    const VOID: [&str; 4] = ["meta", "!DOCTYPE", "br", "wbr"];
    let (mut open, mut all, mut rest): (Vec<String>, Vec<(String, String)>, &str) = (vec![], vec![], page);
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("a tag ends");
        let (tag, attributes) = rest[..end].split_once([' ', '\n']).unwrap_or((&rest[..end], ""));
        let closed = rest[..end].ends_with('/');
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "tags nest");
            continue;
        }
        all.push((tag.to_string(), attributes.to_string()));
        if matches!(tag, "style" | "script") {
            rest = &rest[rest.find(&format!("</{tag}>")).expect("it ends") + tag.len() + 3..];
        } else if !closed && !VOID.contains(&tag) {
            open.push(tag.to_string());
        }
    }
    assert!(open.is_empty(), "{open:?}");
    all
}

/// What every page must be, whatever its program.
fn check_structure(page: &str, charts: usize) {
    let all = elements(page);
    let count = |tag: &str| all.iter().filter(|(t, _)| t == tag).count();
    assert_eq!((count("html"), count("title") > 4, count("h1"), count("main"), count("nav"), count("section")), (1, true, 1, 1, 1, 7));
    assert_eq!((count("h2"), count("svg"), count("img"), count("link")), (7, charts, 0, 0));
    let attribute = |a: &str, name: &str| a.split(&format!("{name}=\"")).nth(1).and_then(|v| v.split('"').next()).map(str::to_string);
    let ids: Vec<String> = all.iter().filter_map(|(_, a)| attribute(&format!(" {a}"), " id")).collect();
    let distinct: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(ids.len(), distinct.len(), "ids are unique");
    for id in
        ["summary", "network-graph", "level-chart", "schedule-chart", "time-chart", "layers", "key-chart", "keys", "security", "layer-0"]
    {
        assert!(distinct.contains(&id.to_string()), "{id}");
    }
    for (tag, a) in &all {
        for id in attribute(a, "aria-labelledby").iter().flat_map(|l| l.split(' ')) {
            assert!(distinct.contains(&id.to_string()), "{tag} is labelled by {id}, which is not there");
        }
        if let Some(target) = attribute(a, "href") {
            assert!(target.starts_with('#') && distinct.contains(&target[1..].to_string()), "{target} leads nowhere");
        }
        assert!(tag != "svg" || a.contains("role=") && a.contains("aria-labelledby="), "{a}");
        assert!(tag != "th" || a.contains("scope="), "a header cell says what it heads");
        assert!(!a.contains("role=\"region\"") || a.contains("aria-label=") && a.contains("tabindex=\"0\""), "{a}");
    }
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="), "nothing is loaded from elsewhere");
}

#[test]
fn pages_are_whole_and_accessible() {
    let page = plain();
    check_structure(&page, 5);
    assert!(page.contains("conv2") && page.contains("below 128 bits") && page.contains("no range certificate"));
    assert!(!page.contains("class=\"mark\"") && !page.contains("class=\"merge\""));
    let page = bootstrapped();
    check_structure(&page, 6);
    for part in
        ["class=\"mark\"", "class=\"merge\"", "Range certificate", "none can fail", "below 0.01 %", "bootstraps with the activation behind"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("&lt;conv1&gt; &amp; &quot;more&quot;") && !page.contains("<conv1>"), "names are text");
}

/// A copy of the page that measures itself.
fn probed(page: &str) -> String {
    let early = "<script>window.probeErrors = []; for (const kind of [\"error\", \"securitypolicyviolation\"]) addEventListener(kind, (e) => window.probeErrors.push(`${kind} ${e.message || e.blockedURI}`));</script>";
    let probe = format!("<script>{}</script>\n</body>", include_str!("probe.js"));
    page.replacen("<head>", &format!("<head>{early}"), 1).replacen("</body>", &probe, 1)
}

fn measure(chromium: &Path, page: &Path, window: Window) -> Value {
    let dom = browser::open(chromium, page, window, "--dump-dom");
    let json = dom.split("<pre id=\"probe\" hidden=\"\">").nth(1).and_then(|r| r.split("</pre>").next());
    let json = json.unwrap_or_else(|| panic!("the probe did not end: {}", &dom[dom.len().saturating_sub(400)..]));
    serde_json::from_str(&json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")).unwrap()
}

fn list<'a>(v: &'a Value, key: &str) -> &'a Vec<Value> {
    v[key].as_array().unwrap_or_else(|| panic!("{key} is no list"))
}

/// What the browser must find on every page.
fn check_layout(name: &str, window: Window, found: &Value) {
    let at = format!("{name}, {window:?}");
    assert_eq!(found["dark"], window.dark, "{at}");
    assert!(list(found, "errors").is_empty(), "{at}: {}", found["errors"]);
    assert!(list(found, "problems").is_empty(), "{at}: {:#}", found["problems"]);
    assert!(found["wide"].as_f64() <= found["width"].as_f64(), "{at}: the page scrolls to the side");
    let number = |v: &Value, key: &str| v[key].as_f64().unwrap();
    for s in list(found, "sections") {
        assert!(number(s, "w") > 200.0 && number(s, "h") > 60.0, "{at}: {s}");
    }
    for pair in list(found, "sections").windows(2) {
        assert!(number(&pair[0], "y") + number(&pair[0], "h") <= number(&pair[1], "y"), "{at}: sections overlap: {pair:?}");
    }
    for c in list(found, "charts") {
        assert!(number(c, "w") > 200.0 && number(c, "h") > 10.0, "{at}: {c}");
    }
    for (selector, ratio) in found["contrast"].as_object().unwrap() {
        assert!(ratio.as_f64().unwrap() >= 4.5, "{at}: contrast of {selector} is {ratio}");
    }
    assert!(found["nodes"].as_u64() > Some(3) && found["nodes"] == found["reached"], "{at}: boxes take the focus");
    assert_eq!(found["followed"], "layer-0", "{at}: a box leads to its row");
}

/// The shapes are painted in their colours, at the places that the browser reports.
fn check_picture(picture: &Path, found: &Value) {
    let picture = image::open(picture).unwrap().to_rgb8();
    for shapes in ["marks", "bars"] {
        for s in list(found, shapes) {
            let center = ["x", "y"].map(|a| s[a].as_f64().unwrap() + s[if a == "x" { "w" } else { "h" }].as_f64().unwrap() / 2.0);
            let pixel = picture.get_pixel(center[0] as u32, center[1] as u32);
            let fill: Vec<u8> = s["fill"].as_str().unwrap().split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
            let near = pixel.0.iter().zip(&fill).all(|(a, b)| a.abs_diff(*b) <= 6);
            assert!(near, "{shapes}: {pixel:?} at {center:?}, where {s} should be");
        }
    }
}

#[test]
fn a_browser_lays_pages_out() {
    let Some(chromium) = browser::find() else {
        return chiffre_testing::skip("no Chromium is on the path and CHIFFRE_BROWSER names none");
    };
    let tmp = tempfile::tempdir().unwrap();
    for (name, text, bootstraps) in [("plain", plain(), false), ("bootstrapped", bootstrapped(), true)] {
        let file = tmp.path().join(format!("{name}.html"));
        std::fs::write(&file, probed(&text)).unwrap();
        keep(&format!("{name}.html"), &text);
        for (width, dark) in [(1280, false), (1280, true), (400, false), (400, true)] {
            let window = Window { width, height: 900, dark };
            let found = measure(&chromium, &file, window);
            check_layout(name, window, &found);
            assert_eq!((list(&found, "marks").is_empty(), list(&found, "merges").is_empty()), (!bootstraps, !bootstraps), "{name}");
            assert!(list(&found, "bars").len() > 3, "{name}");
            if width == 1280 {
                // The whole page in one picture: as high as it is.
                let window = Window { height: found["height"].as_u64().unwrap() as u32, ..window };
                let (whole, picture) = (measure(&chromium, &file, window), tmp.path().join("page.png"));
                browser::open(&chromium, &file, window, &format!("--screenshot={}", picture.display()));
                check_picture(&picture, &whole);
                keep(&format!("{name}-{}.png", if dark { "dark" } else { "light" }), std::fs::read(&picture).unwrap());
            }
        }
    }
}
