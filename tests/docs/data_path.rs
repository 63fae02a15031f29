//! Makes the IR blocks of `docs/data-path.md`; the prose around them is written by hand.
//!
//! A block stands between `<!-- ir STAGE: "NODE", … -->` and `<!-- end -->`: the head of that
//! stage's text, the instructions of these ONNX nodes, and the constants that they name. Hashes and
//! long lists are shortened, long lines are broken before the type.

use chiffre::pipeline::{Request, compile};
use chiffre_passes::observe::Dump;
use chiffre_passes::options::CompileOptions;
use std::collections::BTreeMap;
use std::path::Path;

const OPEN: &str = "<!-- ir ";
const CLOSE: &str = "<!-- end -->";
/// Lists with more elements are shortened.
const MOST_ELEMENTS: usize = 9;
/// Longer lines are broken.
const MOST_CHARACTERS: usize = 130;

/// The page with all blocks made anew; how many there are.
pub fn rebuilt(root: &Path, page: &str) -> (String, usize) {
    let stages = stages(root, page);
    let mut parts = page.split(OPEN);
    let mut out = parts.next().unwrap_or_default().to_string();
    let mut blocks = 0;
    for part in parts {
        let (marker, rest) = part.split_once(" -->\n").expect("a marker ends");
        let (_, after) = rest.split_once(CLOSE).expect("a block ends");
        let (stage, nodes) = marker.split_once(": ").expect("a marker names nodes");
        let nodes: Vec<&str> = nodes.split(", ").collect();
        let text = stages.get(stage).unwrap_or_else(|| panic!("there is no stage `{stage}`"));
        out += &format!("{OPEN}{marker} -->\n\n{}\n{CLOSE}{after}", block(text, &nodes));
        blocks += 1;
    }
    (out, blocks)
}

/// The texts of all stages of the compilation that the page's command says.
fn stages(root: &Path, page: &str) -> BTreeMap<String, String> {
    let command = page.split("    chiffre compile ").nth(1).and_then(|c| c.split("\n\n").next()).expect("the page says how it was made");
    let after = |what: &str, until: char| command.split(what).nth(1).and_then(|c| c.split(until).next()).expect(what);
    let model = command.split(' ').next().expect("a model");
    let batch = after("--batch ", ' ').parse().expect("a number");
    let dumps: Vec<Dump> = command.split("--dump-ir ").skip(1).map(|d| d.split(' ').next().unwrap().parse().unwrap()).collect();
    let model = chiffre_frontend::load(&root.join(model)).unwrap();
    let options = CompileOptions { batch, ..CompileOptions::default() };
    let passes = Some(after("--passes '", '\'').to_string());
    let compiled = compile(&model, &Request { options, passes, dumps, ..Request::default() }).unwrap();
    let dumped = compiled.dumps.iter().map(|(title, g)| (title.clone(), g.print(0)));
    let program = ("program".to_string(), chiffre_ir::text::print(&compiled.program));
    dumped.chain(compiled.stages).chain([program]).collect()
}

/// The part of a text that is about some nodes.
fn block(text: &str, nodes: &[&str]) -> String {
    let of = |line: &&str| nodes.iter().any(|n| line.ends_with(&format!(" ; {n}")));
    for n in nodes {
        assert!(text.lines().any(|l| l.ends_with(&format!(" ; {n}"))), "there is no instruction of {n}");
    }
    let instructions: Vec<&str> = text.lines().filter(of).collect();
    let named = |line: &&str| {
        let name = line.trim_start().strip_prefix("const @").and_then(|l| l.split(' ').next());
        name.is_some_and(|n| instructions.iter().any(|i| i.split('@').skip(1).any(|u| u.split([',', ']', '}']).next() == Some(n))))
    };
    let lines = text.lines().take(1).chain(text.lines().filter(named)).chain(instructions.iter().copied());
    lines.map(|l| shown(l) + "\n").collect()
}

/// A line as the page shows it, indented.
fn shown(line: &str) -> String {
    let mut s = String::from("    ");
    let mut rest = line;
    while let Some((before, inside)) = rest.split_once('[') {
        let (list, after) = inside.split_once(']').unwrap_or((inside, ""));
        let elements: Vec<&str> = list.split(", ").collect();
        s += before;
        match elements.len() {
            n if n > MOST_ELEMENTS => s += &format!("[{}, … {} more]", elements[0], n - 1),
            _ => s += &format!("[{list}]"),
        }
        rest = after;
    }
    s += rest;
    if let Some((before, hash)) = s.clone().split_once("blake3:") {
        s = format!("{before}blake3:{}…", &hash[..8]);
    }
    if s.chars().count() > MOST_CHARACTERS
        && let Some((before, ty)) = s.clone().rsplit_once(" : ")
    {
        s = format!("{before}\n         : {ty}");
    }
    s
}

#[test]
fn lines_are_shortened_and_broken() {
    let one = "  const @t : f32[4] blake3:0123456789abcdef";
    assert_eq!(shown(one), "      const @t : f32[4] blake3:01234567…");
    let list: Vec<String> = (0..12).map(|i| i.to_string()).collect();
    assert_eq!(shown(&format!("q=[{}], p=[1, 2]", list.join(", "))), "    q=[0, … 11 more], p=[1, 2]");
    let long = format!("  %1 = op {{name={}}} : f32[2] ; \"n\"", "x".repeat(120));
    assert!(shown(&long).ends_with("}\n         : f32[2] ; \"n\""));
}

#[test]
fn blocks_have_the_constants_that_they_name() {
    let text =
        "tensor @t {\n  const @a : f32[1]\n  const @b : f32[1]\n  %0 = input : f32[1] ; \"x\"\n  %1 = y %0 {c=[@b]} : f32[1] ; \"y\"\n}\n";
    assert_eq!(block(text, &["\"y\""]), "    tensor @t {\n      const @b : f32[1]\n      %1 = y %0 {c=[@b]} : f32[1] ; \"y\"\n");
}
