"""Draw what a run of mir train logged: how far f(Ax) and f(x) are from x, over its steps.

    python examples/draw_log.py runs/mine -o mine-log.png

Each point is a mean over 25 steps, of the network that is trained, not of its average.
"""

import argparse
import json
from pathlib import Path

from make_it_real.inference import plots

TERMS = {"restore": "|f(Ax) - x|", "rec": "|f(x) - x|"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    lines = (asked.run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    # A run that was resumed has logged the steps since its last checkpoint twice: the later count.
    found = {line["step"]: line for line in map(json.loads, lines)}
    steps = sorted(found)
    curves = {shown: [found[step][term] for step in steps] for term, shown in TERMS.items()}
    asked.output.write_bytes(plots.curve(steps, curves, "mean absolute difference, over steps"))


if __name__ == "__main__":
    main()
