"""Progress for people: a bar on a terminal, a plain line now and then in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

EVERY_SECONDS = 10.0

Item = TypeVar("Item")


def track(iterable: Iterable[Item], label: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Yield the items of `iterable` and show on stderr how far it is.

    On a terminal this is a tqdm bar; elsewhere a line about every ten seconds, and none for what is over sooner.
    """
    if total is None:
        total = len(iterable) if isinstance(iterable, Sized) else None
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(iterable, desc=label, total=total, unit=unit, leave=False, dynamic_ncols=True)
        return
    yield from _lines(iterable, label, total, unit)


def log(message: str) -> None:
    """One plain line on stderr, at once."""
    if sys.stderr.isatty() and "tqdm" in sys.modules:  # keeps a bar that is being drawn in one piece
        sys.modules["tqdm"].tqdm.write(message, file=sys.stderr)
    else:
        print(message, file=sys.stderr, flush=True)


def _lines(iterable: Iterable[Item], label: str, total: int | None, unit: str) -> Iterator[Item]:
    start = said = time.monotonic()
    count = 0
    for count, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if now - said >= EVERY_SECONDS and count != total:
            log(f"{label}: {_state(count, total, unit, now - start)}")
            said = now
    if said > start:
        log(f"{label}: {count} {unit} in {time.monotonic() - start:.0f} s")


def _state(count: int, total: int | None, unit: str, seconds: float) -> str:
    rate = count / seconds
    if total is None:
        return f"{count} {unit}, {rate:.3g} {unit}/s"
    left = max(total - count, 0) / rate
    return f"{count}/{total} {unit} ({100 * count / total:.0f} %), {rate:.3g} {unit}/s, {left:.0f} s left"
