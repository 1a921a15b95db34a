"""Snakemake's messages of a failed job, without the walls of text before the line that matters.

A job's command holds its whole spec, 1,500 characters and more, and Snakemake prints it twice: with the exception of
the rule and with the rule's error. On the screen neither is needed, since `failures.explain` follows with the job's own
error and a command of a readable length. Snakemake's log file keeps everything.
"""

import copy
import logging
from contextlib import suppress

NOISE = "CalledProcessError"  # "Command '…' returned non-zero exit status 1": the job's own error says why


def shorten() -> None:
    """Have the handlers that write to a screen leave out what `failures.explain` says better. Never breaks a run."""
    with suppress(Exception):
        from snakemake.logging import ColorizingTextHandler, logger

        for handler in logger.handlers:
            if isinstance(handler, ColorizingTextHandler) and not getattr(handler, "shortened", False):
                handler.emit = _shortened(handler.emit)
                handler.shortened = True


def _shortened(emit):
    def shorter(record: logging.LogRecord) -> None:
        if getattr(record, "exception", None) == "RuleException" and NOISE in str(record.msg):
            return
        if getattr(record, "shellcmd", None) and hasattr(record, "rule_name"):
            record = copy.copy(record)
            record.shellcmd = None
        emit(record)

    return shorter
