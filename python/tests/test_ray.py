"""Many batches on a simulated Ray cluster: three nodes on this machine, each with its own raylet. Workers, nodes and the calling process
are killed, and answers have the bytes of one machine."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import chiffre
from chiffre import _native
from conftest import MODELS

# Nothing leaves this machine: no usage statistics, and loopback addresses.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_DEDUP_LOGS": "0"}
ray = pytest.importorskip("ray", reason="Ray is not installed: many batches on a cluster are not tested (pip install chiffre[ray])")

from ray.cluster_utils import Cluster  # noqa: E402

import chiffre.ray as many  # noqa: E402

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
BATCHES = 24


class Folder:
    """A program with keys, encrypted batches in a folder, and the answers that one machine gives."""

    def __init__(self, path: Path) -> None:
        self.path, self.program, self.keys, self.inputs = path, path / "p.chf", path / "eval.key", path / "in"
        self.inputs.mkdir()
        program = chiffre.compile(MODELS / "tiny_resnet.onnx", batch=8, log_n=12, allow_insecure=True)
        program.save(self.program)
        self.client = chiffre.Client(program)
        self.client.save_evaluation_keys(self.keys)
        images = np.load(MODELS / "tiny3_test.npz")["images"]
        server = chiffre.Server(program, self.keys)
        self.whole = {}
        began = time.monotonic()
        for i in range(BATCHES):
            batch, _ = self.client.encrypt(images[i : i + 1 + i % 3])
            batch.save(self.inputs / f"{i:02}.ct")
            self.whole[f"{i:02}.ct"] = bytes(server.run(batch))
        self.seconds = (time.monotonic() - began) / BATCHES

    def run(self, outputs: Path, inputs: Path | None = None, **options) -> many.Report:
        given = {"cpus": 1, "allow_insecure": True, **options}
        return many.run(self.program, self.keys, inputs or self.inputs, outputs, **given)

    def check(self, outputs: Path, but: tuple[str, ...] = ()) -> None:
        there = {p.name: p.read_bytes() for p in outputs.glob("*.ct")}
        assert there == {name: data for name, data in self.whole.items() if name not in but}


def rows(report: many.Report) -> list[dict]:
    return [json.loads(line) for line in report.manifest.read_text().splitlines()][1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Folder:
    return Folder(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def nodes():
    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    made.workers = [made.add_node(**NODE) for _ in range(3)]
    yield made
    made.shutdown()


@pytest.fixture
def cluster(nodes):
    ray.init(address=nodes.address, log_to_driver=False)
    assert all(node["NodeManagerAddress"] == "127.0.0.1" for node in ray.nodes())
    yield nodes
    ray.shutdown()


def test_batches_on_three_nodes(cluster, folder, tmp_path):
    seen = []
    cache = str(tmp_path / "cache" / "{node}")
    report = folder.run(tmp_path / "out", cache=cache, progress=lambda r, left: seen.append((r.done, left)))
    assert (report.batches, report.done, report.kept, report.failed) == (BATCHES, BATCHES, 0, {}) and "0 set aside" in str(report)
    folder.check(tmp_path / "out")
    ended = rows(report)
    assert len({row["node"] for row in ended}) == 3, "every node has run some"
    assert report.images == sum(row["images"] for row in ended) == sum(1 + i % 3 for i in range(BATCHES))
    # Keys and program are fetched once per node, and prepared once per process.
    fetched = [line.split() for log in (tmp_path / "cache").glob("*/fetched.log") for line in log.read_text().splitlines()]
    assert len(fetched) == 6 and Counter(Path(source).name for *_, source in fetched) == {"p.chf": 3, "eval.key": 3}
    prepared = Counter(row["pid"] for row in ended if row["prepared"])
    assert set(prepared) == {row["pid"] for row in ended} and set(prepared.values()) == {1}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1] == (BATCHES, 0)
    # Again: nothing is run. Without the manifest what is there is found by looking.
    assert (folder.run(tmp_path / "out").kept, len(rows(report))) == (BATCHES, BATCHES)
    report.manifest.unlink()
    again = folder.run(tmp_path / "out")
    assert (again.kept, again.done) == (BATCHES, 0) and {row["state"] for row in rows(again)} == {"kept"}


def test_a_batch_that_always_fails_is_set_aside(cluster, folder, tmp_path):
    inputs = tmp_path / "in"
    inputs.mkdir()
    for path in folder.inputs.glob("0[0-5].ct"):
        (inputs / path.name).write_bytes(path.read_bytes())
    damaged = bytearray((inputs / "03.ct").read_bytes())
    damaged[-1] ^= 1
    (inputs / "03.ct").write_bytes(damaged)
    report = folder.run(tmp_path / "out", inputs)
    assert (report.done, list(report.failed)) == (5, ["03.ct"]) and "DamagedFile" in report.failed["03.ct"]
    failed = [row for row in rows(report) if row["state"] == "failed"]
    assert [(row["batch"], row["tries"]) for row in failed] == [("03.ct", 3)]
    assert "DamagedFile" in (tmp_path / "out" / "03.ct.failed").read_text()
    assert _native.batch_state(inputs / "03.ct", tmp_path / "out" / "03.ct")[0] == "failed"
    # The command says so with its exit code; repaired, the batch is all that is run.
    ray.shutdown()
    command = [str(folder.program), "--eval", str(folder.keys), "--inputs", str(inputs), "--outputs", str(tmp_path / "out"), "--cpus", "1"]
    command += ["--allow-insecure", "--address", cluster.address]
    assert many.main(command) == 1
    ray.shutdown()
    (inputs / "03.ct").write_bytes((folder.inputs / "03.ct").read_bytes())
    assert many.main(command) == 0
    assert (tmp_path / "out" / "03.ct").read_bytes() == folder.whole["03.ct"] and not (tmp_path / "out" / "03.ct.failed").exists()


def test_an_object_store(nodes, folder, tmp_path):
    """Batches, keys and answers in a bucket of a store that speaks S3: workers share nothing else."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed: batches in an object store are not tested (pip install moto[server] s3fs)")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: batches in an object store are not tested (pip install s3fs)")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    known = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": address}
    known |= {"FSSPEC_S3_ENDPOINT_URL": address, "FSSPEC_S3_SKIP_INSTANCE_CACHE": "true"}
    before = dict(os.environ)
    os.environ |= known
    try:
        store = s3fs.S3FileSystem(endpoint_url=address, skip_instance_cache=True)
        store.mkdir("bucket")
        for path in [folder.program, folder.keys]:
            store.put_file(str(path), f"bucket/{path.name}")
        for path in sorted(folder.inputs.glob("0[0-7].ct")):
            store.put_file(str(path), f"bucket/in/{path.name}")
        store.pipe_file("bucket/in/07.ct", folder.inputs.joinpath("07.ct").read_bytes()[:-1] + b"?")
        ray.init(address=nodes.address, log_to_driver=False, runtime_env={"env_vars": known})
        options = {"cpus": 1, "allow_insecure": True, "scratch": str(tmp_path / "{node}"), "manifest": tmp_path / "rows.jsonl"}
        run = lambda: many.run("s3://bucket/p.chf", "s3://bucket/eval.key", "s3://bucket/in", "s3://bucket/out", **options)  # noqa: E731
        report = run()
        assert (report.batches, report.done, list(report.failed)) == (8, 7, ["07.ct"])
        there = lambda: {p.rsplit("/", 1)[1]: store.cat_file(p) for p in store.ls("bucket/out", detail=False, refresh=True)}  # noqa: E731
        failed = there().pop("07.ct.failed")
        assert b"DamagedFile" in failed
        assert {n: d for n, d in there().items() if n.endswith(".ct")} == {f"{i:02}.ct": folder.whole[f"{i:02}.ct"] for i in range(7)}
        # Repaired, it is all that is run; a lost manifest loses nothing; another answer in the place of one is an error and stays.
        store.put_file(str(folder.inputs / "07.ct"), "bucket/in/07.ct")
        report = run()
        assert (report.kept, report.done, report.failed) == (7, 1, {}) and "07.ct.failed" not in there()
        (tmp_path / "rows.jsonl").unlink()
        store.pipe_file("bucket/out/00.ct", folder.whole["01.ct"])
        report = run()
        assert (report.kept, report.done, list(report.failed)) == (7, 0, ["00.ct"]) and "Mismatch" in report.failed["00.ct"]
        assert there()["00.ct"] == folder.whole["01.ct"]
        with pytest.raises(chiffre.InputError, match="manifest="):
            many.run(folder.program, folder.keys, "s3://bucket/in", "s3://bucket/out")
        with pytest.raises(chiffre.InputError, match="both"):
            many.run(folder.program, folder.keys, "s3://bucket/in", tmp_path / "out")
    finally:
        ray.shutdown()
        server.stop()
        os.environ.clear()
        os.environ |= before


