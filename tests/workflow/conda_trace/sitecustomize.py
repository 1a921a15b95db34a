"""Laid into a conda environment by a test: a stage tells at its end which Python ran it and whence it loaded what."""

import atexit
import json
import os
import sys
from pathlib import Path


def _write() -> None:
    script = Path(sys.argv[0]) if sys.argv else Path()
    if script.parent.name == "scripts":
        files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
        seen = {
            "stage": script.stem,
            "prefix": sys.prefix,
            "conda_prefix": os.environ.get("CONDA_PREFIX"),
            "files": {name: file for name, file in files.items() if file and os.path.isabs(file)},
        }
        Path(os.environ["BUDAMA_TRACE"], f"{script.stem}-{os.getpid()}.json").write_text(json.dumps(seen))


if "BUDAMA_TRACE" in os.environ:
    atexit.register(_write)
