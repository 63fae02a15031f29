"""What is written agrees with what there is: docstrings, types, the example, the notebook."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import chiffre
from conftest import MODELS, ROOT

HERE = Path(__file__).resolve().parents[1]


def public(what: object, name: str):
    """Public names below something, with what they are."""
    for inner in vars(what):
        if not inner.startswith("_"):
            yield f"{name}.{inner}", getattr(what, inner)


def test_every_public_name_has_a_docstring():
    bare = []
    for name in chiffre.__all__:
        thing = getattr(chiffre, name)
        if name == "__version__":
            continue
        names = [(name, thing), *(public(thing, name) if inspect.isclass(thing) else [])]
        bare += [n for n, what in names if not (inspect.getdoc(what) or "").strip() and not isinstance(what, (str, tuple))]
    assert bare == []
    assert chiffre.__doc__ and chiffre.Program.__doc__ != object.__doc__


def test_the_readme_shows_the_example():
    example = (HERE / "examples" / "encrypted.py").read_text()
    assert f"```python\n{example}```" in (HERE / "README.md").read_text()


def test_the_readme_of_the_project_runs(monkeypatch, capsys):
    blocks = [b.split("```")[0] for b in (ROOT / "README.md").read_text().split("```python\n")[1:]]
    assert len(blocks) == 1
    monkeypatch.chdir(ROOT)
    exec(compile(blocks[0], "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("[")


def test_the_example_runs(tmp_path):
    out = subprocess.run(
        [sys.executable, HERE / "examples" / "encrypted.py", MODELS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert out.returncode == 0 and "largest difference" in out.stdout, out.stderr


def mypy(*arguments: object) -> None:
    out = subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=HERE, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout + out.stderr


def test_types():
    pytest.importorskip("mypy")
    mypy("mypy", "--strict", "examples/encrypted.py", "chiffre")


def test_stubs():
    pytest.importorskip("mypy")
    mypy("mypy.stubtest", "chiffre._native", "--ignore-missing-stub", "--mypy-config-file", "pyproject.toml", "--concise")


def test_the_notebook_runs(tmp_path, monkeypatch):
    """The notebook in a kernel of its own, every cell in order, with what it shows."""
    for package in ["torch", "sklearn", "onnx", "nbclient", "ipykernel"]:
        pytest.importorskip(package)
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]))
    book = nbformat.read(ROOT / "examples" / "digits.ipynb", as_version=4)
    # An exception in a cell is one here, with the cell.
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [c for c in book.cells if c.cell_type == "code"]
    assert len(code) >= 8 and all(c.execution_count for c in code)
    shown = [o for c in code for o in c.outputs]
    pages = [o.data["text/html"] for o in shown if o.output_type == "execute_result" and "text/html" in o.data]
    assert any("<iframe sandbox" in page for page in pages), "a program shows its page"
    printed = "".join(o.text for o in shown if o.output_type == "stream")
    assert "as the network in the clear: " in printed and "128-bit" in printed + "".join(str(o.get("data")) for o in shown)
