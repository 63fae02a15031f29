//! Pipelines: text specs of passes, and their execution with checks before and after every pass.

use crate::error::PassError;
use crate::observe::Observer;
use crate::options::CompileOptions;
use crate::pass::{Context, Entry, PassInfo, Scope};
use crate::registry::{PASSES, giver};
use crate::state::State;
use chiffre_backend::property::Property;
use chiffre_backend::target::Target;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The pipeline of the `ckks` target, which is the default one.
pub const DEFAULT: &str = chiffre_backend::ckks::PIPELINE;

/// A parsed pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Passes in order.
    pub entries: Vec<Entry>,
}

impl Pipeline {
    /// Reads a spec such as [`DEFAULT`]: passes separated by commas, `level(…)` groups, options in
    /// braces.
    pub fn parse(spec: &str) -> Result<Pipeline, PassError> {
        Pipeline::parse_with(spec, &[])
    }

    /// As [`Pipeline::parse`], where passes of the caller's own may be named too.
    ///
    /// # Errors
    /// A spec that is malformed or names an unknown pass or option.
    pub fn parse_with(spec: &str, own: &[&'static PassInfo]) -> Result<Pipeline, PassError> {
        let bad = |m: String| PassError::at("pipeline", "", m);
        let mut entries = vec![];
        let mut group: Option<String> = None;
        let mut rest = spec.trim();
        while !rest.is_empty() {
            let n = rest.find(['(', ')', ',', '{']).unwrap_or(rest.len());
            let name = rest[..n].trim();
            rest = &rest[n..];
            if rest.starts_with('(') {
                if group.is_some() || !["tensor", "quant", "packed", "he"].contains(&name) {
                    return Err(bad(format!("`{name}(`: groups are tensor(…), quant(…), packed(…) and he(…), not nested")));
                }
                group = Some(name.into());
                rest = &rest[1..];
                continue;
            }
            let mut options = vec![];
            if rest.starts_with('{') {
                let end = rest.find('}').ok_or_else(|| bad(format!("the options of `{name}` are not closed")))?;
                for item in rest[1..end].split(',').map(str::trim).filter(|s| !s.is_empty()) {
                    let (k, v) = item.split_once('=').ok_or_else(|| bad(format!("option `{item}` of `{name}`: expected key=value")))?;
                    options.push((k.trim().to_string(), v.trim().to_string()));
                }
                rest = &rest[end + 1..];
            }
            if !name.is_empty() {
                let known = own.iter().copied().chain(PASSES).find(|p| p.name == name);
                let pass = known.ok_or_else(|| bad(unknown_pass(name)))?;
                if let Some(g) = &group
                    && pass.level.to_string() != *g
                {
                    return Err(bad(format!("`{name}` is a pass on {} IR, not in the group {g}(…)", pass.level)));
                }
                if let Some((k, _)) = options.iter().find(|(k, _)| pass.option(k).is_none()) {
                    return Err(bad(format!("pass `{name}` has no option `{k}`")));
                }
                entries.push(Entry { pass, options });
            }
            if rest.starts_with(')') && group.take().is_none() {
                return Err(bad("`)` without `(`".into()));
            }
            rest = rest.strip_prefix([')', ',']).unwrap_or(rest).trim_start();
        }
        if group.is_some() {
            return Err(bad("a group is not closed".into()));
        }
        Ok(Pipeline { entries })
    }

    /// Checks, before anything runs, that every pass finds what it requires: in the state at the
    /// start, or by a pass before it.
    ///
    /// # Errors
    /// The first pass that does not, what it lacks, and the pass that gives it.
    pub fn check(&self, state: &State, target: &dyn Target) -> Result<(), PassError> {
        let mut held: BTreeSet<Property> = Property::ALL.into_iter().filter(|p| state.holds(*p)).collect();
        for entry in &self.entries {
            if let Some(p) = entry.pass.required(target).iter().find(|p| !held.contains(p)) {
                return Err(lacking(entry.pass, *p, &state.lacks(*p).unwrap_or_default()));
            }
            held.extend(entry.pass.establishes);
        }
        Ok(())
    }

    /// True if some pass takes HE IR whose products are not relinearised and relinearises them.
    pub fn relinearises(&self) -> bool {
        self.entries.iter().any(|s| s.pass.establishes.contains(&Property::Relinearised))
    }

    /// The caller's options with what passes say for the whole program, which then counts for every
    /// pass.
    ///
    /// # Errors
    /// A value that is none, of any option, or two for the whole program that differ.
    fn options_of_program(&self, options: &CompileOptions) -> Result<CompileOptions, PassError> {
        let mut all = options.clone();
        let mut said: Vec<(&str, String, &str)> = options.log_n.map(|n| ("log-n", n.to_string(), "the caller")).into_iter().collect();
        for entry in &self.entries {
            let mut own = options.clone();
            entry.options.iter().try_for_each(|(k, v)| own.set(k, v)).map_err(|m| PassError::at(entry.pass.name, "", m))?;
            let of_program = |k: &str| entry.pass.option(k).is_some_and(|o| o.scope == Scope::Program);
            for (k, v) in entry.options.iter().filter(|(k, _)| of_program(k)) {
                let at = |m: String| PassError::at(entry.pass.name, "", m);
                match said.iter().find(|s| s.0 == k) {
                    Some((_, other, who)) if other != v => {
                        return Err(at(format!("option {k}={v}: {who} says {k}={other}; it is decided once for the whole program")));
                    }
                    Some(_) => {}
                    None => {
                        all.set(k, v).map_err(at)?;
                        said.push((k, v.clone(), entry.pass.name));
                    }
                }
            }
        }
        Ok(all)
    }

    /// Runs the passes on `state`; `after` sees the state and the time taken after each pass.
    pub fn run(&self, state: State, cx: &Context, after: impl FnMut(&Entry, &State, Duration)) -> Result<State, PassError> {
        struct After<F>(F);
        impl<F: FnMut(&Entry, &State, Duration)> Observer for After<F> {
            fn after(&mut self, entry: &Entry, state: &State, time: Duration) -> Result<(), PassError> {
                (self.0)(entry, state, time);
                Ok(())
            }
        }
        self.observe(state, cx, &mut After(after))
    }

    /// Runs the passes on `state`, watched by an observer.
    ///
    /// # Errors
    /// A wish to stop; a pass that does not find what it requires, what a pass refuses, what a
    /// verifier finds after it, a pass that does not establish what its record says, what the
    /// observer objects to.
    pub fn observe(&self, mut state: State, cx: &Context, observer: &mut dyn Observer) -> Result<State, PassError> {
        let of_program = self.options_of_program(cx.options)?;
        self.check(&state, cx.target)?;
        for entry in &self.entries {
            cx.options.stop.check(entry.pass.name)?;
            observer.before(entry, &state);
            let start = Instant::now();
            let mut options = of_program.clone();
            for (k, v) in &entry.options {
                options.set(k, v).map_err(|m| PassError::at(entry.pass.name, "", m))?;
            }
            run_pass(entry.pass, &mut state, &Context { options: &options, ..*cx })?;
            tracing::debug!(pass = entry.pass.name, micros = start.elapsed().as_micros() as u64, "pass");
            observer.after(entry, &state, start.elapsed())?;
        }
        Ok(state)
    }
}

/// Runs a pass between the checks of what it requires and of what it leaves.
fn run_pass(pass: &PassInfo, state: &mut State, cx: &Context) -> Result<(), PassError> {
    for p in pass.required(cx.target) {
        if let Some(node) = state.lacks(*p) {
            return Err(lacking(pass, *p, &node));
        }
    }
    let relinearised = state.holds(Property::Relinearised) || pass.establishes.contains(&Property::Relinearised);
    pass.apply(state, cx)?;
    state.verify(relinearised).map_err(|e| PassError::bug(pass.name, "", format!("the pass broke the graph: {e}")))?;
    for p in pass.establishes {
        if let Some(node) = state.lacks(*p) {
            return Err(PassError::bug(pass.name, &node, format!("the pass does not establish what its record says: {p}")));
        }
    }
    Ok(())
}

/// The error of a pass that lacks what it requires, at a node if one is at fault.
fn lacking(pass: &PassInfo, p: Property, node: &str) -> PassError {
    let first = giver(p).map(|g| format!(": run {} first", g.name)).unwrap_or_default();
    PassError::at(pass.name, node, format!("needs {p}{first}"))
}

fn unknown_pass(name: &str) -> String {
    let near = PASSES.iter().min_by_key(|p| strsim::levenshtein(p.name, name)).map_or("", |p| p.name);
    format!("unknown pass `{name}`; did you mean `{near}`? (`chiffre passes` lists them)")
}
