"""Decoded images kept in a memory-mapped file, so that later epochs, stages and scenarios do not decode them anew.

``.cache/budama/images/KEY/`` holds `pixels` (every image at its own place, in the form that `decoding` describes) and
`done` (a byte an image). The key is made of the images' contents, their kept size, and this boot of the machine: a
file that a power failure left half-written is never met again. Processes may fill one cache together, since they
write the same bytes to the same places, and `done` after them. What a limit leaves out is decoded each time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numba
import numpy as np
import PIL
import simplejpeg

from budama.data import decoding
from budama.errors import BudamaError
from budama.progress import log

if TYPE_CHECKING:
    from budama.data.dataset import Data

FOLDER = Path(".cache/budama/images")
VERSIONS = (PIL.__version__, simplejpeg.__version__, numba.__version__)
FORMAT = 3  # counts up when `decoding` changes what is kept
PRIORITY = ("selection", "train", "test")  # most often read first, for the case that not all fit
FREE_SHARE = 0.5  # of the disk's free space that is taken at most
LIMIT, LIMIT_GIB = "BUDAMA_CACHE_GIB", 4.0  # a matter of the machine, not of the scenario: it changes no number


class Store:
    """Images of a data set of files, by split and place in it."""

    def __init__(self, data: Data) -> None:
        """Lay out the cache for `data`, of image files. Nothing is decoded yet."""
        self.root, self.channels = Path(data.root or ""), data.input_shape[0]
        self.shorter = data.resize or data.input_shape[1]
        self.splits: dict[str, Any] = dict(data.splits)  # of image files, so their paths and sizes are known
        self.kept = {name: decoding.kept_sizes(split.sizes, self.shorter) for name, split in self.splits.items()}
        self.slots, digests, lengths = self._slots()
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        limit = limit_bytes()
        self.pixels: np.ndarray | None = None
        try:
            limit = min(limit, FREE_SHARE * _free_bytes() + _used_bytes(self._folder(digests)))
            self.cached = int(np.searchsorted(self.offsets, limit, side="right")) - 1
            if self.cached > 0:
                self._open(self._folder(digests), limit)
        except OSError as error:
            self._give_up(error)

    def get(self, split: str, index: int) -> np.ndarray:
        """The image at `index` of a split as uint8 [H, W, C], shorter side as kept. Raises BudamaError."""
        slot = self.slots[split][index]
        height, width = self.kept[split][index].tolist()
        pixels = self.pixels if slot < self.cached else None
        if pixels is not None and self.done[slot]:
            start = self.offsets[slot]
            flat = pixels[start : start + height * width * self.channels]
            return flat.reshape(height, width, self.channels)
        entry = self.splits[split]
        size = tuple(entry.sizes[index].tolist())
        image = decoding.decode(self.root / entry.paths[index], size, (height, width), self.channels)
        if pixels is not None:
            self._keep(slot, image)
        return image

    def _slots(self) -> tuple[dict[str, np.ndarray], list[str], np.ndarray]:
        """A place for every image by split and row, and by place its digest and length in bytes."""
        digests: list[str] = []
        lengths, slots = [np.empty(0, dtype=np.int64)], {}
        for name in sorted(self.splits, key=PRIORITY.index):
            slots[name] = len(digests) + np.arange(len(self.splits[name]))
            digests += self.splits[name].digests
            lengths.append(self.kept[name].prod(axis=1) * self.channels)
        return slots, digests, np.concatenate(lengths)

    def _folder(self, digests: list[str]) -> Path:
        form = (FORMAT, VERSIONS, self.shorter, self.channels, _boot())
        key = blake2b(repr(form).encode(), digest_size=12)
        key.update("".join(digests).encode())
        for name in sorted(self.kept):
            key.update(np.ascontiguousarray(self.kept[name]).tobytes())
        return FOLDER / key.hexdigest()

    def _open(self, folder: Path, limit: float) -> None:
        self.lock = _hold(folder)  # held while this process lives, so that no other one removes the folder
        _make_room(folder, limit - self.offsets[self.cached])
        (folder / "pixels").touch()
        self.file = open(folder / "pixels", "rb+", buffering=0)  # noqa: SIM115 (open as long as the store lives)
        total = int(self.offsets[self.cached])
        if os.fstat(self.file.fileno()).st_size < total:
            self.file.truncate(total)  # sparse: takes space as images come in
        done = folder / "done"
        with open(done, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(bytes(max(0, len(self.offsets) - 1 - os.fstat(file.fileno()).st_size)))
        # As plain arrays, which are sliced in a third of the time.
        self.done = np.memmap(done, dtype=np.uint8, mode="r+").view(np.ndarray)
        self.pixels = np.memmap(folder / "pixels", dtype=np.uint8, mode="r+", shape=(total,)).view(np.ndarray)

    def _keep(self, slot: int, image: np.ndarray) -> None:
        """Write by system call: a full disk is then an error that can be told, not a signal that kills."""
        view, at = image.data.cast("B"), int(self.offsets[slot])
        try:
            while view:
                written = os.pwrite(self.file.fileno(), view, at)
                view, at = view[written:], at + written
            self.done[slot] = 1
        except OSError as error:
            self.cached = 0
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        log(f"decoded images are not kept from here on ({error.strerror}); every epoch decodes them anew")


def limit_bytes() -> float:
    """What decoded images may take on the disk, by BUDAMA_CACHE_GIB (4 where it is not set). Raises BudamaError."""
    text = os.getenv(LIMIT) or str(LIMIT_GIB)
    with suppress(ValueError):
        if 0 <= float(text) < float("inf"):
            return float(text) * 2**30
    raise BudamaError(f"{LIMIT} is {text!r}; it must be a number of GiB, 0 or more (default {LIMIT_GIB:g})")


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _free_bytes() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    status = os.statvfs(FOLDER)
    return status.f_bavail * status.f_frsize


def _used_bytes(folder: Path) -> int:
    with suppress(OSError):
        return (folder / "pixels").stat().st_blocks * 512
    return 0


def _hold(folder: Path) -> BinaryIO:
    """A shared lock on a cache folder, made if need be; another process may just have removed it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            lock = open(folder / "lock", "ab")  # noqa: SIM115 (held as long as the store lives)
            fcntl.flock(lock, fcntl.LOCK_SH)
            with suppress(FileNotFoundError):
                if os.stat(folder / "lock").st_ino == os.fstat(lock.fileno()).st_ino:
                    os.utime(folder)
                    return lock
            lock.close()


def _make_room(own: Path, room: float) -> None:
    """Remove caches that nobody holds, longest unused first, until the others take at most `room` bytes."""
    others = sorted((path for path in FOLDER.iterdir() if path != own), key=lambda path: path.stat().st_mtime)
    used = sum(map(_used_bytes, others))
    for folder in others:
        if used <= room:
            return
        with suppress(OSError), open(folder / "lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            used -= _used_bytes(folder)
            shutil.rmtree(folder, ignore_errors=True)
