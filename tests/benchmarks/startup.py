"""How long mir takes to start beside ``import torch``: python tests/benchmarks/startup.py

Each is run in turn, nine times; the medians and their ratios to torch's are printed. What shows
nothing but a line (``--version``, a wrong option) should stay under a quarter of torch's time; a
help page imports rich as well.
"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "import torch": ("-c", "import torch"),
    "mir --version": ("-m", "make_it_real", "--version"),
    "mir --nonsense": ("-m", "make_it_real", "--nonsense"),
    "mir --help": ("-m", "make_it_real", "--help"),
}


def seconds(words: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=False, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    runs = [{name: seconds(words) for name, words in COMMANDS.items()} for _ in range(9)]
    medians = {name: statistics.median(run[name] for run in runs) for name in COMMANDS}
    for name, median in medians.items():
        print(f"{name:15} {median:.3f} s  {median / medians['import torch']:.3f}")


if __name__ == "__main__":
    main()
