"""Files and folders that appear whole or not at all."""

import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from budama import files
from budama.errors import BudamaError

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def nearly_full():
    """As if the disk were full: no file may grow above 4 KiB, and writing more is an error instead of a signal."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_file_appears_with_its_folders_and_nothing_beside_it(tmp_path):
    files.write_text(tmp_path / "a/b/ç.txt", "İş\n")
    assert (tmp_path / "a/b/ç.txt").read_bytes() == "İş\n".encode()
    assert listed(tmp_path / "a/b") == ["ç.txt"]


def test_file_has_the_rights_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    files.write_bytes(tmp_path / "a", b"x")
    os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_json_keeps_its_order_and_turkish_letters_and_knows_numpy(tmp_path):
    files.write_json(
        tmp_path / "a.json", {"z": np.float64(0.1), "a": np.arange(2), "ş": np.bool_(True), "p": Path("x")}
    )
    text = (tmp_path / "a.json").read_text("utf-8")
    assert list(json.loads(text)) == ["z", "a", "ş", "p"]
    assert files.read_json(tmp_path / "a.json") == {"z": 0.1, "a": [0, 1], "ş": True, "p": "x"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_json_with_a_number_that_is_none_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match=r"a\.json"):
        files.write_json(tmp_path / "a.json", {"x": value})
    assert listed(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b'{"a": 1,}', "is not JSON (Illegal trailing comma before end of object, line 1, column 8)"),
        (b'{"a": NaN}', "is not JSON of ours (NaN is not a number)"),
        (b'{"a": 1, "a": 2}', "is not JSON of ours (the key a stands there twice)"),
        (b"", "is not JSON (Expecting value, line 1, column 1)"),
        (b"[" * 100_000, "is not JSON of ours (nested too deeply)"),
        (b'"\xff"', "is not UTF-8 text (byte 2); save it as UTF-8"),
    ],
    ids=["comma", "nan", "twice", "empty", "deep", "bytes"],
)
def test_json_that_cannot_be_read_is_told_in_one_line(tmp_path, monkeypatch, text, line):
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_bytes(text)
    with pytest.raises(BudamaError) as caught:
        files.read_json("a.json")
    if line.startswith("is not JSON (Illegal"):  # worded differently before Python 3.13
        assert str(caught.value).startswith("a.json: is not JSON (")
    else:
        assert str(caught.value) == f"a.json: {line}"


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    files.write_text(tmp_path / "a", "old")
    with pytest.raises(TypeError):
        files.write_bytes(tmp_path / "a", object())
    assert (tmp_path / "a").read_text() == "old"
    assert listed(tmp_path) == ["a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_recognised():
    with pytest.raises(OSError, match="No space") as caught, open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")
    assert files.disk_is_full(caught.value)
    assert files.disk_is_full(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert not files.disk_is_full(OSError(errno.EACCES, "Permission denied"))


def test_no_space_for_a_file_is_told_in_one_line_and_the_old_one_stays(tmp_path, nearly_full):
    files.write_text(tmp_path / "a", "old")
    with pytest.raises(BudamaError) as caught:
        files.write_bytes(tmp_path / "a", bytes(100_000))
    assert caught.value.lines == [f"{tmp_path}/a: no space left for it; nothing of it was kept"]
    assert (tmp_path / "a").read_text() == "old"
    assert listed(tmp_path) == ["a"]


def test_no_space_for_a_folder_is_told_in_one_line_and_the_old_one_stays(tmp_path, nearly_full):
    with files.folder(tmp_path / "model") as inside:
        (inside / "weights").write_bytes(b"old")
    with pytest.raises(BudamaError) as caught, files.folder(tmp_path / "model") as inside:
        (inside / "weights").write_bytes(bytes(100_000))
    assert caught.value.lines == [f"{tmp_path}/model: no space left for it; nothing of it was kept"]
    assert (tmp_path / "model/weights").read_bytes() == b"old"
    assert listed(tmp_path) == ["model"]


def test_folder_appears_whole_and_takes_the_place_of_an_older_one(tmp_path):
    for content in ("one", "two"):
        with files.folder(tmp_path / "deep/model") as inside:
            (inside / content).mkdir()
            (inside / content / "x").write_text(content)
            assert not (tmp_path / "deep/model" / content).exists()
    assert listed(tmp_path / "deep") == ["model"]
    assert listed(tmp_path / "deep/model") == ["two"]


def test_folder_takes_the_place_of_a_file_or_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/keep").write_text("x")
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere")
    with files.folder(tmp_path / "model") as inside:
        (inside / "new").write_text("x")
    assert listed(tmp_path / "model") == ["new"]
    assert listed(tmp_path / "elsewhere") == ["keep"]


def stop(folder: Path, error: type[BaseException]) -> None:
    (folder / "new").write_text("x")
    raise error("stop")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, BudamaError])
def test_folder_that_fails_is_removed_and_the_old_one_stays(tmp_path, error):
    with files.folder(tmp_path / "model") as inside:
        (inside / "old").write_text("x")
    with pytest.raises(error), files.folder(tmp_path / "model") as inside:
        stop(inside, error)
    assert listed(tmp_path) == ["model"]
    assert listed(tmp_path / "model") == ["old"]


def test_place_that_is_no_folder_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BudamaError, match="file/a: cannot be written"):
        files.write_text(tmp_path / "file/a", "x")
    with pytest.raises(BudamaError, match="file/a: cannot be written"), files.folder(tmp_path / "file/a"):
        pass


def test_killed_writer_leaves_the_old_file_whole(tmp_path):
    target = tmp_path / "a"
    code = (
        "import sys, itertools; from budama import files\n"
        "for n in itertools.count(): files.write_bytes(sys.argv[1], bytes([n % 256]) * 200_000)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(target)], cwd=SCRIPTS)
    while not target.exists():
        time.sleep(0.01)
    time.sleep(0.1)
    writer.kill()
    writer.wait()
    data = target.read_bytes()
    assert len(data) == 200_000
    assert len(set(data)) == 1


def test_what_a_killed_writer_left_is_removed_by_the_next_one_and_what_a_living_one_writes_is_not(tmp_path):
    code = (
        "import sys, time; from budama import files\nwith files.folder(sys.argv[1]): print(1, flush=1); time.sleep(60)"
    )
    (tmp_path / ".model.0123abcd.part").write_text("a file's name cannot be told from a folder's")
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    killed, living = (subprocess.Popen(command, cwd=SCRIPTS, stdout=subprocess.PIPE) for _ in range(2))
    for writer in (killed, living):
        writer.stdout.read(2)
    killed.kill()
    killed.wait()
    for _ in range(2):
        with files.folder(tmp_path / "model") as inside:
            (inside / "x").write_text("x")
        assert len(listed(tmp_path)) == 2, "the model, and what the living one writes"
    living.kill()
    living.wait()
    files.write_text(tmp_path / "other", "x")
    with files.folder(tmp_path / "model"):
        pass
    assert listed(tmp_path) == ["model", "other"]


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"budama")
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"budama").hexdigest()
    with pytest.raises(BudamaError, match="none: cannot be read"):
        files.sha256(tmp_path / "none")
