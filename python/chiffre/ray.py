"""Many encrypted batches on a Ray cluster: `run` divides the files of a folder among tasks, which share a folder and nothing else.

Every task runs one batch, with evaluation keys only: nothing here can name a secret key, and no ciphertext passes through the process that
calls `run`. `python -m chiffre.ray --help` is the same as a command.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _native
from ._errors import InputError, MismatchError, RunFailed
from ._native import Batch, Program, Server
from ._storage import Bucket, is_url

try:
    import ray
    from ray.exceptions import NodeDiedError, RayError, RayTaskError
except ImportError as missing:
    raise ImportError("chiffre.ray needs Ray: pip install chiffre[ray]") from missing

__all__ = ["Report", "run"]

# Failures of a batch before it is set aside.
_TRIES = 3
# Losses of the node that a batch was on, which are no fault of the batch, before it is set aside all the same.
_LOSSES = 10
# Seconds between two looks at what has ended, and at how many workers there are.
_LOOK_S = 1.0


@dataclass(frozen=True)
class _Job:
    """What all tasks of a run have in common: names of things, not the things."""

    program: str
    program_digest: str
    keys: str
    keys_digest: str
    cache: str | None
    scratch: str | None
    threads: int
    checkpoint_every: float
    allow_insecure: bool
    version: str


@dataclass
class Report:
    """What has become of all batches."""

    batches: int
    """Batches in all."""
    done: int = 0
    """Batches that were run now."""
    kept: int = 0
    """Batches whose answers were there before."""
    failed: dict[str, str] = field(default_factory=dict)
    """Names of batches that were set aside, with their errors; another call tries them again."""
    images: int = 0
    """Images of the batches that were run now."""
    seconds: float = 0.0
    """From the call to its end."""
    manifest: Path = Path()
    """The rows of all batches that have ended, one JSON object in each line."""

    def __str__(self) -> str:
        rate = f", {self.images / self.seconds:.2f} images/s" if self.images else ""
        return (
            f"{self.done} batches run ({self.images} images in {self.seconds:.1f} s{rate}), {self.kept} done before, "
            f"{len(self.failed)} set aside"
        )


# The program and the server of this worker process, by program, keys and threads: prepared once, kept while the process lives.
_ready: dict[tuple[str, str, int], tuple[Program, Server]] = {}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits for the lock of this name on this node, and holds it; where there are no locks, everybody copies."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _folder_of_node(pattern: str) -> Path:
    """A folder of this node's own disk."""
    return Path(pattern.replace("{node}", ray.get_runtime_context().get_node_id()))


def _scratch(job: _Job) -> str:
    """Where files of an object store are copied to."""
    return job.scratch or str(Path(tempfile.gettempdir()) / "chiffre")


def _fetch(url: str, to: Path) -> None:
    """Copies one file of an object store to a disk."""
    folder, _, name = url.rpartition("/")
    Bucket(folder).fetch(name, to)


def _on_this_node(job: _Job, source: str, digest: str) -> Path:
    """A copy of a file on a disk of this node, under the name of its content; made by the first task that needs it. Whoever reads the
    copy checks that it is whole."""
    cache = job.cache or (_scratch(job) if is_url(source) else None)
    if cache is None:
        return Path(source)
    folder = _folder_of_node(cache)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = folder / f"{digest}.chf"
    with _locked(folder / f"{digest}.lock"):
        if not copy.exists():
            handle, name = tempfile.mkstemp(dir=folder, suffix=".partial")
            os.close(handle)
            try:
                if is_url(source):
                    _fetch(source, Path(name))
                else:
                    shutil.copyfile(source, name)
                os.replace(name, copy)
            except BaseException:
                os.unlink(name)
                raise
            with (folder / "fetched.log").open("a") as log:
                log.write(f"{os.getpid()} {digest} {source}\n")
    return copy


def _prepared(job: _Job) -> tuple[Program, Server, bool]:
    """The program and the server of this process, and whether they were made now."""
    key = (job.program_digest, job.keys_digest, job.threads)
    made = key not in _ready
    if made:
        # One at a time: another program's keys may be as large as the memory that is left.
        _ready.clear()
        program = Program.load(_on_this_node(job, job.program, job.program_digest), threads=job.threads, allow_insecure=job.allow_insecure)
        _ready[key] = (program, Server(program, _on_this_node(job, job.keys, job.keys_digest)))
    return (*_ready[key], made)


