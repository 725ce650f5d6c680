"""Kill every long command at random moments and compare the results bit for bit.

Then try on each of them: SIGINT and SIGTERM, a full disk, a folder that nobody may write, a clock
that jumps, files that are cut short, two processes in one folder.

    python -m tests.kills --kills 100 --seed 0
    python -m tests.kills --kills 20 --only score train --no-faults
"""

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.kills import faults, runner
from tests.kills.jobs import JOBS, make_world


def main() -> None:
    """Run, and print one line of JSON: what was done to each command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time")
    parser.add_argument("--only", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--faults", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        world = make_world(Path(folder))
        counts = runner.run(
            world, options.kills, options.seed, options.only, options.jobs, tell=_tell
        )
        done: dict[str, dict] = {name: dataclasses.asdict(counts[name]) for name in counts}
        for name in options.only if options.faults else ():
            _tell(f"{name}: faults")
            folder = world.folder / "faults" / name
            rng = random.Random(f"{options.seed}/{name}")
            done[name]["faults"] = faults.all_of(JOBS[name], world, folder, rng, _tell)
    kills = sum(count.kills for count in counts.values())
    seconds = round(time.monotonic() - begun)
    print(json.dumps({"kills": kills, "seed": options.seed, "seconds": seconds, "commands": done}))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
