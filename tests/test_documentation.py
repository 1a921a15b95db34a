"""What the documentation names is there, and what is there is named where someone looks for it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "workflow/scripts/budama"
PAGES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/own_images.md")
ROOMS = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
OF_READERS = (
    "config/baselines/cicekler_resnet18.yaml",
    "config/scenarios/cicekler.yaml",
    "load_example.py",
)  # made by them


def named(page: str) -> set[str]:
    """The files of ours that a page names: in the text as code, or behind a link."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    code = re.findall(r"`([\w./-]+\.(?:py|smk|yaml|yml|j2|css|md|svg))`", text)
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)
    return {*code, *(str((ROOT / page).parent.joinpath(link).resolve().relative_to(ROOT)) for link in links)}


def tree() -> list[str]:
    """The paths in the README's tree."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    paths, above = [], {0: ""}
    for line in text.split("## Where things are")[1].split("```")[1].strip().splitlines():
        depth = len(line) - len(line.lstrip())
        for name in re.split(r"\s{2,}", line.strip())[0].split():
            paths.append(above[depth] + name)
            above[depth + 2] = above[depth] + name
    return paths


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page):
    files = {path.name for path in [*LIBRARY.rglob("*"), *LIBRARY.parent.glob("*.py")]}
    missing = [
        name
        for name in sorted(named(page) - {*OF_READERS})
        if not ((ROOT / name).exists() or (LIBRARY / name).exists() or ("/" not in name and name in files))
    ]
    assert missing == []


def test_the_tree_in_the_readme_has_every_room_and_nothing_that_is_not_there():
    paths = [path for path in tree() if path not in ("results/", "logs/")]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {f"workflow/scripts/budama/{room}/" for room in ROOMS} <= {*paths}


def test_the_architecture_names_every_room_in_its_table_and_in_its_drawing():
    page, drawing = ((ROOT / f"docs/architecture.{form}").read_text(encoding="utf-8") for form in ("md", "svg"))
    for room in ROOMS:
        assert f"| `{room}/` |" in page
        assert f">{room}/<" in drawing
