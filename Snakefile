# budama: how much smaller and faster does a vision model get when whole channels are removed, by which method, and at
# what cost in accuracy? Scenarios are in config/; `snakemake --cores 8 --use-conda` computes and reports them.
configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/baseline.smk"
include: "workflow/rules/prune.smk"
include: "workflow/rules/benchmark.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/preview.smk"


localrules:
    all,
    report,
    index,


onstart:
    terminal.show(workflow)


onsuccess:
    terminal.hide()


onerror:
    terminal.hide()
    explain_failures()


rule all:
    default_target: True
    input:
        products_of_chosen,
