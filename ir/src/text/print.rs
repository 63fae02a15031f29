//! Printer of the text form.

use crate::graph::{Dialect, Graph, HeaderText, Op};
use crate::ops::Attr;
use std::fmt::Write;

/// The text of a graph.
pub fn print<D: Dialect>(g: &Graph<D>) -> String {
    print_with_values(g, 0)
}

/// The text of a graph, with the values of constants that have data and no more than `most` elements; others are named by their hash.
pub fn print_with_values<D: Dialect>(g: &Graph<D>, most: usize) -> String {
    let mut s = String::new();
    let _ = write!(s, "{} @{}", D::NAME, g.name);
    let header = g.header.attrs();
    if !header.is_empty() {
        s += " ";
        attrs(&mut s, g, &header, ('(', ')'));
    }
    s += " {\n";
    for (_, c) in g.consts.iter() {
        let _ = write!(s, "  const @{} : f32[{}] ", c.name, dims(&c.shape));
        // Words such as `inf` are no numbers of the text form.
        let _ = match c.data.as_ref().filter(|a| a.data.len() <= most && a.data.iter().all(|x| x.is_finite()) && most > 0) {
            Some(a) => writeln!(s, "= [{}]", a.data.iter().map(f32::to_string).collect::<Vec<_>>().join(", ")),
            None => writeln!(s, "blake3:{}", c.hash),
        };
    }
    for (v, n) in g.iter() {
        let _ = write!(s, "  %{} = {}", v.0, n.op.info().mnemonic);
        for (i, a) in n.args.iter().enumerate() {
            let _ = write!(s, "{} %{}", if i > 0 { "," } else { "" }, a.0);
        }
        let list = n.op.attrs();
        if !list.is_empty() {
            s += " ";
            attrs(&mut s, g, &list, ('{', '}'));
        }
        let _ = write!(s, " : {}", n.ty);
        if !n.source.is_empty() {
            let _ = write!(s, " ; {}", quote(&n.source));
        }
        s += "\n";
    }
    s += "  return";
    for (i, o) in g.outputs.iter().enumerate() {
        let _ = write!(s, "{} %{}", if i > 0 { "," } else { "" }, o.0);
    }
    s += "\n}\n";
    s
}

/// `16x3x3x3`.
pub(crate) fn dims(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn attrs<D: Dialect>(s: &mut String, g: &Graph<D>, list: &[(&'static str, Attr)], (open, close): (char, char)) {
    s.push(open);
    for (i, (name, a)) in list.iter().enumerate() {
        if i > 0 {
            s.push_str(", ");
        }
        s.push_str(name);
        s.push('=');
        attr(s, g, a);
    }
    s.push(close);
}

fn attr<D: Dialect>(s: &mut String, g: &Graph<D>, a: &Attr) {
    match a {
        Attr::Int(i) => {
            let _ = write!(s, "{i}");
        }
        // `{:?}` prints the shortest digits that read back to the same value, with a point or exponent.
        Attr::Float(x) => {
            let _ = write!(s, "{x:?}");
        }
        Attr::Word(w) => s.push_str(w),
        Attr::Str(t) => s.push_str(&quote(t)),
        Attr::Const(c) => {
            let _ = write!(s, "@{}", g.consts.get(*c).name);
        }
        Attr::List(l) => {
            s.push('[');
            for (i, x) in l.iter().enumerate() {
                if i > 0 {
                    s.push_str(", ");
                }
                attr(s, g, x);
            }
            s.push(']');
        }
        Attr::Record(entries) => {
            s.push('{');
            for (i, (name, x)) in entries.iter().enumerate() {
                if i > 0 {
                    s.push_str(", ");
                }
                let _ = write!(s, "{name}=");
                attr(s, g, x);
            }
            s.push('}');
        }
    }
}

fn quote(t: &str) -> String {
    let mut s = String::from("\"");
    for c in t.chars() {
        match c {
            '"' => s.push_str("\\\""),
            '\\' => s.push_str("\\\\"),
            '\n' => s.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(s, "\\u{{{:x}}}", c as u32);
            }
            c => s.push(c),
        }
    }
    s.push('"');
    s
}
