# Asked for on its own, in seconds and without data or weights. Where a scenario names layers, it is the first job.


rule preview:
    """Prune the untrained structure: what a scenario will give in parameters, MiB and MACs."""
    output:
        f"{SCENARIO}/preview.json",
    log:
        f"{LOGS}/preview.log",
    priority: 1
    conda:
        "../../envs/torch.yaml"
    threads: all_cores
    resources:
        mem_mb=8000,
        runtime="30m",
    params:
        scripts=scripts,
        spec=spec("preview"),
    shell:
        "python {params.scripts:q}/preview.py --spec {params.spec:q} --output {output} --threads {threads} > {log} 2>&1"


localrules:
    preview_page,


rule preview_page:
    """The preview as a page: every layer before and after, and what stands in the way of those that stay whole."""
    input:
        f"{SCENARIO}/preview.json",
    output:
        f"{REPORT}/onizleme.html",
    log:
        f"{LOGS}/preview_page.log",
    conda:
        "../../envs/report.yaml"
    params:
        scripts=scripts,
        spec=spec("preview_page"),
    shell:
        "python {params.scripts:q}/preview_page.py --spec {params.spec:q} --preview {input} --output {output} > {log} 2>&1"
