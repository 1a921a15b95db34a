"""Finding the images of a data set that lies in folders: a folder a class."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from budama.data import catalogue
from budama.errors import BudamaError

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"),
    *(".pbm", ".pnm", ".avif", ".heic", ".heif", ".jp2", ".tga"),
)


@dataclass
class Listing:
    """Image files below `root`: relative path and class a file. `skipped`: files whose name is no image's."""

    root: Path
    class_names: list[str]
    paths: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    test: list[bool] | None = None  # None: the set has no test images of its own
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # path, reason
    skipped: list[str] = field(default_factory=list)


def list_images(data: dict) -> Listing:
    """Every image file of `food101`, `imagenet` or `image_folder`, sorted by class and name. Raises BudamaError."""
    if data["name"] == "food101":
        return _food101(data)
    layout = catalogue.find_layout(data)
    names = _class_folders(layout.train)
    if layout.test is not None:
        _same_classes(names, layout.train, _class_folders(layout.test), layout.test)
    listing = Listing(catalogue.root(data), names, test=None if layout.test is None else [])
    for part, is_test in ((layout.train, False), (layout.test, True)):
        for label, name in enumerate(names):
            if part is not None:
                _list_class(listing, part, name, label, is_test)
    return listing


def _class_folders(folder: Path) -> list[str]:
    """Names of the class folders, sorted. One class, or none, is an error."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, _is_dir(entry)) for entry in entries if not entry.name.startswith((".", "__"))]
    except OSError as error:
        raise BudamaError(f"{folder}: cannot be read ({error.strerror})") from None
    names = sorted(name for name, is_dir in found if is_dir)
    images = [name for name, is_dir in found if not is_dir and _looks_like_image(name)]
    if not names:
        holds = f"{len(images)} images but no class folders" if images else "no class folders"
        raise BudamaError(f"{folder} holds {holds}; put the images of each class in a folder of the class's name")
    if len(names) == 1:
        raise BudamaError(f"{folder} holds one class ('{names[0]}'); at least two are needed")
    for name in names:
        if not _is_utf8(name):
            raise BudamaError(f"{folder}: the name of the class folder {name!r} is not UTF-8; rename it")
    return names


def _same_classes(train: list[str], train_folder: Path, test: list[str], test_folder: Path) -> None:
    lines = []
    for here, there, missing in (
        (train_folder, test_folder, sorted(set(train) - set(test))),
        (test_folder, train_folder, sorted(set(test) - set(train))),
    ):
        if missing:
            names = ", ".join(f"'{name}'" for name in missing[:5]) + (" …" if len(missing) > 5 else "")
            lines.append(f"{there} lacks {len(missing)} of the classes in {here}: {names}; both must hold the same")
    if lines:
        raise BudamaError(*lines)


def _list_class(listing: Listing, part: Path, name: str, label: int, is_test: bool) -> None:
    before = len(listing.paths), len(listing.unreadable)
    for path, problem in _walk(part / name):
        relative = os.path.relpath(path, listing.root)
        if problem or not _is_utf8(relative):
            shown = relative.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            listing.unreadable.append((shown, problem or "the name is not UTF-8"))
        elif not _looks_like_image(relative):
            listing.skipped.append(relative)
        else:
            listing.paths.append(relative)
            listing.labels.append(label)
            if listing.test is not None:
                listing.test.append(is_test)
    if before == (len(listing.paths), len(listing.unreadable)):
        raise BudamaError(f"{part}: the class '{name}' holds no image; add some, or remove the folder")


def _walk(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[str, str | None]]:
    """Files below a folder in sorted order, links followed; what cannot be followed comes with the reason."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in above:
            yield str(folder), "a link loop"
            return
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        yield str(folder), f"the folder cannot be read ({error.strerror})"
        return
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        try:
            if entry.is_dir():
                yield from _walk(Path(entry.path), (*above, (status.st_dev, status.st_ino)))
            elif entry.is_symlink() or entry.is_file():  # a broken link is told when it is read
                yield entry.path, None
        except OSError as error:
            yield entry.path, "a link loop" if error.errno == errno.ELOOP else f"cannot be read ({error.strerror})"


def _food101(data: dict) -> Listing:
    """torchvision's layout: images/CLASS/ID.jpg, listed in meta/train.txt and meta/test.txt (Bossard et al. 2014)."""
    folder = catalogue.find_files(data)
    if folder is None:
        raise BudamaError(f"Food-101: '{catalogue.root(data)}' does not hold images/, meta/train.txt and meta/test.txt")
    parts = ("test",) if data["protocol"] == "validation_only" else ("train", "test")
    lists = {part: (folder / "meta" / f"{part}.txt").read_text().split() for part in parts}
    names = sorted({line.split("/")[0] for lines in lists.values() for line in lines})
    listing = Listing(folder, names, test=[] if "train" in parts else None)
    if len(names) < 2:
        raise BudamaError(f"{folder}/meta lists {len(names)} classes; at least two are needed")
    labels = {name: label for label, name in enumerate(names)}
    for part, lines in lists.items():
        for line in sorted(lines):
            listing.paths.append(f"images/{line}.jpg")
            listing.labels.append(labels[line.split("/")[0]])
            if listing.test is not None:
                listing.test.append(part == "test")
    return listing


def _looks_like_image(name: str) -> bool:
    extension = os.path.splitext(name)[1].lower()
    return not extension or extension in EXTENSIONS


def _is_dir(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
