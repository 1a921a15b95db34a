"""What a weights file is, by its content: whatever it is called. Free of torch, and nothing in a file is ever run.

Snakemake asks while it plans, so that a file that cannot serve is told before any image is read.
"""

import json
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from budama.errors import BudamaError

HOW = "write its tensors with torch.save(model.state_dict(), path) where its code is, and name that file"
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of what torch.save wrote before it wrote zip archives
LONGEST_HEADER = 100_000_000  # bytes of a safetensors file's JSON
SIGNS = (  # place in the file, what stands there, what the file is then
    (0, b"version https://git-lfs", "is a pointer of Git LFS and not the file itself; git lfs pull fetches it"),
    (0, b"\x89HDF", f"is an HDF5 file, as Keras writes; {HOW}"),
    (0, b"GGUF", f"is a GGUF file, whose weights are quantised; {HOW}"),
    (4, b"TFL3", f"is a TensorFlow Lite file; {HOW}"),
    (0, b"\x93NUMPY", f"is a numpy array; {HOW}"),
    (0, b"\x1f\x8b", "is packed by gzip; unpack it first"),
    (0, b"BZh", "is packed by bzip2; unpack it first"),
    (0, b"\xfd7zXZ", "is packed by xz; unpack it first"),
    (257, b"ustar", "is a tar archive; unpack it first"),
)
IN_ZIP = (  # how a member's name ends, what the archive is then
    ("/constants.pkl", f"is a TorchScript archive (torch.jit.save), which is a program; {HOW}"),
    ("serialized_exported_program.json", f"is a program of torch.export, not weights; {HOW}"),
    ("archive_format", f"is a program of torch.export, not weights; {HOW}"),
    (".weights.h5", f"is a Keras archive; {HOW}"),
    (".npy", f"is a numpy archive; {HOW}"),
)
MODEL_CLASSES = ("torch.nn.modules.", "torch.nn.parallel.", "torchvision.models.", "timm.models.", "torch.fx.")
QUANTISED = (
    "torch._utils._rebuild_qtensor",
    "torch.ScriptObject",
    "torch._C.ScriptObject",
    "torch.ao.",
    "bitsandbytes.",
)
NO_DATA = (  # modules whose names a file of weights has no need of, and a malicious one has
    *("builtins", "__builtin__", "os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "runpy", "importlib"),
    *("pty", "ctypes", "code", "operator", "functools", "types", "pickle", "_pickle", "io", "webbrowser", "marshal"),
)
HARMLESS = ("set", "frozenset", "list", "dict", "tuple", "int", "float", "str", "bool", "bytes", "bytearray", "complex")
DATA = {"types.SimpleNamespace", *(f"{of}.{name}" for of in ("builtins", "__builtin__") for name in HARMLESS)}


def check(path: str | Path) -> str:
    """`safetensors` or `torch`, by the file's content. BudamaError, in one line, for all others."""
    path = Path(path)
    try:
        found = _refusal(path)
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
    if found in ("safetensors", "torch"):
        return found
    raise BudamaError(f"model.weights: {path} {found}")


def foreign(path: str | Path) -> list[str]:
    """Names that a file of torch.save asks for and that are not torch's: classes of what stands beside the weights."""
    own = ("torch.", "collections.", "_codecs.")
    return [name for name in _globals(Path(path)) if not name.startswith(own)]


def _refusal(path: Path) -> str:
    """The file's kind, or why it is refused."""
    if path.is_dir():
        return f"is a folder; it must be a file{_inside(path)}"
    if not path.is_file():
        raise BudamaError(f"model.weights: there is no file {path}")
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return "cannot be read as weights: it is empty (0 bytes)"
    for at, sign, what in SIGNS:
        if head[at : at + len(sign)] == sign:
            return what
    if head[:4] == b"PK\3\4":
        return _zipped(path)
    if head[:1] == b"\x80" and head[8:9] != b"{":
        return _pickled(path)
    if head[8:9] == b"{" or path.suffix.lower() == ".safetensors":
        return _safetensors(path, size)
    if head[:1] == b"\x08" and (path.suffix == ".onnx" or b"pytorch" in head[:40]):
        return f"is an ONNX file, which has lost the layers' names; {HOW}"
    text = head.isascii() and b"\0" not in head
    return f"is refused: it is {'a text' if text else 'a file of an unknown kind'}, not weights; {HOW}"


def _inside(folder: Path) -> str:
    found = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".pth", ".pt", ".bin", ".ckpt"))
    return f", say {found[0]}" if found else ""


def _zipped(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "cannot be read: it is cut off (the end of its archive is missing)"
    for ending, what in IN_ZIP:
        if any(name.endswith(ending) for name in names):
            return what
    if not any(name.endswith("data.pkl") for name in names):
        return "is a zip archive of other files; unpack it first"
    return _asked_for(path)


def _pickled(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            first = [argument for opcode, argument, _ in pickletools.genops(file) if opcode.name.startswith("LONG")]
    except Exception:  # whatever a damaged pickle makes pickletools run into
        first = []
    if first != [MAGIC]:
        return f"is refused: it is a pickle that torch.save did not write, or is damaged; nothing of it was run; {HOW}"
    return _asked_for(path)


def _asked_for(path: Path) -> str:
    """What a file of torch.save is, by the classes that it asks for."""
    try:
        names = list(_globals(path))
    except Exception as error:  # a file that is cut off, a foreign opcode
        return f"cannot be read: it is damaged or cut off ({type(error).__name__}); nothing of it was run"
    wrong = [name for name in names if _may_run(name)]
    if wrong:
        return f"is refused: it asks for {wrong[0][:80]}, which weights need not; nothing of it was run; {HOW}"
    if any(name.startswith(QUANTISED) for name in names):
        return f"is refused: its weights are quantised; {HOW} from the model in floating point"
    if any(name.startswith(MODEL_CLASSES) for name in names):
        own = [name for name in names if not name.startswith(("torch.", "collections."))]
        shown = f" of the class {own[0][:80]}" if own else ""
        return f"is refused: it is a whole pickled model{shown}, which is code; nothing of it was run; {HOW}"
    return "torch"


def _may_run(name: str) -> bool:
    return name not in DATA and name.partition(".")[0] in NO_DATA


def _globals(path: Path) -> Iterator[str]:
    """Dotted names of the classes and functions that a file of torch.save asks for, in its order, each once."""
    seen: dict[str, None] = {}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(name) as file:
                seen |= dict.fromkeys(_in_pickle(file))
    else:
        with open(path, "rb") as file:
            for _ in range(4):  # magic number, protocol, system, and the object
                seen |= dict.fromkeys(_in_pickle(file))
    yield from seen


def _in_pickle(file: IO[bytes]) -> Iterator[str]:
    texts: list[str] = []  # what STACK_GLOBAL of later protocols takes from the stack
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif "UNICODE" in opcode.name:
            texts.append(str(argument))


def _safetensors(path: Path, size: int) -> str:
    """A safetensors file is whole where its header is JSON and its tensors end where the file does."""
    broken = "is not a whole safetensors file"
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, LONGEST_HEADER):
            return f"{broken} (its header is longer than it)"
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return f"{broken} (its header is no description of tensors)"
    end = 8 + length + max(ends, default=0)
    return "safetensors" if end == size else f"{broken} (it has {size} bytes of {end})"
