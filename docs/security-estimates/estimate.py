"""Costs of the known lattice attacks on every kind of parameters that the compiler may choose.

    sage -python docs/security-estimates/estimate.py ESTIMATOR OUTPUT [NAME…]

ESTIMATOR is a checkout of https://github.com/malb/lattice-estimator at the commit that the output
names; Sage is Debian's package `sagemath`. OUTPUT is docs/security-estimates/estimates.jsonl: one
line of JSON for each attack on each parameter set, with log2 of its operations, or null where the
estimator finds no choice with which the attack succeeds. A line is added as soon as it is known,
and what OUTPUT has already is not estimated again, so that the script goes on where it was stopped.
With names, only those sets are estimated. `JOBS=n` estimates n attacks at a time, `TIMEOUT=s` gives
up an attack after s seconds; what is given up has no line.

Main secret: uniform ternary, at the largest modulus that `params/src/security.rs` allows for each
ring degree. Ephemeral secret: ternary of weight 32, 64 or 128, at the modulus of the only key under
it (the bottom prime of 30 bits times a special prime of 37) and at the bound of the same file. The
tests of `params` compare the bounds with OUTPUT.
"""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

ESTIMATOR, OUTPUT = sys.argv[1:3]
sys.path.insert(0, ESTIMATOR)

from estimator import LWE, ND  # noqa: E402
from estimator.lwe_dual import dual_hybrid as sparse_dual_hybrid  # noqa: E402
from sage.all import RR, oo  # noqa: E402

# log2 of the ring degree, largest log2 of the modulus with all special primes. The rings of real
# networks come first.
MAIN = {15: 868, 16: 1747, 14: 430, 13: 214, 12: 106, 11: 53, 10: 26, 17: 3523}
# log2 of the ring degree, log2 of the modulus of the key under the ephemeral secret, and the bound.
KEY_BITS = 67
EPHEMERAL_BOUND = {15: 111, 16: 121}
WEIGHTS = (32, 64, 128)
SIGMA = 3.2

# Hybrid attacks guess a part of the secret, one value after the other or by meeting in the middle.
QUICK = {
    "usvp": lambda p: LWE.primal_usvp(p),
    "dual_hybrid": lambda p: LWE.dual_hybrid(p),
}
# They count where the secret is sparse.
SPARSE = {
    "dual_guess_hybrid": lambda p: sparse_dual_hybrid(p),
    "dual_mitm_hybrid": lambda p: sparse_dual_hybrid(p, mitm_optimization=True),
}
# Minutes to hours each.
SLOW = {
    "bdd_hybrid": lambda p: LWE.primal_hybrid(p, mitm=False, babai=False),
    "bdd_mitm_hybrid": lambda p: LWE.primal_hybrid(p, mitm=True, babai=True),
}
ATTACKS = QUICK | SPARSE | SLOW


def ephemeral(moduli):
    """Name, log2 of the ring degree, log2 of the modulus, weight."""
    return [(f"ephemeral-{n}-{bits}-{w}", n, bits, w) for n, bits in moduli.items() for w in WEIGHTS]


def jobs():
    """What matters most and is quick comes first: each set, and the name of an attack."""
    chosen = ephemeral({15: KEY_BITS, 16: KEY_BITS})
    main_sets = [(f"main-{log_n}", log_n, bits, None) for log_n, bits in MAIN.items()]
    bounds = ephemeral(EPHEMERAL_BOUND)
    order = [
        (chosen, QUICK | SPARSE),
        (main_sets, QUICK),
        (bounds, QUICK | SPARSE),
        (chosen, SLOW),
        (main_sets, {"bdd_hybrid": None}),
        (bounds, SLOW),
    ]
    return [(*s, attack) for some, attacks in order for attack in attacks for s in some]


def give_up(_signal, _frame):
    raise TimeoutError


def estimate(name, log_n, bits, weight, attack):
    n = 2**log_n
    secret = ND.UniformMod(3) if weight is None else ND.SparseTernary(weight // 2, weight // 2, n)
    parameters = LWE.Parameters(n=n, q=2**bits, Xs=secret, Xe=ND.DiscreteGaussian(SIGMA), tag=name)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(int(os.environ.get("TIMEOUT", "0")))
    start = time.time()
    cost = ATTACKS[attack](parameters)
    signal.alarm(0)
    # Beyond the range of floats of 64 bits, within that of Sage's.
    bits = None if cost["rop"] == oo else round(float(RR(cost["rop"]).log2()), 2)
    return bits, round(time.time() - start)


def known():
    """Name and attack of the lines that are there."""
    if not os.path.exists(OUTPUT):
        return set()
    with open(OUTPUT) as lines:
        return {(line["name"], line["attack"]) for line in map(json.loads, lines)}


def main():
    wanted = sys.argv[3:]
    git = ["git", "-C", ESTIMATOR, "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    done = known()
    todo = [j for j in jobs() if (j[0], j[4]) not in done and (not wanted or j[0] in wanted)]
    with ProcessPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        running = {pool.submit(estimate, *job): job for job in todo}
        for future in as_completed(running):
            name, log_n, bits, weight, attack = running[future]
            try:
                cost, seconds = future.result()
            except Exception as e:
                print(f"{name}, {attack}: no estimate: {e!r}", file=sys.stderr, flush=True)
                continue
            line = {"name": name, "log_n": log_n, "log_q": bits, "weight": weight, "attack": attack,
                    "bits": cost, "seconds": seconds, "estimator": commit}
            with open(OUTPUT, "a") as out:
                out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
