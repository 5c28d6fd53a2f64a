"""A model's name → the folder that holds it: bundled, on this machine, of a run, or from the Hub."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from st_llm_cli.errors import CheckpointError

ASSETS = Path(__file__).parents[1] / "assets"
BUNDLED = {"tiny": ASSETS / "tiny"}
"""Models that come with the package."""

HOW_TO_NAME = "give a bundled model (`stllm models list`), a folder, or a Hub id owner/name[:subfolder]"
CONFIG = "config.json"
OUR_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""What is fetched of a Hub repository; released ones also hold `.bin` files, which only an import reads."""
RESULTS = ("checkpoint", "checkpoints/*", "checkpoint-*", "work/*/checkpoint-*")
"""Where a run keeps checkpoints, finished ones before those on the way."""
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pth")


def locate(name: str) -> Path:
    """Find the checkpoint folder that a name stands for.

    Args:
        name: A bundled model, a checkpoint folder, a run folder (for its newest checkpoint), or a Hub id.

    Returns:
        A folder that holds a `config.json`.

    Raises:
        CheckpointError: If there is nothing of that name, or nothing to load in it.
    """
    path = Path(name).expanduser()
    if name in BUNDLED:  # also where a folder is called so: the default must not depend on where one stands
        return _bundled(name)
    if path.is_dir():
        return newest_checkpoint(path)
    if path.exists():
        what = "a file, and a checkpoint is a folder"
        raise CheckpointError(what, where=name, fix="name the folder the file is in")
    if HUB_ID.fullmatch(name):
        return newest_checkpoint(fetch(name, OUR_FILES))
    raise CheckpointError(f"no model {name!r}{_did_you_mean(path)}", fix=HOW_TO_NAME)


def newest_checkpoint(folder: Path) -> Path:
    """Find the checkpoint of a folder: itself, or the last one of a run.

    Raises:
        CheckpointError: If there is none.
    """
    newest = _newest(folder)
    if newest is None:
        what = f"no checkpoint: neither {CONFIG} nor a run's checkpoints"
        raise CheckpointError(what, where=str(folder), fix="name a checkpoint folder or a run folder")
    return newest


def _newest(folder: Path) -> Path | None:
    if (folder / CONFIG).exists():
        return folder
    for pattern in RESULTS:
        found = [path.parent for path in folder.glob(f"{pattern}/{CONFIG}")]
        found = [path for path in found if not path.name.startswith(".")]  # still being written
        if found:
            return max(found, key=_age)
    return None


def fetch(hub_id: str, patterns: Sequence[str]) -> Path:
    """Download a checkpoint from the Hub, or find it in the Hub's local cache.

    Args:
        hub_id: `owner/name` or `owner/name:subfolder`.
        patterns: Names of the files wanted.

    Raises:
        CheckpointError: If it is not there, may not be read, or the Hub cannot be reached.
    """
    from huggingface_hub import constants, errors, snapshot_download

    # The base of its HTTP library's errors: that library changes with the version, this name does not.
    no_answer = errors.HTTPError  # type: ignore[attr-defined]
    repository, _, subfolder = hub_id.partition(":")
    wanted = [f"{subfolder}/{pattern}" for pattern in patterns] if subfolder else list(patterns)
    # Without a subfolder the checkpoint at the top is meant: weights below it are others.
    others = [] if subfolder else [f"*/{pattern}" for pattern in WEIGHT_FILES]
    try:
        snapshot = snapshot_download(repository, allow_patterns=wanted, ignore_patterns=others)
    except errors.GatedRepoError as error:
        fix = "ask for access on its page, then set HF_TOKEN"
        raise CheckpointError("its owner lets no one read it unasked", where=hub_id, fix=fix) from error
    except errors.RepositoryNotFoundError as error:
        what = f"no such folder here, and no such repository on {constants.ENDPOINT}"
        fix = "check the name; a private repository needs HF_TOKEN"
        raise CheckpointError(what, where=hub_id, fix=fix) from error
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"no such folder here, not in the Hub's cache ({constants.HF_HUB_CACHE}), "
            f"and {constants.ENDPOINT} cannot be reached",
            where=hub_id,
            fix="check the path, or connect and try again",
        ) from error
    except (no_answer, errors.HFValidationError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        what = f"no such folder here, and it cannot be fetched from {constants.ENDPOINT}: {reason}"
        raise CheckpointError(what, where=hub_id, fix="check the name, and try again") from error
    folder = Path(snapshot) / subfolder
    if not folder.is_dir() or not any(folder.iterdir()):
        what = f"the Hub repository has no {subfolder or 'checkpoint files'}"
        raise CheckpointError(what, where=hub_id, fix="check owner/name:subfolder")
    return folder


def remedy(path: Path) -> str:
    """Say what to do about a damaged file or folder of a model, by where that came from."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    if cache in path.parents:  # the Hub's own library takes what is there for whole
        return f"remove {cache / path.relative_to(cache).parts[0]}, and it is downloaded again"
    if ASSETS in path.parents:
        return "install stllm again"
    return "copy or download it again, or take another checkpoint"


def _bundled(name: str) -> Path:
    folder = BUNDLED[name]
    if not (folder / CONFIG).exists():
        what = f"the bundled model {name!r} is missing from this installation"
        raise CheckpointError(what, where=str(folder), fix="install stllm again")
    return folder


def _did_you_mean(path: Path) -> str:
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    names = [*BUNDLED, *siblings] if path.parent == Path() else siblings
    for near in difflib.get_close_matches(path.name, names, n=3, cutoff=0.5):
        if near in BUNDLED or _newest(path.parent / near) is not None:
            return f"; did you mean {str(path.parent / near)!r}?"
    return ""


def _age(checkpoint: Path) -> tuple[int, str]:
    """Sort key: the number in the name of a checkpoint."""
    numbers = re.findall(r"\d+", checkpoint.name)
    return int(numbers[-1]) if numbers else -1, checkpoint.name


HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w./-]+)?")
