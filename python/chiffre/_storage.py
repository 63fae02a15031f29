"""Folders of files that workers share: one that all nodes see, or a bucket of an object store by its URL (`s3://…`, by fsspec).

An object store has no renames and no locks. A worker copies a batch to a folder of its own node, runs it there with its journal, and puts the
answer into the bucket in one piece; an answer that somebody has put there before has to have the same bytes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from ._errors import InputError, MismatchError

__all__ = ["is_url", "Bucket"]


def is_url(path: str | os.PathLike[str]) -> bool:
    """True for what names an object store."""
    return isinstance(path, str) and "://" in path


class Bucket:
    """A folder of an object store."""

    store: Any

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as e:
            raise InputError(f"{url} needs fsspec and its client of this store: pip install fsspec s3fs") from e
        self.url = url.rstrip("/")
        try:
            self.store, self.root = url_to_fs(self.url)
        except (ImportError, ValueError) as e:  # no client for this kind of store
            raise InputError(f"{url}: {e}") from e

    def names(self, ending: str) -> list[str]:
        """The names of the files that end so, in order."""
        self.store.invalidate_cache()
        try:
            found = self.store.ls(self.root, detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for name in (path.rstrip("/").rsplit("/", 1)[-1] for path in found) if name.endswith(ending))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def has(self, name: str) -> bool:
        """True if there is a file of this name."""
        self.store.invalidate_cache()
        return bool(self.store.exists(self._path(name)))

    def fetch(self, name: str, to: Path) -> None:
        """Copies a file to a disk. It takes its name when it is complete."""
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=to.parent, suffix=".partial")
        os.close(handle)
        try:
            self.store.get_file(self._path(name), partial)
            os.replace(partial, to)
        except BaseException:
            os.unlink(partial)
            raise

    def put(self, name: str, source: Path) -> None:
        """Puts a file there in one piece, unless the same file is there; another one in its place is an error."""
        if self.has(name):
            there, ours = (hashlib.sha256(data).digest() for data in (self.read(name), source.read_bytes()))
            if there != ours:
                raise MismatchError(f"{self.url}/{name} has other bytes than this run's answer: answers to one batch are equal on all machines")
            return
        self.write(name, source.read_bytes())

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return bytes(self.store.cat_file(self._path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Puts bytes there in one piece."""
        self.store.pipe_file(self._path(name), data)

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        if self.has(name):
            self.store.rm_file(self._path(name))
