//! Placement of bootstraps in the residual networks of the literature: the shortest path against
//! the usual rules of thumb.

mod common;

use chiffre_backend::cost::CostModel;
use chiffre_passes::options::CompileOptions;
use chiffre_passes::place::{
    Choice, Network, Placement, RingChoice, SiteOp, always_to_the_top, best, greedy, place, price, rings, search_graph,
};
use chiffre_passes::tensor::compose_linear::compose_linear;
use common::{Facts, relu_resnet};

fn resnet(size: usize, blocks: &[usize], widths: &[usize], log_n: u32) -> Network {
    Network::new(&compose_linear(&relu_resnet(size, blocks, widths)).unwrap(), log_n, 512, 8, 16).unwrap()
}

fn resnet20(log_n: u32) -> Network {
    resnet(32, &[3, 3, 3], &[16, 32, 64], log_n)
}

fn resnet34(log_n: u32) -> Network {
    resnet(32, &[3, 4, 6, 3], &[16, 32, 64, 128], log_n)
}

/// Every ring and chain that a large machine has room for.
fn all_rings() -> Vec<RingChoice> {
    let opts = CompileOptions { memory: Some(64 << 30), ..CompileOptions::default() };
    [15, 16].iter().flat_map(|&log_n| rings(log_n, &opts, &Facts)).collect()
}

/// The cheapest over all chains of some rings.
fn cheapest(log_n: &[u32], f: impl Fn(&RingChoice) -> Option<Placement>) -> Placement {
    all_rings().iter().filter(|r| log_n.contains(&r.log_n)).filter_map(f).min_by(|a, b| a.seconds.total_cmp(&b.seconds)).unwrap()
}

fn show(n: &Network, p: &Placement) -> String {
    let kind = |c: &Choice| match c {
        Choice::Refreshed(l) => format!("b{l}"),
        Choice::Levelled => "l".into(),
        Choice::Plain => String::new(),
    };
    let list: Vec<String> =
        n.sites.iter().zip(&p.choices).filter(|(s, _)| matches!(s.op, SiteOp::Activation { .. })).map(|(_, c)| kind(c)).collect();
    format!("2^{}, {} primes, {} special, {} bootstraps: {}", p.ring.log_n, p.ring.chain, p.ring.special, p.bootstraps, list.join(" "))
}

#[test]
fn the_shortest_path_beats_the_rules_of_thumb() {
    let cost = CostModel::default();
    for (name, net) in [("ResNet-20", resnet20 as fn(u32) -> Network), ("ResNet-34", resnet34)] {
        let nets = [net(15), net(16)];
        let of = |r: &RingChoice| &nets[r.log_n as usize - 15];
        // In a small ring a bootstrap has levels for its own activation only, and all that is left
        // to choose is how far a fresh ciphertext reaches.
        for (log_n, strict) in [(&[15][..], false), (&[16], true), (&[15, 16], false)] {
            let ours = cheapest(log_n, |r| best(of(r), r, &cost));
            let greedy = cheapest(log_n, |r| greedy(of(r), r, &cost));
            let top = cheapest(log_n, |r| always_to_the_top(of(r), r, &cost));
            for (what, p) in [("shortest path", &ours), ("greedy", &greedy), ("always to the top", &top)] {
                println!("{name}, {log_n:?}: {what} {:.0} s ({})", p.seconds, show(of(&p.ring), p));
            }
            assert!(ours.seconds <= greedy.seconds && greedy.seconds <= top.seconds);
            assert!(!strict || ours.seconds < 0.97 * greedy.seconds && ours.seconds < 0.97 * top.seconds);
        }
        // On every single chain too, where all of them fit.
        for r in all_rings() {
            let (Some(a), Some(b)) = (best(of(&r), &r, &cost), chiffre_passes::place::greedy(of(&r), &r, &cost)) else { continue };
            assert!(a.seconds <= b.seconds * (1.0 + 1e-9), "{name}, {} primes", r.chain);
        }
        // Within the default memory the small ring is taken: the keys of the large one would fill
        // it.
        let direct = place(net, &[15, 16], &CompileOptions::default(), &Facts, &cost).unwrap();
        assert_eq!(direct, cheapest(&[15], |r| best(of(r), r, &cost)));
    }
}

