# Where the stage scripts lie: beside these rules, or in a copy where a Snakefile takes the rules from a git server.
import contextlib
import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path

COPIES = Path(".cache/budama/workflow")


def repository(rules):
    """The folder of the repository that a folder of rules belongs to.

    Snakemake fetches the rules of a git server one file at a time, which a Python package cannot be run from: the
    whole commit is copied once, below the working directory, where the jobs on every node see it.
    """
    if isinstance(rules, os.PathLike):
        folder, here = Path(rules).parents[1], Path.cwd()
        return folder.relative_to(here) if folder.is_relative_to(here) else folder
    commit = rules.hosted_repo.repo.commit(rules.ref)
    folder = COPIES / commit.hexsha[:12]
    if not folder.exists():
        archive = io.BytesIO()
        commit.repo.archive(archive, commit.hexsha)
        archive.seek(0)
        COPIES.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=COPIES, ignore_cleanup_errors=True) as fresh:
            tarfile.open(fileobj=archive).extractall(fresh, filter="data")
            Path(fresh, ".commit").write_text(folder.name)
            with contextlib.suppress(OSError):  # another process was faster
                os.rename(fresh, folder)
    return folder


SCRIPTS = repository(workflow.current_basedir) / "workflow/scripts"
sys.path.insert(0, SCRIPTS.absolute().as_posix())
