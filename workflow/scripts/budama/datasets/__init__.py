"""Images as batches, and the manifest (dataset.json) that says which image serves what.

>>> manifest = build_manifest({"data": {...}, "seed": 0}, threads=2)
>>> data = open_data(manifest)
>>> for images, labels in batches(data, "train", 128, augment="auto", shuffle=True, seed=0, epoch=3): ...

Building a manifest needs no torch; what does is imported when it is first asked for.
"""

from importlib import import_module

from budama.datasets.manifest import build_manifest
from budama.datasets.splits import check_disjoint
from budama.locations import fingerprint, locate

__all__ = ["Data", "Split", "batches", "build_manifest", "check_disjoint", "fingerprint", "locate", "open_data"]

_WITH_TORCH = {"Data": "opened", "Split": "opened", "open_data": "opened", "batches": "batching"}


def __getattr__(name: str):
    if name in _WITH_TORCH:
        return getattr(import_module(f"budama.datasets.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