#[test]
fn the_path_is_the_best_of_all_placements() {
    // Few enough activations to try every subset.
    let cost = CostModel::default();
    let net = resnet(16, &[1, 1], &[4, 8], 15);
    let sites: Vec<usize> = (0..net.sites.len()).filter(|&v| matches!(net.sites[v].op, SiteOp::Activation { .. })).collect();
    assert_eq!(sites.len(), 5);
    let mut feasible = 0;
    for ring in all_rings().iter().filter(|r| r.log_n == 15 || r.chain == 30) {
        let mut least = f64::INFINITY;
        for mask in 0..1 << sites.len() {
            let mut choices = vec![Choice::Plain; net.sites.len()];
            for (i, &v) in sites.iter().enumerate() {
                choices[v] = if mask >> i & 1 == 1 { Choice::Refreshed(0) } else { Choice::Levelled };
            }
            // The least limbs that its readers allow.
            for v in sites.iter().rev() {
                if let Choice::Refreshed(_) = choices[*v] {
                    let found = (1..ring.chain).find(|&l| {
                        choices[*v] = Choice::Refreshed(l);
                        let later: Vec<Choice> = (0..choices.len())
                            .map(|u| if u < *v && choices[u] == Choice::Refreshed(0) { Choice::Refreshed(ring.chain) } else { choices[u] })
                            .collect();
                        limbs_fit(&net, ring, &later, *v)
                    });
                    let Some(l) = found else { break };
                    choices[*v] = Choice::Refreshed(l);
                }
            }
            if let Some(p) = price(&net, ring, &cost, &choices) {
                least = least.min(p.seconds);
            }
        }
        let found = best(&net, ring, &cost).map_or(f64::INFINITY, |p| p.seconds);
        feasible += usize::from(found.is_finite());
        assert!((found - least).abs() <= 1e-9 * least || found == least, "{} primes: {found} against {least}", ring.chain);
    }
    assert!(feasible >= 2, "no chain was long enough");
}

/// True if the value decided at `v` has the limbs that its readers need.
fn limbs_fit(net: &Network, ring: &RingChoice, choices: &[Choice], v: usize) -> bool {
    let mut need = vec![1usize; net.sites.len()];
    net.outputs.iter().for_each(|&o| need[o] = 2);
    for u in (v + 1..net.sites.len()).rev() {
        let read_by_bootstrap = (0..net.sites.len()).any(|w| net.sites[w].args.contains(&u) && matches!(choices[w], Choice::Refreshed(_)));
        let wants = match (&net.sites[u].op, choices[u]) {
            (SiteOp::Activation { .. }, Choice::Refreshed(_)) => 3,
            (SiteOp::Activation { .. }, _) => need[u] + 4,
            (SiteOp::Linear(..), _) => need[u] + usize::from(!read_by_bootstrap),
            _ => need[u],
        };
        net.sites[u].args.iter().for_each(|&a| need[a] = need[a].max(wants));
    }
    let Choice::Refreshed(l) = choices[v] else { return true };
    l >= need[v] && ring.chain >= 15 + l
}

#[test]
fn the_search_graph_can_be_looked_at() {
    let net = resnet(8, &[1], &[2], 15);
    let all = rings(15, &CompileOptions::default(), &Facts);
    let ring = all.last().unwrap();
    let v = search_graph(&net, ring, &CostModel::default());
    assert_eq!(v.graph[v.start], format!("{}: %{}≥2", net.sites.len(), net.sites.len() - 1));
    assert!(v.graph.edge_count() >= v.graph.node_count() - 1);
    assert!(v.graph.node_weights().any(|w| w == "0: "));
}

/// The error of activations without a bootstrap counts: the first one is worth it, and the second
/// gets a bootstrap that time alone would not give it.
#[test]
fn the_second_activation_is_bootstrapped_for_its_accuracy() {
    let (cost, opts) = (CostModel::default(), CompileOptions::default());
    let levelled = |p: &Placement| p.choices.iter().filter(|c| **c == Choice::Levelled).count();
    let fast = place(resnet20, &[15], &opts, &Facts, &cost).unwrap();
    let good = place(|log_n| resnet20(log_n).priced(fast.seconds), &[15], &opts, &Facts, &cost).unwrap();
    println!("{}\n{}", show(&resnet20(15), &fast), show(&resnet20(15), &good));
    assert_eq!((levelled(&fast), levelled(&good)), (2, 1));
    assert!(good.seconds < 1.12 * fast.seconds, "{} {}", good.seconds, fast.seconds);
    // The prices of all but the first are the same, and that of the first is less.
    let net = resnet20(15).priced(100.0);
    let prices: Vec<f64> = net.sites.iter().filter(|s| matches!(s.op, SiteOp::Activation { .. })).map(|s| s.price).collect();
    assert!(prices[0] > 0.0 && prices[0] < prices[1] && prices[1..].iter().all(|p| *p == prices[1]), "{prices:?}");
    // Behind bootstraps nothing is paid.
    let all = greedy(&net, rings(15, &opts, &Facts).last().unwrap(), &cost).unwrap();
    let paid: f64 = net.sites.iter().zip(&all.choices).filter(|(_, c)| **c == Choice::Levelled).map(|(s, _)| s.price).sum();
    assert!((all.price - paid).abs() < 1e-9 && paid > 0.0, "{} {paid}", all.price);
}
