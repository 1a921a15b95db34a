"""Finding the images of a data set that lies in folders: a folder a class."""

import errno
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from budama.data import catalogue, layouts
from budama.errors import BudamaError

HIDDEN, NO_IMAGE = "hidden", "no image by its name"
MADE_BY_SYSTEMS = ("._*", ".DS_Store", "Thumbs.db", "desktop.ini", ".directory", *layouts.MACHINE_MADE)


@dataclass
class Listing:
    """Image files below `root`: relative path, class and split a file. `skipped`: what is not looked at, with reasons.

    `parts` are the folders of the splits, relative to `root`; where one is missing, it is to be cut from `train`.
    """

    root: Path
    class_names: list[str]
    parts: dict[str, str]
    paths: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # path, reason
    skipped: list[tuple[str, str]] = field(default_factory=list)  # path, reason
    alike: list[str] = field(default_factory=list)  # classes whose names differ in case or form alone


@dataclass(frozen=True)
class _File:
    """A file (or folder) below a class folder. `problem`: it cannot be read; `skipped`: it is not to be read."""

    path: str
    problem: str | None = None
    skipped: str | None = None


def list_images(data: dict) -> Listing:
    """Every image file of `food101`, `imagenet` or `image_folder`, sorted by class and name. Raises BudamaError."""
    if data["name"] == "food101":
        return _food101(data)
    layout, names = classes(data)
    root = catalogue.root(data)
    parts = {split: os.path.relpath(folder, root) for split, folder in layout.parts.items()}
    listing = Listing(root, names, parts, alike=_alike(names))
    listing.skipped = [(os.path.relpath(place, root) + "/", why) for place, why in layout.skipped]
    for split, folder in layout.parts.items():
        _list_beside(listing, folder)
        for label, name in enumerate(names):
            _list_class(listing, folder, name, label, split)
    return listing


def classes(data: dict) -> tuple[layouts.Layout, list[str]]:
    """The folders of `imagenet` or `image_folder`, and the names of the classes in them. Raises BudamaError."""
    layout = catalogue.find_layout(data)
    names = _class_folders(layout.train)
    for split, folder in layout.parts.items():
        if split != "train":
            _same_classes(names, layout.train, _class_folders(folder), folder)
    return layout, names


def class_names(data: dict) -> list[str]:
    """Names of the classes of a data set of files, as `list_images` has them. Raises BudamaError."""
    return _food101(data).class_names if data["name"] == "food101" else classes(data)[1]


def first_images(data: dict) -> Iterator[Path]:
    """The images of a data set of files, one after another as they are found, none read. Raises BudamaError."""
    if data["name"] == "food101":
        listing = _food101(data)
        yield from (listing.root / path for path in listing.paths)
        return
    layout, names = classes(data)
    for folder in layout.parts.values():
        for name in names:
            found = _walk(folder / name)
            yield from (Path(file.path) for file in found if not file.problem and not file.skipped)


def made_by_a_system(path: str) -> bool:
    """Whether a file or folder is one that operating systems leave everywhere: nobody misses it."""
    name = os.path.basename(path.rstrip("/"))
    return name in MADE_BY_SYSTEMS or name.startswith("._")


def _class_folders(folder: Path) -> list[str]:
    """Names of the class folders, sorted. One class, or none, is an error."""
    inside = layouts.look(folder)
    names, images = inside.below, [name for name in inside.files if layouts.is_image(name)]
    if not names:
        holds = f"{len(images)} images but no class folders" if images else "no class folders"
        packed = [
            name for name in inside.files if name.lower().endswith((".zip", ".tar", ".tgz", ".gz", ".rar", ".7z"))
        ]
        hint = f" (unpack {packed[0]} first)" if packed else ""
        raise BudamaError(f"{folder} holds {holds}; put the images of each class in a folder of the class's name{hint}")
    if len(names) == 1:
        raise BudamaError(f"{folder} holds one class ('{names[0]}'); at least two are needed")
    for name in names:
        if not _is_utf8(name):
            raise BudamaError(f"{folder}: the name of the class folder {name!r} is not UTF-8; rename it")
    return names


