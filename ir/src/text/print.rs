//! Printer of the text form.

use crate::consts::{Data, Element};
use crate::graph::{Dialect, Graph, HeaderText, Op};
use crate::ops::Attr;
use crate::table::{DiagTable, WeightType};
use std::fmt::Write;

/// The text of a graph.
pub fn print<D: Dialect>(g: &Graph<D>) -> String {
    print_with_values(g, 0)
}

/// The text of a graph, with the values of constants that have data and no more than `most`
/// elements; others are named by their hash.
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
        let _ = write!(s, "  const @{} : {} ", c.name, c.ty);
        // Words such as `inf` are no numbers of the text form.
        let _ = match c.data.as_ref().filter(|d| d.ty().len() <= most && d.not_finite().is_none() && most > 0) {
            Some(d) => writeln!(s, "= {}", values(d)),
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

/// The values of a constant: a list, or the parts of a table.
fn values(d: &Data) -> String {
    fn list<T: Element>(data: impl IntoIterator<Item = T>) -> String {
        format!("[{}]", data.into_iter().map(T::text).collect::<Vec<_>>().join(", "))
    }
    match d {
        Data::F32(a) => list(a.data.iter().copied()),
        Data::F64(a) => list(a.data.iter().copied()),
        Data::I64(a) => list(a.data.iter().copied()),
        Data::Table(t) => table(t),
    }
}

/// `{taps=[-1, 0], rows=[[0, 0, 1]], entries=[[0, 0, _, 0.5]], masks=["10"]}`: operand, ciphertext
/// and tap of a row; row, output, mask (`_` for none) and weight of an entry.
fn table(t: &DiagTable) -> String {
    let join = |items: Vec<String>| format!("[{}]", items.join(", "));
    let rows = t.rows.iter().map(|r| format!("[{}, {}, {}]", r.operand, r.ct, r.tap)).collect();
    let weight = |w: f64| match t.weights {
        WeightType::F32 => (w as f32).text(),
        WeightType::F64 => w.text(),
    };
    let mask = |m: Option<u32>| m.map_or("_".into(), |m| m.to_string());
    let entries = t.entries.iter().map(|e| format!("[{}, {}, {}, {}]", e.row, e.output, mask(e.mask), weight(e.weight))).collect();
    let taps = t.taps.iter().map(i64::to_string).collect();
    let mut s = format!("{{taps={}, rows={}, entries={}", join(taps), join(rows), join(entries));
    if !t.masks.is_empty() {
        s += &format!(", masks={}", join((0..t.masks.len()).map(|m| quote(&t.masks.text(m))).collect()));
    }
    s + "}"
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
        // `{:?}` prints the shortest digits that read back to the same value, with a point or
        // exponent.
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
