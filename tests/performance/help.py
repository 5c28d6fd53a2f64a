"""Measure how long every `--help` takes, median of five fresh processes; 1 is returned above the limit.

Usage: python tests/performance/help.py [ROUNDS]

Two floors are timed in the same rounds: Python alone, and Python importing typer. On a busy machine only the
ratios to them count.
"""

import statistics
import subprocess
import sys
import time

from typer.core import TyperGroup
from typer.main import get_command

from st_llm_cli.cli.main import app

LIMIT_SECONDS = 0.35


def commands() -> list[list[str]]:
    """Every command and subcommand; the bare `stllm` first."""
    found: list[list[str]] = []
    todo: list[tuple[list[str], object]] = [([], get_command(app))]
    while todo:
        path, command = todo.pop(0)
        found.append(path)
        if isinstance(command, TyperGroup):
            todo += [([*path, name], inner) for name, inner in command.commands.items()]
    return found


def seconds(arguments: list[str]) -> float:
    """Time of one fresh process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> int:
    """Print one line per command."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    jobs = {"python -c pass": ["-c", "pass"], "import typer": ["-c", "import typer"]}
    floors = list(jobs)
    for command in commands():
        jobs[" ".join(["stllm", *command, "--help"])] = ["-m", "st_llm_cli", *command, "--help"]
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, arguments in jobs.items():
            taken[name].append(seconds(arguments))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name, median in medians.items():
        ratio = median / medians["import typer"]
        sys.stdout.write(f"{median:.3f} s  {ratio:5.2f} x import typer  {name}\n")
    return int(max(median for name, median in medians.items() if name not in floors) > LIMIT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
