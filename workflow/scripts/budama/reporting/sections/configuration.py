"""What was tested: model, data, pruning parameters, methods."""

from budama.reporting.document import Bullets, Facts, Section
from budama.reporting.inline import Inline, data
from budama.reporting.view import Results


def sections(results: Results) -> list[Section]:
    """Test Konfigürasyonu with its three parts."""
    say = results.language.say
    methods = list(dict.fromkeys(row["method"] for row in results.variants))
    lines = [say("configuration.method", name=results.full(m), description=results.describe(m)) for m in methods]
    return [
        Section("configuration", say("configuration.title"), []),
        Section("data", say("configuration.data"), [Facts(_labelled(results, _data(results)))], 3),
        Section("pruning", say("configuration.pruning"), [Facts(_labelled(results, _pruning(results)))], 3),
        Section("methods", say("configuration.methods"), [Bullets(lines, ordered=True)], 3),
    ]


def _labelled(results: Results, facts: list[tuple[str, Inline | str | None]]) -> list[tuple[Inline, Inline]]:
    """Facts that are known, under the catalogue's labels."""
    return [
        (results.language.say(f"configuration.labels.{key}"), data(value)) for key, value in facts if value is not None
    ]


def _data(results: Results) -> list[tuple[str, Inline | str | None]]:
    say, model, dataset = results.language.say, results.model, results.dataset
    counts = dataset.get("counts") or {}
    classes, shape = model.get("classes"), model.get("input_shape")
    calibration = (results.content.get("calibration") or {}).get("images") or counts.get("calibration")
    parameters = results.baseline.get("parameters")
    protocol = dataset.get("protocol")
    return [
        (
            "model",
            say("configuration.model", title=model.get("title") or model.get("name") or "?", parameters=parameters),
        ),
        ("dataset", dataset.get("title") or dataset.get("name")),
        ("classes", _count(results, classes)),
        ("input", say("configuration.input", shape=shape) if shape else None),
        ("validation" if results.recorded else "test", _count(results, counts.get("test"))),
        ("calibration", _count(results, calibration)),
        ("train", _count(results, counts.get("train"))),
        ("selection", _count(results, counts.get("selection"))),
        (
            "protocol",
            say(f"names.protocols.{protocol}") if results.language.has(f"names.protocols.{protocol}") else None,
        ),
    ]


def _pruning(results: Results) -> list[tuple[str, Inline | str | None]]:
    say, language, pruning, finetune = results.language.say, results.language, results.pruning, results.finetune
    ratios = [language.share(ratio) for ratio in results.ratios if ratio is not None]
    scope, match, rounded = pruning.get("scope"), pruning.get("match"), pruning.get("round_to")
    reestimate, distill = pruning.get("reestimate_batchnorm"), finetune.get("distill")
    seeds = results.content.get("seeds") if not results.recorded else None
    optimizer = None
    if finetune.get("optimizer"):
        rate, batch = finetune.get("learning_rate") or 0, finetune.get("batch_size") or "?"
        optimizer = say("configuration.optimizer", optimizer=finetune["optimizer"], rate=rate, batch=batch)
    if rounded == "auto":
        rounded = say("configuration.round_auto", value=(results.content.get("widths") or {}).get("round_to"))
    elif rounded is not None:
        rounded = say("configuration.round_to", value=rounded)
    if distill:
        temperature = finetune.get("distill_temperature") or 1
        distill = say("configuration.distill", weight=distill, temperature=temperature)
    return [
        ("ratio", ", ".join(ratios) or None),
        ("match", say(f"names.matches.{match}") if match and match != "channels" else None),
        ("global", say(f"configuration.scope.{scope}") if scope else None),
        ("steps", _count(results, pruning.get("steps"))),
        ("epochs", _count(results, finetune.get("epochs"))),
        ("calibration_batches", _count(results, (results.content.get("calibration") or {}).get("batches"))),
        ("round_to", rounded),
        ("reestimate", None if reestimate is None else say("words.yes" if reestimate else "words.no")),
        ("optimizer", optimizer),
        ("distill", distill or None),
        ("seeds", ", ".join(str(seed) for seed in seeds) if seeds else None),
    ]


def _count(results: Results, value: int | None) -> str | None:
    return None if value is None else results.language.number(value, 0)
