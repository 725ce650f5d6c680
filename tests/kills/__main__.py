"""Kill every long command at random moments and compare the results bit for bit.

python -m tests.kills --kills 100 --seed 0
python -m tests.kills --kills 20 --only score train
"""

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.kills import runner
from tests.kills.jobs import JOBS, make_world


def main() -> None:
    """Run, and print one line of JSON: what was done to each command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", nargs="+", choices=list(JOBS), default=list(JOBS))
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        world = make_world(Path(folder))
        rng = random.Random(options.seed)
        counts = runner.run(world, options.kills, rng, options.only, tell=_tell)
    done = {name: dataclasses.asdict(count) for name, count in counts.items()}
    kills = sum(count.kills for count in counts.values())
    seconds = round(time.monotonic() - begun)
    print(json.dumps({"kills": kills, "seed": options.seed, "seconds": seconds, "commands": done}))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
