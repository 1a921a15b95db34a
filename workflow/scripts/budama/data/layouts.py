"""Which folders below a data set's root hold its parts: training, validation and test images, a folder a class in each.

Names decide that people give to parts (`train`, `Training`, `val`, `valid`, `test_set`, `eğitim`, …). What lies beside
them is listed as skipped, and what may be read in two ways is refused, since classes that are none give a whole report
of nonsense. `data.folders` names parts that are called otherwise.
"""

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from budama.errors import BudamaError

ROLES = {
    "train": {"train", "training", "trn", "egitim"},
    "val": {"val", "valid", "validation", "dev", "eval", "evaluation", "dogrulama", "gecerleme"},
    "test": {"test", "testing", "tst", "holdout", "sinama"},
}
FILLERS = ("dataset", "data", "set", "images", "image", "imgs", "img", "split", "seg", "kumesi", "veri", "verisi")
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"),
    *(".pbm", ".pnm", ".avif", ".heic", ".heif", ".jp2", ".tga"),
)
MACHINE_MADE = ("__MACOSX", "__pycache__")
IN_A_SPLIT = "it must hold train/ and val/, with one folder a class in each"


@dataclass
class Layout:
    """Folders of class folders. `test` and `selection` (whose images choose the best epoch) are None where they are
    still to be cut from `train`. `skipped`: what lies beside them, and why it is not used."""

    train: Path
    test: Path | None
    selection: Path | None = None
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def parts(self) -> dict[str, Path]:
        """The folders that there are, by split."""
        found = {"train": self.train, "selection": self.selection, "test": self.test}
        return {name: folder for name, folder in found.items() if folder is not None}


@dataclass
class Folder:
    """Names of what lies in a folder: the folders and the files in it, and what is hidden or made by a machine."""

    below: list[str]
    files: list[str]
    hidden: list[str]


def find(top: Path, name: str, protocol: str, named: Mapping[str, str | None] | None = None) -> Layout:
    """The parts of the data set `name` (`imagenet` or `image_folder`) below `top`. `named` is `data.folders`.

    Raises BudamaError, in a line that names the folders, where they are missing or may be read in two ways.
    """
    needed = IN_A_SPLIT + (", or one folder a class" if name == "image_folder" else "")
    if not top.exists():
        raise BudamaError(f"data.root is '{top}', which does not exist; {needed}")
    if not top.is_dir():
        raise BudamaError(f"data.root is '{top}', which is a file; {needed}")
    if named:
        return _named(top, named)
    inside = _unwrapped(top)
    layout = _by_names(top, inside, name, protocol, needed)
    _refuse_parts_called_otherwise(top, layout)
    return layout


def role(name: str) -> str | None:
    """The part that a folder's name says it is: train, val, test, or None."""
    words = re.findall(r"[^\W\d_]+", fold(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)))
    bare = {_bare(word) for word in words} - {""}
    return next((part for part, names in ROLES.items() if bare and bare <= names), None)


