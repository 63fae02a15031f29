//! `chiffre passes`.

use crate::args::PassesArgs;
use chiffre::Error;
use chiffre_passes::pipeline::DEFAULT;
use chiffre_passes::registry::{PASSES, PassInfo};

/// Lists the passes, or describes one.
pub(super) fn passes(args: &PassesArgs) -> Result<(), Error> {
    let Some(name) = &args.pass else {
        let mut out = String::from("passes (`chiffre passes NAME` says what one requires and establishes):\n");
        for p in PASSES {
            out += &format!("  {:<22} {:<7} {}\n", p.name, p.level, p.summary);
            if !p.options.is_empty() {
                let options: Vec<&str> = p.options.iter().map(|(o, _)| *o).collect();
                out += &format!("  {:<22} {:<7}   options: {}\n", "", "", options.join(", "));
            }
        }
        return super::print(out + &format!("\ndefault pipeline:\n  {DEFAULT}"));
    };
    let pass = PASSES.iter().find(|p| p.name == name).ok_or_else(|| {
        let near = chiffre_ir::ops::suggestion(name, PASSES.iter().map(|p| p.name), "there are");
        Error::input(format!("there is no pass `{name}`{near}"))
    })?;
    super::print(describe(pass))
}

fn describe(p: &PassInfo) -> String {
    let mut s = format!("{} (on {} IR): {}\n  requires:    {}\n  establishes: {}", p.name, p.level, p.summary, p.requires, p.establishes);
    for (option, meaning) in p.options {
        s += &format!("\n  {{{option}=…}}  {meaning}");
    }
    s
}
