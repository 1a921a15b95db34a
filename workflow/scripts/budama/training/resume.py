"""Interrupted training goes on from its last finished epoch: one file, replaced as a whole, no pickle.

It holds the weights, their average, the optimizer's moments, the best weights so far and the history; and a fingerprint
of all that decides the result, so that the progress of another configuration is never taken for this one's.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch

from budama import files
from budama.errors import BudamaError
from budama.progress import log

STATE = "state.safetensors"
_KEY = "budama"


@dataclass
class State:
    """What training knows after `epoch` epochs. `tensors` has a group (weights, best, …) of named tensors each."""

    epoch: int
    facts: dict = field(default_factory=dict)  # JSON: history, best epoch, …
    tensors: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names, shapes, types and values."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def write(folder: str | Path, fingerprint: dict, state: State) -> None:
    """Replace the progress in `folder`. The file is whole at every moment: it is renamed onto the older one."""
    from safetensors.torch import save

    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, members in state.tensors.items()
        for name, tensor in members.items()
    }
    about = json.dumps({"fingerprint": fingerprint, "epoch": state.epoch, "facts": state.facts}, allow_nan=False)
    files.write_bytes(Path(folder) / STATE, save(flat, metadata={_KEY: about}))


def read(folder: str | Path, fingerprint: dict) -> State | None:
    """The progress in `folder` if it is of this `fingerprint`; else None, and a line that says why."""
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            other = sorted(key for key in {*fingerprint, *about["fingerprint"]} if _differs(key, fingerprint, about))
            if other:
                log(f"{files.shown(path)}: was made with other {', '.join(other)}; training starts anew")
                return None
            state = State(about["epoch"], about["facts"])
            for key in file.keys():  # noqa: SIM118 (not a dict)
                group, _, name = key.partition("/")
                state.tensors.setdefault(group, {})[name] = file.get_tensor(key).clone()
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        log(f"{files.shown(path)}: is no progress of ours ({type(error).__name__}); training starts anew")
        return None
    except OSError as error:
        raise BudamaError(f"{files.shown(path)}: cannot be read ({error.strerror})") from None
    return state


def discard(folder: str | Path) -> None:
    """Remove the progress: the result is in place."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: str | Path) -> None:
    """Remove what a killed process had half written."""
    for path in Path(folder).glob(".*.part"):
        path.unlink(missing_ok=True)


def _differs(key: str, fingerprint: dict, about: dict) -> bool:
    return fingerprint.get(key) != about["fingerprint"].get(key)
