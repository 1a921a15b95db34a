"""Name the folders of variants and seeds that scenarios no longer have; remove them with --remove.

    python workflow/scripts/leftovers.py             # of all scenarios
    python workflow/scripts/leftovers.py demo --remove

Run it in the folder that `snakemake` is started in. Results of variants that a scenario has are never touched.
"""

import shutil
from pathlib import Path

from budama.errors import BudamaError, did_you_mean
from budama.jobs import command_line, leftovers
from budama.settings import stages


def main() -> None:
    parser = command_line.parser(__doc__)
    parser.add_argument("scenarios", metavar="SCENARIO", nargs="*", help="names of scenarios (default: all)")
    parser.add_argument("--remove", action="store_true", help="remove the folders")
    args = parser.parse_args()
    known = stages.find_scenarios()
    for name in args.scenarios:
        if name not in known:
            raise BudamaError(f"config/scenarios: no file has the scenario {name}; {did_you_mean(name, known)}")
    count = 0
    for name in args.scenarios or known:
        scenario = stages.load_scenario(known[name])
        if scenario.recorded is not None:
            continue
        variants = [variant.name for variant in stages.variants(scenario)]
        for folder in leftovers.find(Path("results/scenarios") / name, variants, scenario.seeds):
            count += 1
            if args.remove:
                shutil.rmtree(folder)
            print(f"{'removed' if args.remove else 'left over'}: {folder}")
    if not count:
        print("nothing is left over")
    elif not args.remove:
        print("Start it again with --remove to remove them.")


if __name__ == "__main__":
    command_line.run(main)
