# The workflow is workflow/Snakefile. It starts from here too; a plain include would drop its default target.
workflow.include("workflow/Snakefile", overwrite_default_target=True)
