"""Files of the user's that results depend on, and what tells that they changed: images, weights, a model of their own.

This runs whenever Snakemake plans, so it must be quick: what was read once is remembered, in `.cache/fingerprints`, by
the files' sizes and times. Touching a file reads it again and finds it the same.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from budama import files
from budama.data import catalogue
from budama.errors import BudamaError
from budama.jobs import code_digest
from budama.networks import user_source, weight_kinds

REMEMBERED = Path(".cache/fingerprints")
LARGEST_COUNT = 20_000
LARGEST_BYTES = 2 * 2**30


def facts(stage: str, settings: dict, file: str | Path) -> dict[str, str]:
    """Digests of the user's files that a stage reads, by kind. BudamaError, naming `file`, where they are missing."""
    try:
        if stage == "dataset":
            catalogue.locate(settings["data"])
            return {"images": _images(settings["data"])}
        if stage == "baseline":
            return _model(settings["model"], weights=True)
        if stage in ("preview", "layer_times"):
            return _model(settings["model"], weights=False) | _names_of_images(settings["data"])
    except BudamaError as error:
        raise BudamaError(*(f"{file}: {line}" for line in error.lines)) from None
    return {}


def _images(data: dict) -> str:
    if data["name"] not in ("imagenet", "image_folder"):
        return catalogue.fingerprint(data)
    layout = catalogue.find_layout(data)
    root = catalogue.root(data)
    parts = [(os.path.relpath(part, root), folder(part)) for part in layout.parts.values()]
    return "-".join(f"{name}:{found}" for name, found in parts)


def _names_of_images(data: dict) -> dict[str, str]:
    """What tells that other classes or images are there, for what needs their shape and number alone and works without
    any."""
    if data["name"] not in ("imagenet", "image_folder"):
        return {}
    with suppress(BudamaError):  # it tells by itself what is wrong
        parts = catalogue.find_layout(data).parts
        return {"images": "-".join(folder(part, content=False) for part in parts.values())}
    return {}


def folder(root: Path, content: bool = True) -> str:
    """What tells that a folder of images changed. Without `content` it is names and sizes.

    Up to 20,000 files and 2 GiB it is every file's content. Beyond, it is names and sizes, and a folder is listed again
    only when its own time changes: an image added, removed, renamed or replaced is seen, one written over is not.
    """
    memory = _Memory(root, "" if content else "names")
    found = hashlib.sha256()
    places = sorted(_folders(root, memory))
    if (
        content
        and sum(count for _, count, _, _ in places) <= LARGEST_COUNT
        and sum(size for _, _, size, _ in places) <= LARGEST_BYTES
    ):
        for path in sorted(Path(entry.path) for place, *_ in places for entry in _visible(place) if entry.is_file()):
            found.update(
                f"{path.relative_to(root).as_posix()}\0{memory.digest(path)}\n".encode(errors="surrogateescape")
            )
    else:
        for place, _, _, listing in places:
            found.update(f"{place.relative_to(root).as_posix()}\0{listing}\n".encode(errors="surrogateescape"))
    memory.save()
    return found.hexdigest()[:16]


def content(path: Path) -> str:
    """Digest of a file's content."""
    memory = _Memory(path)
    found = memory.digest(path)
    memory.save()
    return found[:16]


def _model(model: dict, weights: bool) -> dict[str, str]:
    found = {}
    named = model["weights"]
    if weights and named and files.names_weights(named):
        if not Path(named).exists():
            raise BudamaError(f"model.weights is {named}, but there is no file {Path(named).absolute()}")
        weight_kinds.check(named)
        found["weights"] = content(Path(named))
    if model["source"] == "python":
        parts = user_source.parts(model["name"])
        if parts:
            found["model"] = code_digest.of_statements(parts)[:16]
    return found


def _folders(root: Path, memory: "_Memory") -> Iterator[tuple[Path, int, int, str]]:
    """Every folder below `root`, with the count, the bytes and a digest of the files that lie in it."""
    seen, ahead = set(), [root]
    while ahead:
        place = ahead.pop()
        status = place.stat()
        if (status.st_dev, status.st_ino) in seen:  # links that lead in a circle
            continue
        seen.add((status.st_dev, status.st_ino))
        count, size, listing, below = memory.listing(place, status.st_mtime_ns)
        ahead += [place / name for name in below]
        yield place, count, size, listing


def _visible(place: Path) -> list[os.DirEntry]:
    with os.scandir(place) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


class _Memory:
    """Digests of files by their size and time, and of folders by their time, so that nothing is read twice."""

    def __init__(self, place: Path, use: str = ""):
        name = hashlib.sha256(os.fsencode(place.absolute()) + use.encode()).hexdigest()[:16]
        self._file = REMEMBERED / f"{name}.json"
        self._old: dict[str, list] = {}
        with suppress(BudamaError):
            self._old = files.read_json(self._file)
        self._new: dict[str, list] = {}

    def digest(self, path: Path) -> str:
        """The digest of a file's content."""
        status = path.stat()
        return self._recall(path, [status.st_size, status.st_mtime_ns], lambda: files.sha256(path))

    def listing(self, place: Path, time: int) -> list:
        """Count, bytes and digest of the files in a folder, and the names of the folders in it."""
        return self._recall(place, [time], lambda: _list(place))

    def save(self) -> None:
        if self._new and self._new != self._old:
            with suppress(BudamaError, OSError):  # a folder that cannot be written costs time, not the run
                files.write_json(self._file, self._new)

    def _recall(self, path: Path, stamp: list, read: Callable):
        known = self._old.get(str(path))
        if not known or known[:-1] != stamp:
            known = [*stamp, read()]
        self._new[str(path)] = known
        return known[-1]


def _list(place: Path) -> list:
    entries = _visible(place)
    sizes = sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file())
    listing = hashlib.sha256("".join(f"{name}\0{size}\n" for name, size in sizes).encode(errors="surrogateescape"))
    below = sorted(entry.name for entry in entries if entry.is_dir())
    return [len(sizes), sum(size for _, size in sizes), listing.hexdigest()[:16], below]
