"""Edits of a working folder, to try what runs again: each gives a function that changes the folder it is given."""

import os
import re
import shutil
import time

import chain
import yaml


def put(file, key, value):
    """Set a key, `section.key` in a section, in a configuration file."""

    def edit(folder):
        content = yaml.safe_load((folder / "config" / file).read_text())
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
        chain.write(folder, file, content)

    return edit


def reorder(file):
    """Write the keys of a file, and of its sections, the other way round."""

    def turned(value):
        return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    return lambda folder: chain.write(folder, file, turned(yaml.safe_load((folder / "config" / file).read_text())))


def append(file, text):
    def edit(folder):
        with open(folder / file, "a", encoding="utf-8") as opened:
            opened.write(text)

    return edit


def replace(file, pattern, text):
    def edit(folder):
        before = (folder / file).read_text()
        after = re.sub(pattern, text, before, count=1)
        assert after != before, f"{file} has no {pattern}"
        (folder / file).write_text(after)

    return edit


def with_old_time(edit, file):
    """An edit that leaves the file's time as it was, as unpacking an archive does."""

    def edit_and_hide(folder):
        status = os.stat(folder / file)
        edit(folder)
        os.utime(folder / file, ns=(status.st_atime_ns, status.st_mtime_ns))

    return edit_and_hide


def touch(*patterns):
    """Touch files, all at one time: of folders, whose content it does not look at, Snakemake compares the times."""

    def edit(folder):
        found = [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
        assert found
        now = time.time()
        for path in found:
            os.utime(path, (now, now))

    return edit


def remove(path):
    def edit(folder):
        shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()

    return edit


def install(name, version):
    """Another version of a package: its metadata, found before that of the one that is installed."""

    def edit(folder):
        about = folder / f"installed/{name.replace('-', '_')}-{version}.dist-info/METADATA"
        about.parent.mkdir(parents=True)
        about.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    return edit


def all_of(*edits):
    def edit(folder):
        for one in edits:
            one(folder)

    return edit
