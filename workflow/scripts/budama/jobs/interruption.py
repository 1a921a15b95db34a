"""What a person is told when Ctrl-C ends a run: one line, after all that Snakemake says."""

import atexit
import signal
import sys
import threading

AGAIN = (
    "Interrupted. What was finished is kept, and training goes on from its last epoch:"
    " start the same command again to go on."
)

_pressed = threading.Event()


def watch() -> None:
    """Have Ctrl-C remembered, and end as before; the line is the last that this process says.

    Does nothing where SIGINT is ignored (a run in a shell's background) or has another handler already.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _note)
        atexit.register(_say)


def pressed() -> bool:
    """Whether Ctrl-C has been pressed: jobs that failed since then were ended by it."""
    return _pressed.is_set()


def _note(number, frame) -> None:
    _pressed.set()
    signal.default_int_handler(number, frame)


def _say() -> None:
    if pressed():
        print(AGAIN, file=sys.stderr, flush=True)