def _answer(job: _Job, input: str, output: str) -> dict[str, Any]:
    """Runs one batch on whatever worker this is, unless its answer is there."""
    if job.version != _native.__version__:
        raise RunFailed(f"this worker has chiffre {_native.__version__}, and the run was begun by {job.version}: install the same everywhere")
    row: dict[str, Any] = {"node": ray.get_runtime_context().get_node_id(), "pid": os.getpid()}
    state, why = _native.batch_state(input, output)
    while state == "running":
        # By a process whose node was given up for lost, or by another call: it is not disturbed, and if it ends without an answer its
        # journal is taken over.
        time.sleep(_LOOK_S)
        state, why = _native.batch_state(input, output)
    if state == "done":
        return {**row, "state": "kept"}
    if state == "foreign":
        raise MismatchError(why or "another file has the name of the answer")
    began = time.monotonic()
    program, server, prepared = _prepared(job)
    ready = time.monotonic()
    batch = Batch.load(program, input)
    result = server.run(batch, journal=f"{output}.partial-run", checkpoint_every=job.checkpoint_every)
    _native.batch_store(result, input, output)
    end = time.monotonic()
    return {**row, "state": "done", "images": batch.images, "prepared": prepared, "start_s": ready - began, "run_s": end - ready}


def _answer_in_store(job: _Job, inputs: str, outputs: str, name: str) -> dict[str, Any]:
    """As `_answer`, for a batch in an object store: it is run on a disk of this node, with its journal there."""
    place = hashlib.sha256(f"{job.program_digest} {job.keys_digest} {inputs} {outputs}".encode()).hexdigest()[:32]
    folder = _folder_of_node(_scratch(job)) / place
    batch, answer = folder / "in" / name, folder / "out" / name
    answer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = Bucket(outputs)
    with _locked(folder / f"{name}.lock"):
        Bucket(inputs).fetch(name, batch)
        if there.has(name):
            there.fetch(name, answer)
        row = _answer(job, str(batch), str(answer))
        there.put(name, answer)
        there.remove(f"{name}.failed")
        for path in (batch, answer):
            path.unlink(missing_ok=True)
    return row


class _Manifest:
    """The rows of batches that have ended, one JSON object in each line behind a first one that names program and keys. It is where a call
    goes on that was interrupted: what it says is done is not looked at again."""

    def __init__(self, path: Path, job: _Job) -> None:
        self.path = path
        self.done: set[str] = set()
        head = {"program": job.program_digest, "keys": job.keys_digest}
        whole = 0
        if path.exists():
            for i, line in enumerate(path.read_bytes().split(b"\n")[:-1]):
                try:
                    row = json.loads(line)
                except ValueError as e:
                    raise InputError(f"{path}: line {i + 1} is no JSON: remove the file, and what is done is found again") from e
                if i == 0 and row != head:
                    raise MismatchError(f"{path} is the manifest of a run with another program or other keys: give another one (manifest=)")
                if row.get("state") in ("done", "kept"):
                    self.done.add(row["batch"])
                whole += len(line) + 1
        self.file = path.open("r+b" if path.exists() else "w+b")
        # A last line without an end is of a process that was killed while it wrote.
        self.file.truncate(whole)
        self.file.seek(0, os.SEEK_END)
        if whole == 0:
            self.write(head)

    def write(self, row: Mapping[str, Any]) -> None:
        self.file.write(json.dumps(row).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())


@dataclass
class _Task:
    """A batch on its way."""

    name: str
    input: Path
    output: Path
    errors: list[str] = field(default_factory=list)
    losses: int = 0