def when(condition, action) -> threading.Thread:
    """Does something as soon as a condition holds."""

    def wait() -> None:
        end = time.monotonic() + 300
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_workers_and_nodes_are_lost(cluster, folder, tmp_path):
    out = tmp_path / "out"
    killed = []

    def ended() -> list[dict]:
        path = out / "manifest.jsonl"
        return [json.loads(line) for line in path.read_text().split("\n")[1:-1]] if path.exists() else []

    def kill_a_worker() -> None:
        killed.append(ended()[-1]["pid"])
        os.kill(killed[0], signal.SIGKILL)

    def lose_a_node() -> None:
        cluster.remove_node(cluster.workers[0], allow_graceful=False)

    acts = [when(lambda: len(ended()) >= 4, kill_a_worker), when(lambda: len(ended()) >= 8, lose_a_node)]
    report = folder.run(out)
    for act in acts:
        act.join()
    assert (report.done + report.kept, report.failed) == (BATCHES, {}) and killed
    folder.check(out)
    # Each batch has ended once; what was lost was run again; nothing was run after its answer was there.
    assert sorted(row["batch"] for row in rows(report)) == sorted(folder.whole)
    assert sum(row["tries"] + row["losses"] for row in rows(report)) >= 1, "something was lost"
    assert killed[0] not in {row["pid"] for row in rows(report)[-5:]}
    assert not list(out.glob("*.partial-run"))


