"""Files and folders that appear whole or not at all: a temporary name beside, fsync, rename."""

import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from budama.errors import BudamaError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all: where it cannot, BudamaError, and nothing of it is left."""
    path = Path(path)
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with _temporary(path, lambda name: name.touch(exist_ok=False)) as temporary:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        _sync(path.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value) -> None:
    """Write `value` to `path` as JSON in its own key order. Numpy scalars and arrays are fine, NaN and infinity not."""
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    write_text(path, text + "\n")


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file; BudamaError where it is missing, unreadable or not UTF-8."""
    name = shown(path)
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BudamaError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise BudamaError(f"{name}: is a folder; it must be a file") from None
    except UnicodeDecodeError as error:
        raise BudamaError(f"{name}: is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from None
    except OSError as error:
        raise BudamaError(f"{name}: cannot be read ({error.strerror})") from None
    except ValueError:  # a null character in the name
        raise BudamaError(f"{name!r} is not a file name") from None


def read_json(path: str | Path):
    """The JSON value in `path`; BudamaError where it is missing, not JSON, or holds a key twice, NaN or infinity."""
    text, name = read_text(path), shown(path)
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise BudamaError(f"{name}: is not JSON ({error.msg}, line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise BudamaError(f"{name}: is not JSON of ours (nested too deeply)") from None
    except ValueError as error:
        raise BudamaError(f"{name}: is not JSON of ours ({error})") from None


@contextmanager
def folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder to fill, which takes the place of `path` at success and is removed at failure."""
    path = Path(path)
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with _temporary(path, Path.mkdir) as temporary:
            yield temporary
            for inside in sorted(temporary.rglob("*"), reverse=True):
                _sync(inside)
            _sync(temporary)
            _take_place(temporary, path)
        _sync(path.parent)


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BudamaError(f"{path}: cannot be read ({error.strerror})") from None


def shown(path: str | Path) -> str:
    """A path as people write it: relative to the current folder where it lies below."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path)


def names_weights(text: str) -> bool:
    """Whether `model.weights` names a file, rather than a set of weights that the model's source knows by this name.

    No source has points or slashes in such names; a file without any is known by being there.
    """
    return "." in text or "/" in text or Path(text).exists()


def disk_is_full(error: BaseException) -> bool:
    """Whether `error` says that the disk (or the quota) is full; safetensors says so only in its text."""
    return getattr(error, "errno", None) in FULL or "No space left on device" in str(error)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")


@contextmanager
def _temporary(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new file or folder beside `path`, locked as long as this process works on it; removed where that fails."""
    while True:
        temporary = _beside(path)
        try:
            make(temporary)
            descriptor = os.open(temporary, os.O_RDONLY)
        except FileNotFoundError:
            if not path.parent.exists():
                raise
            continue  # swept by another process before it was locked
        _lock(descriptor)
        if temporary.exists():
            break
        os.close(descriptor)
    try:
        yield temporary
    except BaseException:
        _remove(temporary)
        raise
    finally:
        os.close(descriptor)


def _sweep(path: Path) -> None:
    """Remove what killed processes left half written of `path`. What a living one writes is locked, and stays."""
    for left in path.parent.glob(f".{glob.escape(path.name[:200])}.*.part"):
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY)
            try:
                if _lock(descriptor, wait=False):
                    _remove(left)
            finally:
                os.close(descriptor)


def _lock(descriptor: int, wait: bool = True) -> bool:
    """Whether the lock was got. Some network file systems have none."""
    import fcntl  # which Windows lacks: reading works there

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _take_place(temporary: Path, path: Path) -> None:
    """Rename a folder onto `path`. A folder cannot be replaced in one step, so an older one is moved aside first."""
    aside = None
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        aside = _beside(path)
        os.rename(path, aside)
    os.rename(temporary, path)
    if aside:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse fsync on folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell an error of the disk in one line."""
    try:
        yield
    except BudamaError:
        raise
    except Exception as error:
        if disk_is_full(error):
            raise BudamaError(f"{path}: no space left for it; nothing of it was kept") from error
        if isinstance(error, OSError) and error.filename and str(path.parent) in str(error.filename):
            raise BudamaError(f"{path}: cannot be written ({error.strerror})") from error
        raise


def _pairs(pairs: list[tuple[str, object]]) -> dict:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)} stands there twice")
    return value


def _refuse_constant(name: str):
    raise ValueError(f"{name} is not a number")


def _plain(value):
    """A numpy scalar or array, or a path, as JSON knows it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
