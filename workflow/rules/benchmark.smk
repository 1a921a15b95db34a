# What is measured on the finished models, all of a scenario's in one process, alone on the machine.


rule benchmark:
    """Accuracy by image, size, operations, latency, throughput and memory of every model of a scenario."""
    input:
        dataset=of_baseline("dataset.json"),
        baseline=of_baseline("model"),
        models=models,
        exported=exported_files,
    output:
        f"{SCENARIO}/benchmark.json",
    log:
        f"{LOGS}/benchmark.log",
    conda:
        "../../envs/torch.yaml"
    threads: all_cores
    resources:
        mem_mb=16000,
        runtime="8h",
    params:
        scripts=scripts,
        spec=spec("benchmark"),
        models=model_arguments,
        exported=exported_arguments,
    shell:
        "python {params.scripts:q}/benchmark.py --spec {params.spec:q} --dataset {input.dataset} --baseline {input.baseline}"
        " --model {params.models:q} {params.exported:q} --output {output} --threads {threads} > {log} 2>&1"


rule aggregate:
    """One row a variant, with intervals and significance; from recorded results where a scenario has those."""
    input:
        unpack(measured),
    output:
        csv=report(f"{SCENARIO}/results.csv", category="{scenario}", caption="../report/table.rst"),
        parquet=f"{SCENARIO}/results.parquet",
        json=f"{SCENARIO}/results.json",
    log:
        f"{LOGS}/aggregate.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        scripts=scripts,
        spec=spec("aggregate"),
        measured=measured_arguments,
        folder=SCENARIO,
    shell:
        "python {params.scripts:q}/aggregate.py --spec {params.spec:q} {params.measured:q} --output-dir {params.folder}"
        " > {log} 2>&1"