def _same_classes(train: list[str], train_folder: Path, test: list[str], test_folder: Path) -> None:
    lines = []
    for here, there, missing, others in (
        (train_folder, test_folder, sorted(set(train) - set(test)), test),
        (test_folder, train_folder, sorted(set(test) - set(train)), train),
    ):
        if missing:
            names = ", ".join(f"'{name}'" for name in missing[:5]) + (" …" if len(missing) > 5 else "")
            alike = [f"'{one}' is {how}" for name in missing for one in others if (how := _differs(name, one))]
            hint = f" ({alike[0]}; rename one)" if alike else ""
            lines.append(
                f"{there} lacks {len(missing)} of the classes in {here}: {names}{hint}; both must hold the same"
            )
    if lines:
        raise BudamaError(*lines)


def _differs(name: str, other: str) -> str | None:
    """How two names of a class differ, where people would take them for one."""
    one, two = (unicodedata.normalize("NFC", text) for text in (name, other))
    if one == two:
        return "the same word in another form of Unicode"
    if one.strip() == two.strip():
        return "the same word with spaces around it"
    return "the same word in other letters" if one.strip().casefold() == two.strip().casefold() else None


def _alike(names: list[str]) -> list[str]:
    """Class names that people would take for one."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(unicodedata.normalize("NFC", name).strip().casefold(), []).append(name)
    return [name for group in groups.values() if len(group) > 1 for name in group]


def _list_beside(listing: Listing, part: Path) -> None:
    """What lies beside the class folders of a part."""
    inside = layouts.look(part)
    for name in inside.files:
        why = "an image in no class folder" if layouts.is_image(name) else NO_IMAGE
        listing.skipped.append((_shown(os.path.relpath(part / name, listing.root)), why))
    for name in inside.hidden:
        listing.skipped.append((_shown(os.path.relpath(part / name, listing.root)), HIDDEN))


def _list_class(listing: Listing, part: Path, name: str, label: int, split: str) -> None:
    before = len(listing.paths), len(listing.unreadable)
    for file in _walk(part / name):
        relative = os.path.relpath(file.path, listing.root)
        if file.skipped:
            listing.skipped.append((_shown(relative) + ("/" if os.path.isdir(file.path) else ""), file.skipped))
        elif file.problem or not _is_utf8(relative):
            listing.unreadable.append((_shown(relative), file.problem or "the name is not UTF-8"))
        else:
            listing.paths.append(relative)
            listing.labels.append(label)
            listing.splits.append(split)
    if before == (len(listing.paths), len(listing.unreadable)):
        raise BudamaError(f"{part}: the class '{name}' holds no image; add some, or remove the folder")


def _walk(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[_File]:
    """Files below a folder in sorted order, links followed; what cannot be followed comes with the reason."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in above:
            yield _File(str(folder), "a link loop")
            return
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        yield _File(str(folder), f"the folder cannot be read ({error.strerror})")
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in layouts.MACHINE_MADE:
            yield _File(entry.path, skipped=HIDDEN)
            continue
        try:
            if entry.is_dir():
                yield from _walk(Path(entry.path), (*above, (status.st_dev, status.st_ino)))
            elif entry.is_symlink() or entry.is_file():  # a broken link is told when it is read
                yield _File(entry.path, skipped=None if layouts.is_image(entry.name) else NO_IMAGE)
            else:
                yield _File(entry.path, skipped="no ordinary file")
        except OSError as error:
            yield _File(
                entry.path, "a link loop" if error.errno == errno.ELOOP else f"cannot be read ({error.strerror})"
            )


def _food101(data: dict) -> Listing:
    """torchvision's layout: images/CLASS/ID.jpg, listed in meta/train.txt and meta/test.txt (Bossard et al. 2014)."""
    folder = catalogue.find_files(data)
    if folder is None:
        raise BudamaError(f"Food-101: '{catalogue.root(data)}' does not hold images/, meta/train.txt and meta/test.txt")
    parts = ("test",) if data["protocol"] == "validation_only" else ("train", "test")
    lists = {part: (folder / "meta" / f"{part}.txt").read_text().split() for part in parts}
    names = sorted({line.split("/")[0] for lines in lists.values() for line in lines})
    own = {"train": "images", "test": "images"} if "train" in parts else {"train": "images"}
    listing = Listing(folder, names, own)
    if len(names) < 2:
        raise BudamaError(f"{folder}/meta lists {len(names)} classes; at least two are needed")
    labels = {name: label for label, name in enumerate(names)}
    for part, lines in lists.items():
        for line in sorted(lines):
            listing.paths.append(f"images/{line}.jpg")
            listing.labels.append(labels[line.split("/")[0]])
            listing.splits.append(part if "train" in parts else "train")
    return listing


def _shown(path: str) -> str:
    """A path as text, whatever its bytes are."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
