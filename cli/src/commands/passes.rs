//! `chiffre passes`.

use crate::args::PassesArgs;
use chiffre::Error;
use chiffre::pipeline::CKKS;
use chiffre_backend::property::Property;
use chiffre_passes::pass::PassInfo;
use chiffre_passes::pipeline::DEFAULT;
use chiffre_passes::registry::PASSES;

/// Lists the passes, or describes one.
pub(super) fn passes(args: &PassesArgs) -> Result<(), Error> {
    let Some(name) = &args.pass else {
        let mut out = String::from("passes (`chiffre passes NAME` says what one requires and establishes):\n");
        for p in PASSES {
            out += &format!("  {:<22} {:<7} {}\n", p.name, p.level, p.summary);
            if !p.options.is_empty() {
                let options: Vec<&str> = p.options.iter().map(|o| o.name).collect();
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
    let list = |properties: &[Property]| properties.iter().map(|p| p.meaning()).collect::<Vec<_>>().join("; ");
    let mut s = format!("{} (on {} IR): {}\n  requires:    {}", p.name, p.level, p.summary, list(p.required(&CKKS)));
    if !p.establishes.is_empty() {
        s += &format!("\n  establishes: {}", list(p.establishes));
    }
    for o in p.options {
        s += &format!("\n  {{{}=…}}  {}", o.name, o.meaning);
    }
    s
}
