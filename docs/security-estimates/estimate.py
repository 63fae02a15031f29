"""Costs of the known lattice attacks on every kind of parameters that the compiler may choose.

    sage -python docs/security-estimates/estimate.py ESTIMATOR [NAME…] > docs/security-estimates/estimates.jsonl

ESTIMATOR is a checkout of https://github.com/malb/lattice-estimator at the commit that the output
names. One line of JSON per parameter set: the set, log2 of the operations of each attack, and the
least of them. With names, only those sets are estimated.

Main secret: uniform ternary, at the largest modulus that `params/src/security.rs` allows for each
ring degree. Ephemeral secret: ternary of weight 32, 64 or 128, at the modulus that the default
plan has (the bottom prime times one special prime) and at the bound.
"""

import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

ESTIMATOR = sys.argv[1]
sys.path.insert(0, ESTIMATOR)

from estimator import LWE, ND  # noqa: E402

# log2 of the ring degree, largest log2 of the modulus with all special primes.
MAIN = {10: 26, 11: 53, 12: 106, 13: 214, 14: 430, 15: 868, 16: 1747, 17: 3523}
# log2 of the ring degree, log2 of the modulus of the only key under the ephemeral secret.
EPHEMERAL = {15: (67, 111), 16: (67, 121)}
WEIGHTS = (32, 64, 128)
SIGMA = 3.2


def sets():
    """Name, ring degree, log2 of the modulus, weight (none for the uniform ternary secret)."""
    for log_n, bits in MAIN.items():
        yield f"main-{log_n}", log_n, bits, None
    for log_n, moduli in EPHEMERAL.items():
        for bits in moduli:
            for weight in WEIGHTS:
                yield f"ephemeral-{log_n}-{bits}-{weight}", log_n, bits, weight


def attacks(weight):
    """Attacks by name. Hybrid attacks guess a part of the secret; they count where it is sparse."""
    yield "usvp", lambda p: LWE.primal_usvp(p)
    yield "dual_hybrid", lambda p: LWE.dual_hybrid(p)
    if weight is not None:
        yield "bdd_hybrid", lambda p: LWE.primal_hybrid(p, mitm=False, babai=False)
        yield "bdd_mitm_hybrid", lambda p: LWE.primal_hybrid(p, mitm=True, babai=True)


def estimate(job):
    name, log_n, bits, weight, attack = job
    n = 2**log_n
    secret = ND.UniformMod(3) if weight is None else ND.SparseTernary(weight // 2, weight // 2, n)
    parameters = LWE.Parameters(n=n, q=2**bits, Xs=secret, Xe=ND.DiscreteGaussian(SIGMA), tag=name)
    start = time.time()
    cost = dict(attacks(weight))[attack](parameters)
    return round(math.log2(cost["rop"]), 1), round(time.time() - start)


def main():
    wanted = sys.argv[2:]
    commit = subprocess.run(["git", "-C", ESTIMATOR, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    chosen = [s for s in sets() if not wanted or s[0] in wanted]
    jobs = [(*s, attack) for s in chosen for attack, _ in attacks(s[3])]
    with ProcessPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        found = pool.map(estimate, jobs)
        for name, log_n, bits, weight in chosen:
            costs = {attack: next(found) for attack, _ in attacks(weight)}
            line = {
                "name": name,
                "log_n": log_n,
                "log_q": bits,
                "weight": weight,
                "bits": {attack: cost for attack, (cost, _) in costs.items()},
                "least": min(cost for cost, _ in costs.values()),
                "seconds": sum(seconds for _, seconds in costs.values()),
                "estimator": commit,
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