def fold(name: str) -> str:
    """A name without case, accents and Unicode's forms of one letter, to find names that are meant to be the same."""
    plain = unicodedata.normalize("NFKD", name.strip()).replace("ı", "i").replace("İ", "i").casefold()
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def look(folder: Path) -> Folder:
    """What lies in a folder, each list sorted. Raises BudamaError where it cannot be read."""
    found = Folder([], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                hidden = entry.name.startswith(".") or entry.name in MACHINE_MADE
                kind = found.hidden if hidden else found.below if is_dir(entry) else found.files
                kind.append(entry.name)
    except OSError as error:
        raise BudamaError(f"{folder}: cannot be read ({error.strerror})") from None
    return Folder(sorted(found.below), sorted(found.files), sorted(found.hidden))


def is_dir(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder; a link that leads in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _bare(word: str) -> str:
    """A word without what people put around the name of a part: `trainset`, `testimages`."""
    for filler in FILLERS:
        word = word.removesuffix(filler)
    return word


def _named(top: Path, named: Mapping[str, str | None]) -> Layout:
    """The folders that `data.folders` names."""
    parts = {}
    for part in ("train", "selection", "test"):
        folder = named.get(part)
        if folder is not None and not (top / folder).is_dir():
            holds = ", ".join(look(top).below[:10]) or "none"
            raise BudamaError(f"data.folders.{part} is '{folder}', which is no folder in '{top}'; its folders: {holds}")
        parts[part] = None if folder is None else top / folder
    if parts["train"] is None:
        raise BudamaError("data.folders.train is missing; it must name the folder of the training images")
    given = [folder.resolve() for folder in parts.values() if folder]
    if len(set(given)) < len(given):
        raise BudamaError("data.folders names one folder twice; each part must have its own")
    if any(one != other and one.is_relative_to(other) for one in given for other in given):
        raise BudamaError("data.folders names a folder inside another one; no image may be in two parts")
    beside = [top / below for below in look(top).below if top.resolve() not in given]
    unused = [folder for folder in beside if not any(part.is_relative_to(folder.resolve()) for part in given)]
    skipped = [(folder, "data.folders does not name it") for folder in unused]
    return Layout(parts["train"], parts["test"], parts["selection"], skipped)


def _unwrapped(folder: Path, part: str | None = None) -> Path:
    """The folder itself, or the one below it that holds all class folders or parts (`flowers/flowers/rose`).

    `part`: what the folder is by its name, so that one of the same name in it is no part of another set.
    """
    inner = folder
    while True:
        holds = look(inner)
        if len(holds.below) > 1:
            return inner
        if not holds.below or any(is_image(file) for file in holds.files):
            return folder
        if role(holds.below[0]) not in (None, part):
            return inner
        inner = inner / holds.below[0]


def is_image(name: str) -> bool:
    """Whether a file is an image by its name's ending; a name without one may be."""
    extension = os.path.splitext(name)[1].lower()
    return not extension or extension in EXTENSIONS


def _by_names(top: Path, inside: Path, name: str, protocol: str, needed: str) -> Layout:
    holds = look(inside)
    roles: dict[str, list[str]] = {part: [] for part in ROLES}
    others: list[str] = []
    for below in holds.below:
        part = role(below)
        (roles[part] if part else others).append(below)
    with_classes = [below for names in roles.values() for below in names if look(inside / below).below]
    if not with_classes and (others or not any(roles.values())):
        if name == "imagenet":
            raise BudamaError(f"data.root is '{top}', which holds neither train/ nor val/; {needed}")
        return Layout(inside, None)  # a class may well be called train
    parts = {part: _only(inside, names, part) for part, names in roles.items() if names}
    return _choose(top, inside, parts, others, name, protocol, needed)


def _only(inside: Path, names: list[str], part: str) -> Path:
    if len(names) > 1:
        listed = " and ".join(f"'{one}'" for one in names)
        raise BudamaError(f"{inside} holds {listed}, each of which is {part} by its name; name one in data.folders")
    return inside / names[0]


def _choose(
    top: Path, inside: Path, parts: dict[str, Path], others: list[str], name: str, protocol: str, needed: str
) -> Layout:
    """Who trains, selects and tests, of the parts that are there by name."""
    shown = f"data.root is '{top}', which holds"
    train, val, test = (parts.get(part) for part in ("train", "val", "test"))
    beside = [(inside / other, "by its name no part of the data set") for other in others]
    if test is not None and val is not None and (name == "imagenet" or not look(test).below):
        why = "ImageNet is scored on val/" if name == "imagenet" else "no class folders, so its images have no labels"
        beside.append((test, why))
        test = None
    scored = test or val
    if protocol == "validation_only":
        scored = val or test
        if scored is None:
            raise BudamaError(
                f"{shown} {_slashed(parts, others)} but no val/, which data.protocol validation_only needs"
            )
        rest = [part for part in (train, test) if part and part != scored]
        beside += [(part, "data.protocol is validation_only") for part in rest]
        return Layout(_within(scored), None, None, beside)
    if train is None:
        named = scored.name if scored else "val"
        aside = f"{_unnamed(others)}add it, or set data.protocol: validation_only"
        raise BudamaError(f"{shown} {named}/ but no train/; {aside}")
    if scored is None:
        also = "" if name == "imagenet" else f"; to have test images cut out of it, set data.root to '{train}'"
        raise BudamaError(f"{shown} {train.name}/ but no val/; {_unnamed(others)}{needed}{also}")
    selection = val if val is not None and val != scored else None
    return Layout(_within(train), _within(scored), selection and _within(selection), beside)


def _within(part: Path) -> Path:
    return _unwrapped(part, role(part.name))


def _slashed(parts: dict[str, Path], others: list[str]) -> str:
    return ", ".join(f"{name}/" for name in [*(part.name for part in parts.values()), *others[:5]])


def _unnamed(others: list[str]) -> str:
    if not others:
        return ""
    return f"{', '.join(f'{name}/' for name in others[:5])} is no part by its name (data.folders can name it); "


def _refuse_parts_called_otherwise(top: Path, layout: Layout) -> None:
    """Refuse class folders that hold no images but all the same folders: which ones are the classes?"""
    folder = layout.train
    names = look(folder).below
    common: list[str] = []
    for name in names:
        holds = look(folder / name)
        if len(holds.below) < 2 or any(is_image(file) for file in holds.files) or common not in ([], holds.below):
            return
        common = holds.below
    if len(names) < 2:
        return
    within, above = _some(common), _some(names)
    if all(map(role, common)):
        raise BudamaError(
            f"{folder}: each of {above} holds {within}; the parts must be at the top, with classes in each"
        )
    relative = {part: os.path.relpath(place, top) for part, place in layout.parts.items()}
    lower = _mapping(
        {"train": os.path.join(relative["train"], names[0]), "test": os.path.join(relative["train"], names[1])}
    )
    raise BudamaError(
        f"{folder}: each of {above} holds the same folders {within}; say which are the classes: the lower ones, by"
        f" data.folders: {lower}, or the upper ones, by data.folders: {_mapping(relative)}"
    )


def _mapping(folders: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{part}: {os.path.normpath(folder)}" for part, folder in folders.items()) + "}"


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(f"{name}/" for name in names[:most]) + (" …" if len(names) > most else "")
