"""Write a pack's files into a directory, all or none, and nobody else's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from exporter import __version__

# Lists what was written, so that a later pack may replace that and nothing that was edited since.
MANIFEST = "pack.json"
STAGING = ".pack-"  # how the directory is named in which a pack is made ready
NAMED = 5  # files in an error; more do not help


class PackError(Exception):
    """The pack cannot be written; nothing has changed. The message says why and what to do."""


def write(directory: Path, files: Mapping[str, str]) -> None:
    """Write the files, text by relative path; a pack that is there already is replaced.

    Raises PackError where the directory holds anything but an unedited pack, and OSError; in both cases all is as
    it was before.
    """
    before = _replaceable(directory)
    manifest = {
        "version": __version__,
        "files": {path: _digest(text.encode()) for path, text in files.items()},
    }
    texts = {**files, MANIFEST: json.dumps(manifest, indent=2) + "\n"}  # the last to be replaced
    created = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    # Inside, since the directory may be a mount: what is complete is only renamed, which needs no space.
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=directory))
    try:
        _fill(staging / "new", texts)
        kept = before | ({MANIFEST} if (directory / MANIFEST).exists() else set())
        for path in kept:
            (staging / "old" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(directory / path, staging / "old" / path)
        try:
            _replace(staging / "new", directory, texts, before)
        except BaseException:
            _restore(staging / "old", directory, kept, texts)
            raise
        finally:
            _prune(directory, before | texts.keys())
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if created:
            with suppress(OSError):  # not empty: it has been written
                directory.rmdir()


def _replace(new: Path, directory: Path, texts: Iterable[str], before: set[str]) -> None:
    for path in texts:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (new / path).replace(directory / path)
    for path in before - set(texts):
        (directory / path).unlink()


def _restore(old: Path, directory: Path, kept: set[str], texts: Iterable[str]) -> None:
    for path in kept:
        (old / path).replace(directory / path)
    for path in set(texts) - kept:
        with suppress(OSError):  # was not written, or is what stood in the way
            (directory / path).unlink()


def _prune(directory: Path, paths: Iterable[str]) -> None:
    """Remove directories that no longer hold anything, the deepest first."""
    for folder in sorted({folder for path in paths for folder in Path(path).parents[:-1]}, reverse=True):
        with suppress(OSError):
            (directory / folder).rmdir()


def _fill(staging: Path, texts: Mapping[str, str]) -> None:
    for path, text in texts.items():
        file = staging / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _replaceable(directory: Path) -> set[str]:
    """Return the files of the pack that is there; raises PackError where there is anything else."""
    if not directory.exists():
        return set()
    if not directory.is_dir():
        raise PackError(f"{directory} is a file, not a directory")
    found, folders = _found(directory)
    written = _written(directory)
    holding = {str(folder) for path in found | written.keys() for folder in Path(path).parents}
    if strangers := (found | folders - holding) - written.keys() - ({MANIFEST} if written else set()):
        raise PackError(
            f"{directory} holds files that are not of a pack: {_some(strangers)}. Choose an empty directory or a "
            "new one."
        )
    edited = {
        path for path in found - {MANIFEST} if _digest((directory / path).read_bytes()) != written[path]
    }
    if edited:
        raise PackError(
            f"edited since they were written to {directory}: {_some(edited)}. Choose a new directory, compare, and "
            "take over what you want."
        )
    return found - {MANIFEST}


def _found(directory: Path) -> tuple[set[str], set[str]]:
    """Return the files and the directories that there are, links to directories among the files."""
    files: set[str] = set()
    folders: set[str] = set()
    for folder, below, names in os.walk(directory):
        here = Path(folder)
        if here == directory:  # what a writer that was killed has left is nobody's
            below[:] = [name for name in below if not name.startswith(STAGING)]
        links = {name for name in below if (here / name).is_symlink()}
        files |= {os.path.relpath(here / name, directory) for name in (*names, *links)}
        folders |= {os.path.relpath(here / name, directory) for name in below if name not in links}
    return files, folders


def _written(directory: Path) -> dict[str, str]:
    try:
        files = json.loads((directory / MANIFEST).read_bytes())["files"]
        return {str(path): str(digest) for path, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # no pack's manifest, so whatever is there is somebody else's


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _some(paths: Iterable[str]) -> str:
    names = sorted(paths)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
