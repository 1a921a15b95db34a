"""Which tensors of a weights file are the model's: under which names, behind which prefix, of how many sets.

Training programs wrap models (`module.`, `_orig_mod.`, `backbone.`) and keep an average beside the raw weights (`ema`,
`state_dict_ema`). A file's nested dictionaries are one list of dotted names here, so that a wrapper, a key and a second
model are the same thing: a prefix in front of the model's own names.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import takewhile

from budama.errors import BudamaError

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
AVERAGES = re.compile(r"(^|[._])(ema|swa|avg|averaged?|teacher|momentum|shadow|target|encoder_k)[._]", re.IGNORECASE)
SHARE = 0.9  # of the names that the best set has, which makes another one a set, too
SHOWN, LONGEST = 3, 60  # names in a message, and letters of each


@dataclass(frozen=True)
class Match:
    """`names`: the model's own names with the file's. `taken` and `others`: prefixes of the file's sets of weights."""

    names: dict[str, str]
    taken: str
    others: list[str]
    unused: list[str]  # names of the file behind the same prefix that the model does not have


def match(names: Collection[str], own: Collection[str], key: str | None, path: object) -> Match:
    """Find the model's names `own` among the file's `names`. `key` is `model.weights_key`: the set to take.

    Raises BudamaError where there is nothing under `key`. What is missing is for the caller to judge.
    """
    plain, inner = _plain(names, own), ""
    found = _prefixes(plain, own)
    outer = _common_prefix(own)
    if outer:
        of_inner = _prefixes(plain, [name.removeprefix(outer) for name in own])
        if max(of_inner.values(), default=0) > max(found.values(), default=0):
            found, inner = of_inner, outer  # the file holds what the model wraps
    sets = _sets(found, list(plain), len(own))
    if key is not None:
        asked = ".".join(part for part in key.split(".") if part not in WRAPPERS) + "."
        under = [prefix for prefix in sets if prefix.startswith(asked)]
        if not under:
            raise BudamaError(f"model.weights_key is '{key}', but {path} has no such set of weights; {_told(sets)}")
        sets = under + [prefix for prefix in sets if prefix not in under]
    taken, others = (sets[0], sets[1:]) if sets else (_shared_prefix(list(plain)), [])
    places = {name: taken + name.removeprefix(inner) for name in own}
    used = {*places.values()}
    rest = [name for name in plain if name.startswith(taken) and not _in_another(name, taken, others)]
    matched = {name: plain[place] for name, place in places.items() if place in plain}
    return Match(matched, taken, others, [name.removeprefix(taken) for name in rest if name not in used])


def _in_another(name: str, taken: str, others: list[str]) -> bool:
    """Whether a name belongs to a set that lies inside the one that is taken."""
    return any(other.startswith(taken) and name.startswith(other) for other in others)


def _shared_prefix(names: list[str]) -> str:
    """The parts that all names begin with."""
    columns = zip(*(name.split(".")[:-1] for name in names))
    return "".join(f"{parts[0]}." for parts in takewhile(lambda parts: len(set(parts)) == 1, columns))


def shown(prefix: str) -> str:
    """A prefix as `model.weights_key` names it."""
    return prefix.rstrip(".")


def some(names: list[str]) -> str:
    """A few names, and how many more there are."""
    short = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names[:SHOWN]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(short) + more


def _plain(names: Iterable[str], own: Collection[str]) -> dict[str, str]:
    """The file's names without the parts that wrappers put into them (those that the model has itself stay)."""
    parts = {part for name in own for part in name.split(".")}
    dropped = {wrapper for wrapper in WRAPPERS if wrapper not in parts}
    # DenseNet's files of torchvision were written when a module's name could hold a point: norm.1 for norm1.
    pointed = re.compile(r"\.(norm|relu|conv)\.(\d)\.")
    mended = not any(pointed.search(name) for name in own)
    plain: dict[str, str] = {}
    for name in names:
        bare = ".".join(part for part in name.split(".") if part not in dropped)
        bare = pointed.sub(r".\1\2.", bare) if mended and pointed.sub(r".\1\2.", bare) != bare else bare
        plain[bare if bare not in plain else name] = name
    return plain


def _common_prefix(own: Collection[str]) -> str:
    """The first part of the model's names where all have the same (`net.` of a model that wraps another)."""
    firsts = {name.partition(".")[0] for name in own if "." in name}
    return f"{firsts.pop()}." if len(firsts) == 1 and all("." in name for name in own) else ""


def _prefixes(names: Iterable[str], own: Collection[str]) -> Counter[str]:
    """How many of the model's names stand behind each prefix in the file."""
    wanted, found = set(own), Counter[str]()
    for name in names:
        for at in [0, *(point.end() for point in re.finditer(r"\.", name))]:
            if name[at:] in wanted:
                found[name[:at]] += 1
    return found


def _sets(found: Counter[str], names: list[str], own: int) -> list[str]:
    """Prefixes of sets of weights, each with most of the model's names: raw weights before averages, in file order."""
    enough = max(SHARE * max(found.values(), default=0), own / 2)
    several = [prefix for prefix, count in found.items() if count >= enough]
    place = {prefix: next(at for at, name in enumerate(names) if name.startswith(prefix)) for prefix in several}
    return sorted(several, key=lambda prefix: (AVERAGES.search(prefix) is not None, place[prefix]))


def _told(sets: list[str]) -> str:
    return "it has " + " and ".join(f"'{shown(prefix)}'" for prefix in sets[:5]) if sets else "it has none that fits"
