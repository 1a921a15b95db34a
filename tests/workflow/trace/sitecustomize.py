"""Found by Python in the jobs of a test run: at a stage's end, writes which of the project's modules it had loaded."""

import atexit
import json
import os
import sys
from pathlib import Path


def _write() -> None:
    script = Path(sys.argv[0]) if sys.argv else Path()
    if script.parent.name == "scripts":
        loaded = sorted(name for name in sys.modules if name.partition(".")[0] == "budama")
        text = json.dumps({"stage": script.stem, "modules": loaded, "torch": "torch" in sys.modules})
        Path(os.environ["BUDAMA_TRACE"], f"{script.stem}-{os.getpid()}.json").write_text(text)


if "BUDAMA_TRACE" in os.environ:
    atexit.register(_write)
