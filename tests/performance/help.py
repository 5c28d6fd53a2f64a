"""Measure how long `--help` takes, median of five fresh processes; 1 is returned above the limit.

Usage: python tests/performance/help.py
"""

import statistics
import subprocess
import sys
import time

LIMIT_SECONDS = 0.35
COMMANDS = ((), ("describe",), ("demo",), ("train",), ("recipes",), ("recipes", "check"))


def seconds(command: tuple[str, ...]) -> float:
    """Time of one fresh process."""
    began = time.perf_counter()
    asked = [sys.executable, "-m", "st_llm_cli", *command, "--help"]
    subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> int:
    """Print one line per command."""
    slowest = 0.0
    for command in COMMANDS:
        median = statistics.median(seconds(command) for _ in range(5))
        slowest = max(slowest, median)
        print(f"{median:.3f} s  stllm {' '.join((*command, '--help'))}")  # noqa: T201
    return int(slowest > LIMIT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
