# A baseline belongs to no scenario: all that prune it share its data, its training and its calibration pass.


rule dataset:
    """Find or download the data, check every file once, fix disjoint splits by content."""
    input:
        users_files,
    output:
        f"{BASELINE}/dataset.json",
    log:
        "logs/baselines/{baseline}/dataset.log",
    conda:
        "../../envs/torch.yaml"
    threads: all_cores
    resources:
        mem_mb=8000,
        runtime="4h",
    params:
        scripts=scripts,
        spec=spec("dataset"),
    shell:
        "python {params.scripts:q}/dataset.py --spec {params.spec:q} --output {output} --threads {threads} > {log} 2>&1"


rule baseline:
    """Take pretrained weights, or train them."""
    input:
        dataset=f"{BASELINE}/dataset.json",
    output:
        model=directory(f"{BASELINE}/model"),
        metrics=f"{BASELINE}/metrics.json",
        history=f"{BASELINE}/history.csv",
    log:
        "logs/baselines/{baseline}/baseline.log",
    conda:
        "../../envs/torch.yaml"
    threads: all_cores
    resources:
        mem_mb=16000,
        runtime="2d",
    params:
        scripts=scripts,
        spec=spec("baseline"),
        launcher=launcher,
        progress=f"{BASELINE}/progress",
    shell:
        "{params.launcher} {params.scripts:q}/baseline.py --spec {params.spec:q} --dataset {input.dataset} --output {output.model}"
        " --metrics {output.metrics} --history {output.history} --progress {params.progress}"
        " --threads {threads} > {log} 2>&1"


rule calibrate:
    """Collect, in one pass, what every pruning method needs."""
    input:
        dataset=f"{BASELINE}/dataset.json",
        model=f"{BASELINE}/model",
    output:
        statistics=f"{BASELINE}/calibration.safetensors",
        curves=f"{BASELINE}/calibration.json",
    log:
        "logs/baselines/{baseline}/calibrate.log",
    conda:
        "../../envs/torch.yaml"
    threads: all_cores
    resources:
        mem_mb=16000,
        runtime="4h",
    params:
        scripts=scripts,
        spec=spec("calibrate"),
    shell:
        "python {params.scripts:q}/calibrate.py --spec {params.spec:q} --dataset {input.dataset} --model {input.model}"
        " --output {output.statistics} --curves {output.curves} --threads {threads} > {log} 2>&1"
