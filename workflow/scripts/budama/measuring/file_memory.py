"""How much memory an ONNX file takes in ONNX Runtime, measured in a process of its own.

Run as a program, this file is that process: `file_memory.py FILE THREADS N C H W` prints MiB. It imports nothing of
budama, so that what it measures is the runtime's.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PEAK = "VmHWM:"  # of /proc/self/status (proc_pid_status(5)): the most resident memory so far, in KiB


def peak_memory_mib(path: str | Path, shape: Sequence[int], threads: int = 1) -> float | None:
    """The most MiB of resident memory that loading `path` and one call with a batch of `shape` add to a process that
    has imported ONNX Runtime; None where the system does not tell, or the file does not run."""
    command = [sys.executable, __file__, str(path), str(threads), *map(str, shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 and done.stdout.strip() else None


def _peak_kib() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(PEAK)), None)


def _measure(path: str, threads: int, shape: Sequence[int]) -> None:
    import numpy as np
    import onnxruntime

    images = np.zeros(shape, np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    before = _peak_kib()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: images})
    after = _peak_kib()
    if before is not None and after is not None:
        print((after - before) / 1024)


if __name__ == "__main__":
    _measure(sys.argv[1], int(sys.argv[2]), [int(side) for side in sys.argv[3:]])
