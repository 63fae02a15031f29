//! The estimates of attacks in `docs/security-estimates`: they cover every set of parameters that
//! the compiler may choose, and the page on security has them as a table.

use chiffre_params::security::{SECURITY_BITS, max_log_q_sparse, max_log_qp};
use chiffre_passes::options::{CompileOptions, PrimeSizes};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Weights that `--ephemeral-weight` takes.
const WEIGHTS: [u64; 3] = [32, 64, 128];
/// Rings that `--log-n` takes.
const RINGS: std::ops::RangeInclusive<u32> = 4..=17;

/// Attacks on a secret, by their names in the output, with what the table calls them.
const ATTACKS: [(&str, &str); 6] = [
    ("usvp", "primal"),
    ("dual_hybrid", "dual hybrid"),
    ("dual_guess_hybrid", "dual, guessing"),
    ("dual_mitm_hybrid", "dual, meeting in the middle"),
    ("bdd_hybrid", "primal, guessing"),
    ("bdd_mitm_hybrid", "primal, meeting in the middle"),
];

/// Attacks that have to have been estimated on a secret of a weight; none: uniform ternary.
fn wanted(weight: Option<u64>) -> &'static [(&'static str, &'static str)] {
    if weight.is_some() { &ATTACKS[..4] } else { &ATTACKS[..2] }
}

/// What has not been estimated at the bounds of ephemeral secrets, where no program of the compiler
/// is: ring, weight, attack. The bounds rest on IACR ePrint 2022/024 there.
const NOT_ESTIMATED: [(u32, u64, &str); 7] = [
    (15, 128, "dual_guess_hybrid"),
    (16, 64, "dual_guess_hybrid"),
    (16, 128, "dual_guess_hybrid"),
    (15, 64, "dual_mitm_hybrid"),
    (15, 128, "dual_mitm_hybrid"),
    (16, 64, "dual_mitm_hybrid"),
    (16, 128, "dual_mitm_hybrid"),
];

/// A parameter set: log2 of the ring degree, weight of the secret (none: uniform ternary), log2 of
/// the modulus.
type Set = (u32, Option<u64>, u32);

/// log2 of the operations of attacks on parameter sets; `None` where none succeeds.
pub struct Estimates {
    bits: BTreeMap<(Set, String), Option<f64>>,
    /// The commit of the estimator.
    commit: String,
}

impl Estimates {
    pub fn read(root: &Path) -> Estimates {
        let text = std::fs::read_to_string(root.join("docs/security-estimates/estimates.jsonl")).unwrap();
        Estimates::parse(&text)
    }

    fn parse(text: &str) -> Estimates {
        let mut out = Estimates { bits: BTreeMap::new(), commit: String::new() };
        for line in text.lines() {
            let v: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let number = |key: &str| v[key].as_u64().unwrap_or_else(|| panic!("no {key}: {line}")) as u32;
            let set = (number("log_n"), v["weight"].as_u64(), number("log_q"));
            let attack = v["attack"].as_str().unwrap().to_string();
            assert!(ATTACKS.iter().any(|(a, _)| *a == attack), "an attack that the table does not have: {line}");
            assert!(v["bits"].is_null() || v["bits"].is_f64(), "{line}");
            assert!(out.bits.insert((set, attack), v["bits"].as_f64()).is_none(), "twice: {line}");
            out.commit = v["estimator"].as_str().unwrap().to_string();
        }
        out
    }

    /// Whether an attack on a secret at a modulus of `log_q` bits, or at the next larger one that
    /// was estimated in the same ring, takes 2^128 operations; `None` if there is none.
    fn holds(&self, (log_n, weight, log_q): (u32, Option<u64>, f64), attack: &str) -> Option<bool> {
        let same =
            |(((n, w, q), a), _): &(&(Set, String), &Option<f64>)| *n == log_n && *w == weight && f64::from(*q) >= log_q && a == attack;
        let (_, bits) = self.bits.iter().filter(same).min_by_key(|(((_, _, q), _), _)| *q)?;
        Some(bits.is_none_or(|b| b >= f64::from(SECURITY_BITS)))
    }

    /// What the estimates do not show of the parameter sets; `without` lists what they need not.
    fn faults(&self, sets: &[(u32, Option<u64>, f64)], without: &[(u32, u64, &str)]) -> Vec<String> {
        let one = |set: &(u32, Option<u64>, f64)| {
            let (log_n, weight, _) = *set;
            let fault = |(attack, _): &(&str, &str)| {
                let listed = weight.is_some_and(|w| without.contains(&(log_n, w, attack)));
                match self.holds(*set, attack) {
                    Some(false) => Some(format!("{set:?}: {attack} takes less than 2^{SECURITY_BITS} operations")),
                    Some(true) if listed => Some(format!("{set:?}: {attack} is estimated, and listed as not estimated")),
                    None if !listed => Some(format!("{set:?}: {attack} is not estimated")),
                    _ => None,
                }
            };
            wanted(weight).iter().filter_map(fault).collect::<Vec<_>>()
        };
        sets.iter().flat_map(one).collect()
    }

