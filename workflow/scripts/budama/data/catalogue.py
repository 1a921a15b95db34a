"""Which data sets there are, and where their files lie. Free of torch: Snakemake asks while it builds the DAG.

Nothing is downloaded here. `locate` says in one line what is missing; `fingerprint` changes when the data does,
and not when files are merely touched.
"""

import hashlib
import zlib
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from budama.data import layouts
from budama.errors import BudamaError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


@dataclass(frozen=True)
class Source:
    """What is known of a data set before its files are seen."""

    title: str
    stored: str  # "arrays": small images held in memory; "files": one image a file
    shape: tuple[int, int, int]  # channels, height, width that a model sees unless the settings say otherwise
    classes: int | None = None
    own_test: bool = True  # comes with its own test (or validation) images
    mirror: bool = True  # a mirrored image still belongs to its class
    augment: str = "standard"
    mean: tuple[float, ...] | None = None  # None: computed from train
    std: tuple[float, ...] | None = None
    files: tuple[str, ...] = ()  # arrays: what must lie in the folder, train first
    subfolders: tuple[str, ...] = ("",)  # where in the root that folder may be
    download: bool = False
    canonical: str | None = None  # fingerprint after a download, so that downloading does not look like a change


SOURCES = {
    "digits": Source("Digits", "arrays", (1, 8, 8), classes=10, own_test=False, mirror=False, augment="light"),
    "fashion_mnist": Source(
        "Fashion-MNIST",
        "arrays",
        (1, 28, 28),
        classes=10,
        mean=(0.2860,),
        std=(0.3530,),
        files=(
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        ),
        subfolders=("", "FashionMNIST/raw", "raw"),
        download=True,
        canonical="fashion_mnist:b4f29f28-741a4657-678fe0b1-80142c1f",
    ),
    "cifar10": Source(
        "CIFAR-10",
        "arrays",
        (3, 32, 32),
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        files=(*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"),
        subfolders=("", "cifar-10-batches-py"),
        download=True,
        canonical="cifar10:c99cafc1-d4bba439-54ebc095-634d1841-482c414d-40351d58-5ff9c542",
    ),
    "cifar100": Source(
        "CIFAR-100",
        "arrays",
        (3, 32, 32),
        classes=100,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        files=("train", "test", "meta"),
        subfolders=("", "cifar-100-python"),
        download=True,
        canonical="cifar100:16019d7e-f0ef6b0a-7973b151",
    ),
    "food101": Source(
        "Food-101",
        "files",
        (3, 224, 224),
        classes=101,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        files=("meta/train.txt", "meta/test.txt", "images"),
        subfolders=("", "food-101"),
        download=True,
        canonical="food101:85eeb15f",
    ),
    "imagenet": Source("ImageNet", "files", (3, 224, 224), classes=1000, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "image_folder": Source("image folder", "files", (3, 224, 224), own_test=False),
}


def root(data: dict) -> Path:
    """The folder of a data set: `data.root`, or ``data/NAME``."""
    if data["name"] == "image_folder" and not data.get("root"):
        raise BudamaError("data.root is missing; image_folder needs the folder that holds the images")
    return Path(data.get("root") or f"data/{data['name']}")


def input_shape(data: dict) -> tuple[int, int, int]:
    """Channels, height and width that a model sees, as far as the settings tell (a folder of grey images has 1)."""
    channels, side, _ = SOURCES[data["name"]].shape
    side = data.get("image_size") or side
    return data.get("channels") or channels, side, side


def locate(data: dict) -> None:
    """Raise BudamaError, in one line that says where the data must lie, if it is neither there nor downloadable."""
    source = SOURCES[data["name"]]
    if data["name"] == "digits":
        digits_file()
    elif not source.files:
        find_layout(data)
    elif root(data).exists() and not root(data).is_dir():
        raise BudamaError(f"data.root is '{root(data)}', which is a file; it must be a folder")


def fingerprint(data: dict) -> str:
    """A short text that is equal as long as the images of a published data set are: digests of its archives.

    Folders of a user's own images (`imagenet`, `image_folder`) are read by `localdata.folder`.
    """
    source = SOURCES[data["name"]]
    if data["name"] == "digits":
        return f"digits:{metadata.version('scikit-learn')}"
    folder = find_files(data) if source.stored == "arrays" else None
    if folder is None:
        return source.canonical or ""
    return f"{data['name']}:" + "-".join(_content(_plain_or_gz(folder / name)) for name in source.files)


def digits_file() -> Path:
    """scikit-learn's copy of the digits (Alpaydin and Kaynak 1998), read from its wheel without importing it."""
    found = util.find_spec("sklearn")
    places = found.submodule_search_locations if found else None
    path = Path(places[0], "datasets", "data", "digits.csv.gz") if places else None
    if path is None or not path.is_file():
        raise BudamaError("data.name is 'digits', which needs scikit-learn with its data; install scikit-learn")
    return path


def find_files(data: dict) -> Path | None:
    """The folder that holds all of `Source.files` (plain or .gz), or None: then they must be downloaded to `root`."""
    source = SOURCES[data["name"]]
    folders = [root(data) / subfolder for subfolder in source.subfolders]
    if data["name"] == "fashion_mnist" and not data.get("root"):
        folders.append(DEBIAN_FASHION_MNIST)
    for folder in folders:
        if all(_plain_or_gz(folder / name).exists() for name in source.files):
            return folder
    return None


def find_layout(data: dict) -> layouts.Layout:
    """The folders of `imagenet` and `image_folder`; BudamaError where something is missing, or is read in two ways."""
    return layouts.find(root(data), data["name"], data.get("protocol") or "full", data.get("folders"))


def open_maybe_gz(path: Path) -> bytes:
    """The bytes of `path`, or of `path`.gz unpacked."""
    import gzip

    found = _plain_or_gz(path)
    data = found.read_bytes()
    return gzip.decompress(data) if found.suffix == ".gz" else data


def _plain_or_gz(path: Path) -> Path:
    return path if path.exists() else path.with_name(f"{path.name}.gz")


def _content(path: Path) -> str:
    """CRC-32 of an idx file, which gzip keeps in its trailer (RFC 1952); MD5 of others, as torchvision lists them."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return f"{int.from_bytes(data[-8:-4], 'little'):08x}"
    if path.name.endswith("-ubyte"):
        return f"{zlib.crc32(data):08x}"
    return hashlib.md5(data, usedforsecurity=False).hexdigest()[:8]
