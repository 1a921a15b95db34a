# Every variant is pruned once (or once a seed, where the method is random) and fine-tuned with every seed.


rule widths:
    """Measure which channel counts are fast on this machine; for round_to: auto alone."""
    output:
        f"{SCENARIO}/widths.json",
    log:
        f"{LOGS}/widths.log",
    conda:
        "../../envs/torch.yaml"
    threads: all_cores
    resources:
        mem_mb=8000,
        runtime="1h",
    params:
        scripts=scripts,
        spec=spec("widths"),
    shell:
        "python {params.scripts:q}/widths.py --spec {params.spec:q} --output {output} --threads {threads} > {log} 2>&1"


rule layer_times:
    """Measure how long layers take at the widths that pruning may leave; for match: latency alone."""
    output:
        f"{SCENARIO}/layer_times.json",
    log:
        f"{LOGS}/layer_times.log",
    priority: 1
    conda:
        "../../envs/torch.yaml"
    threads: all_cores
    resources:
        mem_mb=16000,
        runtime="2h",
    params:
        scripts=scripts,
        spec=spec("layer_times"),
        ratios=asked_ratios,
    shell:
        "python {params.scripts:q}/layer_times.py --spec {params.spec:q} --ratios {params.ratios} --output {output}"
        " --threads {threads} > {log} 2>&1"


rule prune:
    """Score channels, remove the lowest, re-estimate BatchNorm."""
    input:
        dataset=of_baseline("dataset.json"),
        model=of_baseline("model"),
        calibration=of_baseline("calibration.safetensors"),
        widths=measured_widths,
        times=layer_times,
        checked=ancient(checked_layers),
        trained=trained_before,
    output:
        model=directory(f"{SCENARIO}/{{place}}/pruned"),
        report=f"{SCENARIO}/{{place}}/pruning.json",
    log:
        f"{LOGS}/{{place}}/prune.log",
    conda:
        "../../envs/torch.yaml"
    threads: cores_to_prune
    resources:
        mem_mb=16000,
        runtime="4h",
    params:
        scripts=scripts,
        spec=spec("prune"),
        widths=width_arguments,
        times=layer_times_arguments,
        trained=trained_arguments,
    shell:
        "python {params.scripts:q}/prune.py --spec {params.spec:q} --dataset {input.dataset} --model {input.model}"
        " --calibration {input.calibration} {params.widths:q} {params.times:q} {params.trained:q} --output {output.model} --report {output.report}"
        " --threads {threads} > {log} 2>&1"


rule finetune:
    """Train a pruned model again; goes on from its last finished epoch. Of several learning rates, choose the best."""
    input:
        dataset=of_baseline("dataset.json"),
        model=of_pruned("pruned"),
        teacher=of_baseline("model"),
        tried=tried_files,
    output:
        model=directory(f"{SCENARIO}/{{variant}}/seed-{{seed}}{{run}}/model"),
        metrics=f"{SCENARIO}/{{variant}}/seed-{{seed}}{{run}}/metrics.json",
        history=f"{SCENARIO}/{{variant}}/seed-{{seed}}{{run}}/history.csv",
    log:
        f"{LOGS}/{{variant}}/seed-{{seed}}{{run}}/finetune.log",
    conda:
        "../../envs/torch.yaml"
    threads: a_share_of_the_cores
    resources:
        mem_mb=16000,
        runtime="2d",
    params:
        scripts=scripts,
        spec=spec("finetune"),
        launcher=launcher,
        progress=f"{SCENARIO}/{{variant}}/seed-{{seed}}{{run}}/progress",
        tried=tried_arguments,
    shell:
        "{params.launcher} {params.scripts:q}/finetune.py --spec {params.spec:q} --dataset {input.dataset} --model {input.model}"
        " --teacher {input.teacher} {params.tried:q} --output {output.model} --metrics {output.metrics} --history {output.history}"
        " --progress {params.progress} --threads {threads} > {log} 2>&1"


rule export:
    """Write a fine-tuned model in other programs' formats, each checked against the original."""
    input:
        dataset=of_baseline("dataset.json"),
        model=f"{SCENARIO}/{{variant}}/seed-{{seed}}/model",
    output:
        directory(f"{SCENARIO}/{{variant}}/seed-{{seed}}/export"),
    log:
        f"{LOGS}/{{variant}}/seed-{{seed}}/export.log",
    conda:
        "../../envs/torch.yaml"
    threads: a_share_of_the_cores
    resources:
        mem_mb=8000,
        runtime="1h",
    params:
        scripts=scripts,
        spec=spec("export"),
    shell:
        "python {params.scripts:q}/export.py --spec {params.spec:q} --dataset {input.dataset} --model {input.model}"
        " --output {output} --threads {threads} > {log} 2>&1"


# The model that was not pruned, for the pruned ones to be measured against in those programs.
use rule export as export_original with:
    input:
        dataset=of_baseline("dataset.json"),
        model=of_baseline("model"),
    output:
        directory(f"{SCENARIO}/original/export"),
    log:
        f"{LOGS}/original/export.log",