def test_nodes_join_and_leave_during_a_run(cluster, folder, tmp_path):
    """Begun where no node has room, so that batches wait, and the autoscaler of a real cluster would see them; then nodes come, and one
    of them leaves in good order."""
    from ray._raylet import GcsClient
    from ray.autoscaler.v2.sdk import get_cluster_resource_state

    for node in cluster.workers:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)
    ray.shutdown()
    ray.init(address=cluster.address, log_to_driver=False)
    out, demand, came = tmp_path / "out", [], []

    def waiting() -> int:
        state = get_cluster_resource_state(GcsClient(address=cluster.address))
        return sum(request.count for request in state.pending_resource_requests)

    def ended() -> int:
        path = out / "manifest.jsonl"
        return len(path.read_text().splitlines()) - 1 if path.exists() else 0

    # Ray starts nodes in the main thread only: the run goes on in another one.
    reports: list[many.Report] = []
    runner = threading.Thread(target=lambda: reports.append(folder.run(out)), daemon=True)
    runner.start()

    def until(condition) -> None:
        end = time.monotonic() + 120
        while not condition():
            assert runner.is_alive() and time.monotonic() < end, "the run has ended, or nothing happens"
            time.sleep(0.05)

    until(lambda: waiting() >= 2)
    demand.append(waiting())
    came.append(cluster.add_node(**NODE))
    until(lambda: ended() >= 4)
    came.append(cluster.add_node(**NODE))
    until(lambda: ended() >= 12)
    cluster.remove_node(came[0], allow_graceful=True)
    runner.join(120)
    assert reports, "the run does not end"
    report = reports[0]
    cluster.workers = [came[1], cluster.add_node(**NODE), cluster.add_node(**NODE)]
    assert demand and demand[0] >= 2, "what waits is visible"
    assert (report.done + report.kept, report.failed) == (BATCHES, {})
    folder.check(out)
    ran = [row["node"] for row in rows(report)]
    assert {came[0].node_id, came[1].node_id} == set(ran) and ran[-1] == came[1].node_id


