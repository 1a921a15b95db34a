# The workflow is workflow/Snakefile. It starts from here too, and from a link to here; a plain include would drop its
# default target.
from pathlib import Path

HERE = Path(workflow.snakefile).resolve().parent
workflow.include((HERE / "workflow/Snakefile").as_posix(), overwrite_default_target=True)
