"""What was tested: model, data, pruning parameters, methods."""

from budama.reporting.document import Bullets, Facts, Section
from budama.reporting.inline import Inline, data
from budama.reporting.view import Results


def sections(results: Results) -> list[Section]:
    """Test Konfigürasyonu with its three parts."""
    say = results.language.say
    whole = [results.unpruned["method"]] if results.unpruned else []
    methods = [*dict.fromkeys(row["method"] for row in results.variants), *whole]
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
    counts, shape, protocol = dataset["counts"], model["input_shape"], dataset["protocol"]
    return [
        ("model", say("configuration.model", title=model["title"], parameters=results.baseline["parameters"])),
        ("dataset", dataset["title"]),
        ("classes", _count(results, model["classes"])),
        ("input", say("configuration.input", shape=shape) if shape else None),
        ("validation" if results.recorded else "test", _count(results, counts["test"])),
        ("calibration", _count(results, counts["calibration"])),
        ("train", _count(results, counts["train"])),
        ("selection", _count(results, counts["selection"])),
        (
            "protocol",
            say(f"names.protocols.{protocol}") if results.language.has(f"names.protocols.{protocol}") else None,
        ),
    ]


def _pruning(results: Results) -> list[tuple[str, Inline | str | None]]:
    say, language, pruning, finetune = results.language.say, results.language, results.pruning, results.finetune
    ratios = [language.share(ratio) for ratio in results.ratios if ratio is not None]
    scope, match, reestimate = pruning["scope"], pruning["match"], pruning["reestimate_batchnorm"]
    compensate = pruning["compensate"] or "off"
    widths, round_to = results.content["widths"], pruning["round_to"]
    optimizer = rounded = distill = None
    if finetune["optimizer"]:
        how = {"optimizer": finetune["optimizer"], "rate": _rates(results), "batch": finetune["batch_size"]}
        optimizer = say("configuration.optimizer", **how)
    if round_to == "auto":
        rounded = say("configuration.round_auto", value=widths["round_to"] if widths else None)
    elif round_to is not None:
        rounded = say("configuration.round_to", value=round_to)
    if finetune["distill"]:
        weight, temperature = finetune["distill"], finetune["distill_temperature"]
        distill = say("configuration.distill", weight=weight, temperature=temperature)
    return [
        ("ratio", ", ".join(ratios) or None),
        ("match", say(f"names.matches.{match}") if match and match != "channels" else None),
        ("global", say(f"configuration.scope.{scope}") if scope else None),
        ("layers", _layers(results)),
        ("steps", _count(results, pruning["steps"])),
        ("cycles", _count(results, cycles) if (cycles := pruning.get("cycles") or 1) > 1 else None),
        ("epochs", _count(results, finetune["epochs"])),
        ("calibration_batches", _count(results, results.content["calibration"]["batches"])),
        ("round_to", rounded),
        ("reestimate", None if reestimate is None else say("words.yes" if reestimate else "words.no")),
        (
            "compensate",
            say(f"configuration.compensated.{compensate}") if compensate != "off" else None,
        ),
        ("optimizer", optimizer),
        ("distill", distill),
        ("seeds", ", ".join(map(str, results.content["seeds"])) or None),
    ]


def _layers(results: Results) -> Inline | None:
    """The layers that had ratios of their own."""
    asked = results.pruning.get("layers") or {}
    named = [{"pattern": pattern, "ratio": ratio} for pattern, ratio in asked.items()]
    return results.language.say("configuration.own_ratios", named=named) if named else None


def _rates(results: Results) -> str | None:
    """The learning rate, or those that were tried."""
    rate = results.finetune["learning_rate"]
    every = rate if isinstance(rate, list) else [] if rate is None else [rate]
    return " / ".join(results.language.short(one, 6) for one in every) or None


def _count(results: Results, value: int | None) -> str | None:
    return None if value is None else results.language.number(value, 0)