def _slots(cpus: float, memory: int) -> int:
    """Tasks that the nodes of the cluster have room for now."""

    def of(node: dict[str, float]) -> int:
        return int(min(node.get("CPU", 0) // cpus, node.get("memory", 0) // memory if memory else float("inf")))

    return sum(of(node["Resources"]) for node in ray.nodes() if node["Alive"])


def _local(path: str | os.PathLike[str], folder: Path) -> Path:
    """A file on this machine: itself, or a copy in a folder of what an object store has."""
    if not is_url(path):
        return Path(path).resolve()
    copy = folder / str(path).rpartition("/")[2]
    _fetch(str(path), copy)
    return copy


def run(
    program: str | os.PathLike[str],
    keys: str | os.PathLike[str],
    inputs: str | os.PathLike[str],
    outputs: str | os.PathLike[str],
    *,
    cpus: int = 2,
    memory: int | None = None,
    max_in_flight: int | None = None,
    cache: str | None = None,
    scratch: str | None = None,
    manifest: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 5.0,
    allow_insecure: bool = False,
    progress: Callable[[Report, float], object] | None = None,
) -> Report:
    """Runs a program on all encrypted batches of a folder (`*.ct`) or of a list (a path in each line), with the evaluation keys in a file,
    on the cluster that `ray.init` has connected to. Answers go to the folder `outputs`, each under the name of its batch.

    All paths are of a folder that every node sees. Batches and answers may also be in an object store, as URLs of folders of it, and program
    and keys as URLs of files: a worker then copies what it needs to `scratch`, a folder of its node's own disk, computes there, and puts the
    answer into the store in one piece; `manifest` is then a file of the calling process. `cpus` are the threads of a task, and `memory` its bytes: without a number, what the
    program is predicted to need, so that no node takes two runs that do not fit. At most `max_in_flight` batches are with Ray at a time;
    without a number, twice as many as there is room for. With `cache`, a folder of each node's own disk (`{node}` in it becomes the
    node's id), program and keys are copied there once per node.

    A batch whose answer is there is not run again. One that fails three times, or whose node is lost ten times, is set aside: its error is
    kept beside the place of its answer, and the others go on. What has ended is in `manifest` (without a path, `manifest.jsonl` in
    `outputs`); the same call goes on where an interrupted one has ended. `progress` is called with the report so far and the seconds that
    the rest will take.

    Batches of another program or key, and other files in the place of answers, are refused before anything starts.
    """
    began = time.monotonic()
    if not ray.is_initialized():
        raise InputError("connect to a cluster first: ray.init(address=\"auto\"), or ray.init() for this machine alone")
    if cpus < 1 or (max_in_flight is not None and max_in_flight < 1):
        raise InputError("cpus and max_in_flight must be at least 1")
    stored = is_url(inputs)
    if stored != is_url(outputs):
        raise InputError("inputs and outputs are both folders that all nodes see, or both URLs of an object store")
    if stored and manifest is None:
        raise InputError("with an object store, give a file for the rows of what has ended (manifest=)")
    pairs = [] if stored else [(Path(a).resolve(), Path(b)) for a, b in _native.batch_pairs(Path(inputs).resolve(), Path(outputs).resolve())]
    with tempfile.TemporaryDirectory() as here:
        local = [_local(p, Path(here)) for p in (program, keys)]
        most, program_digest, keys_digest = _native.batch_check(local[0], local[1], pairs)
        loaded = Program.load(local[0], threads=1, allow_insecure=allow_insecure)
    if memory is None:
        # Of how many images the batches of a store are is not looked at.
        memory = loaded.predict(loaded.batch if stored else min(max(most, 1), loaded.batch)).peak_bytes
    del loaded
    bucket = Bucket(str(outputs)) if stored else None
    if bucket:
        tasks = [_Task(name, Path(name), Path(name)) for name in Bucket(str(inputs)).names(".ct")]
        if not tasks:
            raise InputError(f"{inputs} has no encrypted batches (*.ct)")
        answered = set(bucket.names(".ct"))
    else:
        outputs = Path(outputs).resolve()
        outputs.mkdir(parents=True, exist_ok=True)
        tasks = [_Task(output.name, input, output) for input, output in pairs]
        answered = {task.name for task in tasks if task.output.exists()}
    sources = [str(p) if is_url(p) else str(Path(p).resolve()) for p in (program, keys)]
    version = _native.__version__
    job = _Job(sources[0], program_digest, sources[1], keys_digest, cache, scratch, cpus, checkpoint_every, allow_insecure, version)
    rows = _Manifest(Path(manifest) if manifest else Path(outputs) / "manifest.jsonl", job)
    report = Report(len(tasks), manifest=rows.path)

    todo = deque(task for task in tasks if not (task.name in rows.done and task.name in answered))
    report.kept = len(tasks) - len(todo)
    fits = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if todo and 0 < fits < memory:
        raise InputError(f"no node has the {memory} bytes that a run is predicted to need; the largest has {fits:.0f}: a smaller batch, or memory=")

    # Tasks, not actors: one whose node is gone runs on another. Ray repeats nothing by itself, so that a batch which kills its worker ends.
    remote = ray.remote(_answer_in_store if stored else _answer)
    answer = remote.options(num_cpus=cpus, memory=memory, max_retries=0, scheduling_strategy="SPREAD")
    flying: dict[Any, _Task] = {}
    while todo or flying:
        limit = max_in_flight or max(2 * _slots(cpus, memory), 2)
        while todo and len(flying) < limit:
            task = todo.popleft()
            names = (str(inputs), str(outputs), task.name) if stored else (str(task.input), str(task.output))
            flying[answer.remote(job, *names)] = task
        ended, _ = ray.wait(list(flying), num_returns=1, timeout=_LOOK_S)
        for reference in ended:
            task = flying.pop(reference)
            try:
                row = ray.get(reference)
            except RayError as e:
                # What the task raised, without the trace of Ray's own code.
                cause = e.cause if isinstance(e, RayTaskError) else e
                if isinstance(e, NodeDiedError):
                    task.losses += 1
                else:
                    task.errors.append(f"{type(cause).__name__}: {str(cause).strip()}")
                if len(task.errors) < _TRIES and task.losses < _LOSSES:
                    todo.append(task)
                    continue
                error = task.errors[-1] if task.errors else f"the node that it ran on was lost {task.losses} times: {e}"
                if bucket:
                    bucket.write(f"{task.name}.failed", error.encode())
                else:
                    _native.batch_set_aside(task.input, task.output, error)
                report.failed[task.name] = error
                row = {"state": "failed", "error": error}
            else:
                report.done += row["state"] == "done"
                report.kept += row["state"] == "kept"
                report.images += row.get("images", 0)
            rows.write({"batch": task.name, **row, "tries": len(task.errors), "losses": task.losses, "at": time.time()})
        report.seconds = time.monotonic() - began
        if progress and ended:
            left = len(todo) + len(flying)
            progress(report, left * report.seconds / max(report.done + len(report.failed), 1))
    return report


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m chiffre.ray`."""
    parser = argparse.ArgumentParser(prog="python -m chiffre.ray", description="Run a program on many encrypted batches on a Ray cluster.")
    parser.add_argument("program", help="the program")
    parser.add_argument("--eval", required=True, help="the evaluation keys")
    parser.add_argument("--inputs", required=True, help="encrypted batches: a folder (*.ct), or a text file with a path in each line")
    parser.add_argument("--outputs", required=True, help="the folder for encrypted answers")
    parser.add_argument("--address", default="auto", help="the cluster [default: the one of this machine]")
    parser.add_argument("--cpus", type=int, default=2, help="threads of a task [default: 2]")
    parser.add_argument("--memory", type=int, help="bytes of a task [default: as predicted]")
    parser.add_argument("--max-in-flight", type=int, help="batches that are with Ray at a time [default: twice the room]")
    parser.add_argument("--cache", help="a folder of each node's own disk for program and keys; {node} in it becomes the node's id")
    parser.add_argument("--scratch", help="a folder of each node's own disk for batches of an object store [default: that of temporary files]")
    parser.add_argument("--manifest", help="where rows go [default: OUTPUTS/manifest.jsonl]")
    parser.add_argument("--allow-insecure", action="store_true", help="accept a program with parameters below 128-bit security")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

    def show(report: Report, left: float) -> None:
        ended = report.done + report.kept + len(report.failed)
        print(f"{ended} of {report.batches} batches, about {left:.0f} s left", file=sys.stderr)

    try:
        ray.init(address=asked.address, log_to_driver=False)
        report = run(
            asked.program,
            asked.eval,
            asked.inputs,
            asked.outputs,
            cpus=asked.cpus,
            memory=asked.memory,
            max_in_flight=asked.max_in_flight,
            cache=asked.cache,
            scratch=asked.scratch,
            manifest=asked.manifest,
            allow_insecure=asked.allow_insecure,
            progress=show,
        )
    except (ValueError, OSError, ConnectionError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    print(report)
    for name, error in report.failed.items():
        print(f"{name}: {error}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    # Under its own name, by which workers import it.
    from chiffre.ray import main as command

    sys.exit(command())