MANY = """
import resource, sys, ray, chiffre.ray
ray.init(address=sys.argv[1], log_to_driver=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = chiffre.ray.run(*sys.argv[2:6], cpus=1, allow_insecure=True, manifest=sys.argv[6])
print(report.batches, report.done + report.kept, before // 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.skipif("CHIFFRE_SLOW" not in os.environ, reason="10,000 batches take minutes: CHIFFRE_SLOW=1 asks for them")
def test_the_calling_process_stays_small(cluster, folder, tmp_path):
    """10,000 batches, all of them with an answer but for ten: each is a task all the same, since there is no manifest that names it."""
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    out.mkdir()
    (out / "00.ct").write_bytes(folder.whole["00.ct"])
    for i in range(10_000):
        os.link(folder.inputs / "00.ct", inputs / f"{i:05}.ct")
        if i % 1000:
            os.link(out / "00.ct", out / f"{i:05}.ct")
    (out / "00.ct").unlink()
    arguments = [sys.executable, "-c", MANY, cluster.address, *map(str, [folder.program, folder.keys, inputs, out, tmp_path / "m.jsonl"])]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    batches, ended, before, peak = map(int, ran.stdout.split())
    print(f"peak of the calling process {peak} MiB, {before} MiB before the run")
    assert batches == ended == 10_000 and peak <= 300, ran.stdout


DRIVER = """
import sys, ray, chiffre.ray
ray.init(address=sys.argv[1], log_to_driver=False)
print(chiffre.ray.run(*sys.argv[2:6], cpus=1, allow_insecure=True))
"""


def test_the_calling_process_is_killed_and_goes_on(cluster, folder, tmp_path):
    out = tmp_path / "out"
    arguments = [sys.executable, "-c", DRIVER, cluster.address, *map(str, [folder.program, folder.keys, folder.inputs, out])]
    first = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    when(lambda: (out / "manifest.jsonl").exists() and len((out / "manifest.jsonl").read_text().splitlines()) > 5, first.kill).join()
    assert first.wait() == -signal.SIGKILL
    before = [row["batch"] for row in map(json.loads, (out / "manifest.jsonl").read_text().splitlines()[1:])]
    assert 5 <= len(before) < BATCHES
    second = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)
    assert second.returncode == 0, second.stderr
    folder.check(out)
    ended = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()[1:]]
    assert [row["batch"] for row in ended[: len(before)]] == before and len({row["batch"] for row in ended}) == len(ended) == BATCHES


def test_what_does_not_belong_is_refused_before_anything_starts(cluster, folder, tmp_path):
    ray.shutdown()
    with pytest.raises(chiffre.InputError, match="ray.init"):
        folder.run(tmp_path / "out")
    ray.init(address=cluster.address, log_to_driver=False)
    program = chiffre.Program.load(folder.program, allow_insecure=True)
    other = chiffre.Client(program)
    inputs = tmp_path / "in"
    inputs.mkdir()
    other.encrypt(np.load(MODELS / "tiny3_test.npz")["images"][:1])[0].save(inputs / "a.ct")
    (inputs / "b.ct").write_bytes((folder.inputs / "00.ct").read_bytes())
    for options, error, match in [
        ({"inputs": inputs}, chiffre.MismatchError, "1 of 2 batches.*a.ct was made under another secret key"),
        ({"inputs": tmp_path / "none"}, chiffre.FileError, "cannot read"),
        ({"cpus": 0}, chiffre.InputError, "at least 1"),
        ({"memory": 1 << 60}, chiffre.InputError, "no node has"),
        ({"allow_insecure": False}, chiffre.SecurityError, "allow_insecure"),
    ]:
        with pytest.raises(error, match=match):
            folder.run(tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*.ct"))
    (tmp_path / "m.jsonl").write_text('{"program": "x", "keys": "y"}\n')
    with pytest.raises(chiffre.MismatchError, match="another program or other keys"):
        folder.run(tmp_path / "out", manifest=tmp_path / "m.jsonl")


def test_a_second_answer_is_the_same_or_an_error(folder, tmp_path):
    program = chiffre.Program.load(folder.program, allow_insecure=True)
    answers = [chiffre.Result.from_bytes(program, folder.whole[f"{i:02}.ct"]) for i in [0, 3]]
    _native.batch_store(answers[0], folder.inputs / "00.ct", tmp_path / "00.ct")
    _native.batch_store(answers[0], folder.inputs / "00.ct", tmp_path / "00.ct")
    with pytest.raises(chiffre.RunFailed, match="one of the machines is faulty"):
        _native.batch_store(answers[1], folder.inputs / "00.ct", tmp_path / "00.ct")
    assert (tmp_path / "00.ct").read_bytes() == folder.whole["00.ct"]


def test_nothing_in_the_module_can_name_a_secret():
    tree = ast.parse(Path(many.__file__).read_text())
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "_native" for a in n.names}
    assert imported == {"Batch", "Program", "Server"}
    assert not {n for n in names if any(word in n.lower() for word in ("client", "secret", "encrypt", "decrypt"))}