    /// What they do not show of all sets that programs may have.
    pub fn all_faults(&self) -> Vec<String> {
        [self.faults(&chosen(), &[]), self.faults(&bounds(), &NOT_ESTIMATED)].concat()
    }

    /// All estimates as a table.
    pub fn table(&self) -> String {
        let title = |(_, title): &(&str, &str)| format!(" {title} |");
        let mut out = format!(
            "| secret | log2 N | log2 modulus |{}\n|---|---|---|{}\n",
            ATTACKS.iter().map(title).collect::<String>(),
            "---|".repeat(6)
        );
        let mut sets: Vec<Set> = self.bits.keys().map(|(set, _)| *set).collect();
        sets.sort_by_key(|&(log_n, weight, log_q)| (weight, log_n, log_q));
        sets.dedup();
        for set in sets {
            let secret = set.1.map_or("uniform ternary".to_string(), |w| format!("weight {w}"));
            out += &format!("| {secret} | {} | {} |", set.0, set.2);
            for (attack, _) in ATTACKS {
                out += &match self.bits.get(&(set, attack.to_string())) {
                    Some(Some(bits)) => format!(" {bits:.1} |"),
                    Some(None) => " none |".into(),
                    None => " — |".into(),
                };
            }
            out.push('\n');
        }
        out
    }
}

/// Every set of parameters that the compiler may choose, at the largest modulus that it takes.
pub fn chosen() -> Vec<(u32, Option<u64>, f64)> {
    let sizes = PrimeSizes::of(&CompileOptions::default(), true, true);
    let key = f64::from(sizes.bottom + sizes.special);
    let main = RINGS.filter_map(|log_n| Some((log_n, None, max_log_qp(log_n)?)));
    let sparse = bounds().into_iter().map(|(log_n, weight, bound)| {
        assert!(key <= bound, "the compiler keeps to the bound");
        (log_n, weight, key)
    });
    main.chain(sparse).collect()
}

/// Ephemeral secrets at the largest modulus that any check lets pass.
fn bounds() -> Vec<(u32, Option<u64>, f64)> {
    let of = |log_n| WEIGHTS.into_iter().filter_map(move |w| Some((log_n, Some(w), max_log_q_sparse(log_n, w as usize)?)));
    RINGS.flat_map(of).collect()
}

/// The page with the table, and the commit of the estimator, between their marks.
pub fn page(page: &str, estimates: &Estimates) -> String {
    let (begin, end) = ("<!-- estimates: UPDATE_DOCS=1 cargo test --test docs -->\n", "<!-- end of estimates -->");
    let (head, rest) = page.split_once(begin).expect("a mark where the table begins");
    let (_, tail) = rest.split_once(end).expect("a mark where it ends");
    let commit = &estimates.commit[..12];
    format!("{head}{begin}{}\nBy the lattice estimator at commit `{commit}`.\n{end}{tail}", estimates.table())
}

/// What is too weak or missing is told.
pub fn can_fail() {
    let line = |log_q: u32, bits: &str| {
        format!(r#"{{"log_n": 15, "log_q": {log_q}, "weight": null, "attack": "usvp", "bits": {bits}, "estimator": "0123456789abcdef"}}"#)
    };
    let dual = line(868, "128.0").replace("usvp", "dual_hybrid");
    let faults = |lines: &[&str]| Estimates::parse(&lines.join("\n")).faults(&[(15, None, 868.0)], &[]);
    assert_eq!(faults(&[&line(868, "128.0"), &dual]), [""; 0]);
    assert_eq!(faults(&[&line(868, "null"), &dual]), [""; 0]);
    assert!(faults(&[&line(868, "127.9"), &dual])[0].contains("usvp takes less"));
    assert!(faults(&[&line(867, "140.0"), &dual])[0].contains("usvp is not estimated"));
    assert!(faults(&[&line(900, "120.0"), &dual])[0].contains("usvp takes less"));
    assert_eq!(faults(&[&line(900, "120.0"), &line(868, "128.0"), &dual]), [""; 0]);
    let sparse = |bits: &str| line(111, bits).replace("null, \"attack\": \"usvp\"", "32, \"attack\": \"dual_guess_hybrid\"");
    let listed = |lines: &[&str]| {
        let known = Estimates::parse(&lines.join("\n"));
        known.faults(&[(15, Some(32), 111.0)], &ATTACKS.map(|(attack, _)| (15, 32, attack)))
    };
    assert_eq!(listed(&[]), [""; 0]);
    assert!(listed(&[&sparse("150.0")])[0].contains("listed as not estimated"));
    assert!(listed(&[&sparse("100.0")])[0].contains("takes less"));
}
