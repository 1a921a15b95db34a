# Reports need results.json alone, so changing how they look computes nothing.


localrules:
    report,
    index,
    leaderboard,


rule report:
    """Render a scenario's report as Markdown, HTML and PDF, with its figures."""
    input:
        results=f"{SCENARIO}/results.json",
        compared=compared_in_this_run,
    output:
        markdown=report(f"{REPORT}/ozet_rapor.md", category="{scenario}", caption="../report/markdown.rst"),
        html=report(f"{REPORT}/ozet_rapor.html", category="{scenario}", caption="../report/summary.rst"),
        pdf=report(f"{REPORT}/ozet_rapor.pdf", category="{scenario}", caption="../report/pdf.rst"),
        figures=directory(f"{REPORT}/figures"),
    log:
        f"{LOGS}/report.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        scripts=scripts,
        spec=report_spec,
        compared=compared_as_they_are,
        folder=REPORT,
    shell:
        "python {params.scripts:q}/report.py --spec {params.spec:q} --results {input.results}"
        " --compare {input.compared} {params.compared} --output-dir {params.folder} > {log} 2>&1"


rule index:
    """A page that leads to every scenario's report, with the leaderboard over all of them."""
    input:
        results=expand("results/scenarios/{scenario}/results.json", scenario=CHOSEN),
        reports=expand("reports/{scenario}/ozet_rapor.html", scenario=CHOSEN),
        published=published_tables,
    output:
        page="reports/index.html",
        csv="reports/leaderboard.csv",
        parquet="reports/leaderboard.parquet",
    log:
        "logs/index.log",
    conda:
        "../../envs/report.yaml"
    params:
        scripts=scripts,
        spec=spec("index"),
        numbers=index_arguments,
    shell:
        "python {params.scripts:q}/index.py --output-dir reports --results-dir results/scenarios"
        " {params.numbers} --published {input.published} -- {input.results} > {log} 2>&1"


# It has no files of its own, so it always runs: the index rule's are made anew from what lies on the disk.
rule leaderboard:
    """The same page of what lies on the disk; nothing is computed, whatever is stale."""
    input:
        published=published_tables,
    log:
        "logs/leaderboard.log",
    conda:
        "../../envs/report.yaml"
    params:
        scripts=scripts,
        spec=spec("index"),
        numbers=index_arguments,
    shell:
        "python {params.scripts:q}/index.py --output-dir reports --results-dir results/scenarios"
        " {params.numbers} --published {input.published} > {log} 2>&1"
