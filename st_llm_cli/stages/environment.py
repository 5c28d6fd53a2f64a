"""What a training run was made with: versions, machine, seeds, data, and the state of the code around it."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from st_llm_cli import __version__
from st_llm_cli.recipe import Recipe
from st_llm_cli.stages.run_folder import write_run_file

PACKAGES = ("torch", "transformers", "accelerate", "peft", "deepspeed", "av")


def describe_environment(path: Path, recipe: Recipe, processes: int) -> None:
    """Write down what decides nothing but may explain a difference.

    Args:
        path: File to write, JSON.
        recipe: What is run.
        processes: How many run it.

    Raises:
        DataError: If it cannot be written.
    """
    facts = {
        "stllm": __version__,
        "python": platform.python_version(),
        **_versions(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "processes": processes,
        "seeds": {stage.name: stage.seed for stage in recipe.training},
        "data": _digests(recipe),
        "git": _git_states(),
    }
    write_run_file(path, json.dumps(facts, indent=2) + "\n")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _digests(recipe: Recipe) -> dict[str, str]:
    """Digest of every annotation file."""
    files = [source.files for stage in recipe.training for source in stage.data]
    paths = dict.fromkeys(Path(block.annotations).expanduser() for _, block in filter(None, files))
    digests = {}
    for path in paths:
        with path.open("rb") as file:
            digests[str(path)] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return digests


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
