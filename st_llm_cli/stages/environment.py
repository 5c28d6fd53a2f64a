"""What a training run was made with: versions, machine, seeds, data, and the state of the code around it."""

from __future__ import annotations

import json
import logging
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from st_llm_cli import __version__
from st_llm_cli.errors import TrainingError
from st_llm_cli.json_text import parse_json
from st_llm_cli.recipe import Recipe
from st_llm_cli.stages.run_folder import write_run_file

log = logging.getLogger(__name__)

NAME = "environment.json"
PACKAGES = ("torch", "transformers", "accelerate", "peft", "deepspeed", "av")


def describe_environment(
    output: Path, recipe: Recipe, processes: int, stage: str, data: dict[str, str]
) -> None:
    """Write down what a stage is made with; what is known of the data of others stays.

    Args:
        output: Run folder.
        recipe: What is run.
        processes: How many run it.
        stage: Name of the stage that begins or goes on.
        data: Digests of its annotation files, by path.

    Raises:
        DataError: If it cannot be written.
    """
    known = {**_data_of_stages(output), stage: data}
    facts = {
        "stllm": __version__,
        "python": platform.python_version(),
        **_versions(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "processes": processes,
        "seeds": {stage.name: stage.seed for stage in recipe.training},
        "data": {each.name: known[each.name] for each in recipe.training if each.name in known},
        "git": _git_states(),
    }
    write_run_file(output / NAME, json.dumps(facts, indent=2) + "\n")


def refuse_other_data(output: Path, stage: str, data: dict[str, str]) -> None:
    """Refuse to go on with a stage by other data than it began with; say so where that is not known.

    Args:
        output: Run folder.
        stage: Name of the stage.
        data: Digests of its annotation files, by path.

    Raises:
        TrainingError: If one is another, with its path.
    """
    before = _data_of_stages(output).get(stage, {})
    if data and not before:
        log.warning(
            "stage '%s': %s does not say what data it began with, so they were not compared", stage, NAME
        )
    changed = [file for file, digest in data.items() if before.get(file, digest) != digest]
    if changed:
        others = f", and {len(changed) - 1} more of its files with it" if len(changed) > 1 else ""
        what = f"has changed since stage '{stage}' began with it{others}"
        raise TrainingError(what, where=changed[0], fix="put back what was in it, or give another --output")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _data_of_stages(output: Path) -> dict[str, dict[str, str]]:
    """Read which data each stage began with, as far as that is known."""
    try:
        facts = parse_json((output / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a file that is there for people to read
        return {}
    data = facts.get("data") if isinstance(facts, dict) else None
    # An earlier version wrote the digests of all stages together, and anew each time.
    stages = data.items() if isinstance(data, dict) else ()
    return {stage: files for stage, files in stages if isinstance(files, dict)}


def _git_states() -> dict[str, Any]:
    """Where the program's own source stands, if that is a checkout, and the folder one is in, if another."""
    source = _git_state(Path(__file__))
    here = _git_state(Path.cwd())
    same = source is not None and here is not None and source["root"] == here["root"]
    return {"program": source} if same else {"program": source, "folder": here}


def _git_state(path: Path) -> dict[str, Any] | None:
    """Commit of a checkout, and whether anything was changed since.

    Args:
        path: A folder, or a file that is to be one of the checkout: an installed program may lie in anyone's.

    Returns:
        None outside of git.
    """
    folder, named = (path, []) if path.is_dir() else (path.parent, ["ls-files", "--error-unmatch", path.name])
    asked = (
        ["rev-parse", "--show-toplevel"],
        ["rev-parse", "HEAD"],
        ["status", "--porcelain", "--untracked-files=no"],
        *([named] if named else []),
    )
    try:
        root, commit, changes, *_ = (
            subprocess.run(
                ["git", "-C", str(folder), *each], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for each in asked
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"root": root, "commit": commit, "changed": bool(changes)}
