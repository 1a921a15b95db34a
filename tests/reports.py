"""Results to render in tests (the invented sample, the recorded scenarios, a large grid), and how a report is read."""

import copy
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from budama.reporting import outline, render
from budama.reporting.document import Document
from budama.reporting.language import Language
from budama.reporting.view import Results
from budama.results import recorded
from budama.settings import stages
from budama.significance.hits import packed

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).with_name("data")


@cache
def _sample() -> str:
    return (DATA / "results_sample.json").read_text(encoding="utf-8")


def sample() -> dict:
    """Six methods, two ratios, three seeds; a new copy, so a test may change it."""
    return json.loads(_sample())


def single(ratio: float = 0.3) -> dict:
    """The sample with one ratio alone."""
    content = sample()
    for key in ("variants", "ranking", "comparisons", "against_original"):
        content[key] = [entry for entry in content[key] if entry["ratio"] == ratio]
    content["pruning"]["ratio"] = ratio
    return content


def only(*methods: str) -> dict:
    """The sample of one ratio with these methods, one to a rank."""
    content = single()
    content["variants"] = [row for row in content["variants"] if row["method"] in methods]
    names = [row["variant"] for row in sorted(content["variants"], key=lambda row: -row["accuracy_percent"])]
    content["ranking"] = [
        {"rank": i, "ratio": 0.3, "variants": [name], "tie_p_holm": None} for i, name in enumerate(names, 1)
    ]
    content["comparisons"] = [c for c in content["comparisons"] if {c["a"], c["b"]} <= set(names)]
    for key in ("against_original", "against_random"):
        content[key] = [claim for claim in content[key] if claim["variant"] in names]
    content["warnings"] = []
    return content


def tied(content: dict, p: float = 0.4) -> dict:
    """All in one group."""
    names = [name for group in content["ranking"] for name in group["variants"]]
    content["ranking"] = [{"rank": 1, "ratio": 0.3, "variants": names, "tie_p_holm": p}]
    content["comparisons"] = [c | {"p_holm": p, "distinguishable": False} for c in content["comparisons"]]
    return content


def on_images(content: dict, name: str, gain: float, images: int = 4000) -> dict:
    """The content as another scenario, with hits on test images that all scenarios made so share; every variant has
    about `gain` points more than the sample's. No two rows were tested against each other."""
    easy = np.random.default_rng(8).beta(6, 1.5, images)
    rng = np.random.default_rng(len(name))
    content |= {"scenario": name, "title": name}
    content["dataset"]["counts"]["test"], content["dataset"]["test_split"] = images, "the same"
    for row in (content["baseline"], *content["variants"]):
        for seed in row["seeds"]:
            own = rng.random(images) < np.clip(easy + (gain / 100 if row["method"] else 0), 0, 1)
            seed |= {"hits": packed(own), "accuracy_percent": 100 * own.mean()}
        row["accuracy_percent"] = float(np.mean([one["accuracy_percent"] for one in row["seeds"]] or [0.0]))
    return content


def from_record(name: str) -> dict:
    """results.json of a recorded scenario, as the aggregate stage writes it."""
    scenario = stages.load_scenario(ROOT / f"config/scenarios/{name}_recorded.yaml")
    return json.loads(json.dumps(recorded.aggregate(stages.stage_settings("aggregate", scenario))))


def grid(
    methods: int = 9, ratios: int = 3, seeds: int = 5, layers: int = 53, classes: int = 100, epochs: int = 30
) -> dict:
    """The sample's first row multiplied: methods × ratios, with many layers, classes and epochs."""
    content = sample()
    names = ["coverage", "wanda", "magnitude", "taylor", "random", "scratch", "fpgm", "bn_scale", "lamp", "hessian"]
    template, rows, ranking = content["variants"][0], [], []
    for r in range(ratios):
        ratio = round(0.1 + 0.2 * r, 2)
        for m, method in enumerate(names[:methods]):
            row = copy.deepcopy(template) | {"variant": f"{method}-{ratio}", "method": method, "ratio": ratio}
            row["accuracy_percent"] = 93 - 2 * r - 0.3 * m
            row["seeds"] = [
                template["seeds"][0] | {"seed": s, "accuracy_percent": 93 - 2 * r - 0.3 * m + 0.02 * s}
                for s in range(seeds)
            ]
            row["layers"] = [
                {"name": f"layer{i // 9}.{i % 9}.conv1", "before": 64, "after": 64 - 6 * r - (i * m) % 7}
                for i in range(layers)
            ]
            row["history"] = [
                {
                    "seed": s,
                    "epochs": [
                        {"epoch": e, "train_loss": 1.0, "selection_accuracy_percent": 93 - 9 / e - r}
                        for e in range(1, epochs + 1)
                    ],
                }
                for s in range(seeds)
            ]
            row["per_class_change_points"] = [((7 * c + 3 * m) % 11 - 8) / 2 for c in range(classes)]
            rows.append(row)
            ranking.append({"rank": m + 1, "ratio": ratio, "variants": [row["variant"]], "tie_p_holm": None})
    content["dataset"] |= {"class_names": [f"class {c}" for c in range(classes)], "class_images": [100] * classes}
    return content | {
        "variants": rows,
        "ranking": ranking,
        "comparisons": [],
        "against_original": [],
        "against_random": [],
        "seeds": list(range(seeds)),
    }


def hostile(name: str) -> dict:
    """The sample with one name everywhere a user's or a data set's word can stand."""
    content = single()
    content |= {"scenario": name, "title": name, "date": name, "configuration": {"note": name, name: [name]}}
    content["model"]["title"] = content["dataset"]["title"] = name
    content["dataset"]["class_names"] = [name] * 10
    content["environment"] |= {"cpu": name, name: name}
    content["variants"][0]["method"] = name
    content["variants"][0]["layers"][0]["name"] = name
    content["variants"][-1] |= {"method": name + "2", "reason": name}
    content["warnings"] = [{"code": name, name: name}, {"code": "unavailable", "variant": name, "reason": name},
                           {"code": "label_conflicts", "count": 2, "examples": [name]}]  # fmt: skip
    return content


def document(content: dict, *others: dict, code: str = "tr", decimal: str = ".") -> tuple[Document, Language]:
    """The report of results, compared with others, and its language."""
    language = Language(code, decimal)
    return outline.build(Results(content, language), [Results(other, language) for other in others]), language


def said(content: dict, *others: dict, **options) -> str:
    return render.markdown(*document(content, *others, **options))


def table(text: str) -> dict[str, list[str]]:
    """The rows of the first Markdown table, by method."""
    lines = text[text.index("| Yöntem") :].splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines[2 : next(i for i, x in enumerate(lines) if not x)]
    ]
    return {re.sub(r"[*◆]", "", row[0]).strip(): row[1:] for row in rows}


def section(text: str, title: str) -> str:
    """From a heading to the next of any level."""
    return re.split(r"^#+ .*$", text[text.index(f"# {title}") :], maxsplit=2, flags=re.MULTILINE)[1]


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text, self.ids, self._open = [], "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.text += data
