"""Several processes: what the libraries below need to find in the environment before they start.

`stllm train` can be one process, or one of many that it, torchrun, srun or DeepSpeed's launcher started.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import socket
import sysconfig
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from st_llm_cli.errors import RecipeError, TrainingError
from st_llm_cli.json_text import parse_json
from st_llm_cli.recipe import recipes_folder
from st_llm_cli.recipe.schema import DEEPSPEED, Train
from st_llm_cli.training.build_locks import not_built, remove_left_locks

log = logging.getLogger(__name__)

SHORTEST = '{"zero_optimization": {"stage": 2}}, beside what else it holds'


def process_count() -> int:
    """Processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this is the process that writes and speaks for all of them."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for(path: Path, seconds: float = 300.0) -> None:
    """Wait until the main process has written something.

    Raises:
        TrainingError: If it has not after a while.
    """
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            what = f"the main process has not written it after {seconds:.0f} s"
            raise TrainingError(what, where=str(path), fix="use a folder that all machines see")
        time.sleep(0.1)


def samples_of_a_step(stage: Train) -> int:
    """Samples of one optimiser step, over all processes and passes."""
    return stage.batch_size * stage.accumulate * process_count()


def prepare_environment(stages: Iterable[Train]) -> None:
    """Set what DeepSpeed looks for, before any of it is loaded.

    Raises:
        RecipeError: If a DeepSpeed configuration cannot be read.
    """
    choose_accelerator()
    # Said of each resumed run with several processes; it costs copies of small gradients.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    shared = [stage for stage in stages if stage.deepspeed is not None]
    if not shared:
        return
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")
    # DeepSpeed calls what PyTorch gives another name some day.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # ninja is installed beside Python, which need not be on the path of whoever calls it by its full name.
    beside = sysconfig.get_path("scripts")
    os.environ["PATH"] = f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"
    if os.environ.get("LOCAL_RANK", "0") == "0":
        remove_left_locks()
    _say_what_is_built(shared)
    if "RANK" not in os.environ:
        # Without these DeepSpeed asks MPI, which few machines have.
        os.environ.update(environment_of(rank=0, processes=1, port=free_port()))
        import torch

        # As it is, or accelerate says that it sets it.
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))


def choose_accelerator() -> None:
    """Tell DeepSpeed what there is: transformers loads it where it is there, and it would say so aloud."""
    if not has_gpu():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def environment_of(rank: int, processes: int, port: int) -> dict[str, str]:
    """What tells a process of one machine who it is."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def deepspeed_config(stage: Train) -> dict[str, Any] | None:
    """Read the DeepSpeed configuration that a stage names; None if it names none.

    Raises:
        RecipeError: If it cannot be read, or does not say what is to be shared among the processes.
    """
    if stage.deepspeed is None:
        return None
    path = Path(stage.deepspeed)
    if stage.deepspeed in DEEPSPEED:
        path = recipes_folder() / "deepspeed" / f"{stage.deepspeed}.json"
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise RecipeError(what, where=str(path), fix=f"use one of {', '.join(DEEPSPEED)}") from error
    except ValueError as error:
        raise RecipeError(f"is not JSON: {error}", where=str(path), fix="correct it") from error
    return _checked(config, path)


def check_deepspeed_files(stages: Iterable[Train]) -> None:
    """Read the DeepSpeed configuration of every stage, as is done before processes are started.

    Raises:
        RecipeError: If one cannot be used.
    """
    for stage in stages:
        deepspeed_config(stage)


def _checked(config: Any, path: Path) -> dict[str, Any]:
    """Refuse what DeepSpeed, or transformers on its way there, would end in a traceback about."""
    if not isinstance(config, dict):
        what = f"is a {type(config).__name__}, not an object of settings"
        raise RecipeError(what, where=str(path), fix=f"write {SHORTEST}")
    if "zero_optimization" not in config:
        near = difflib.get_close_matches("zero_optimization", config, n=1)
        meant = f"; is '{near[0]}' meant to be it?" if near else ""
        raise RecipeError(f"lacks 'zero_optimization'{meant}", where=str(path), fix=f"write {SHORTEST}")
    block = config["zero_optimization"]
    zero = block.get("stage", 0) if isinstance(block, dict) else None
    if type(zero) is not int or zero not in range(4):
        what = f"'zero_optimization' is {json.dumps(block)[:80]}, with no stage from 0 to 3"
        raise RecipeError(what, where=str(path), fix=f"write {SHORTEST}")
    return config


def zero_stage(stage: Train) -> int | None:
    """Stage of ZeRO, as the DeepSpeed configuration says; None without DeepSpeed.

    Raises:
        RecipeError: If the configuration cannot be read.
    """
    config = deepspeed_config(stage)
    return None if config is None else int(config["zero_optimization"].get("stage", 0))


def casts_weights(stage: Train) -> bool:
    """Whether a stage trains weights that are themselves in 16 bits, those that do not learn included."""
    return stage.deepspeed is not None and stage.precision != "float32"


def offloads(stage: Train) -> bool:
    """Whether the optimiser's state is kept in main memory."""
    config = deepspeed_config(stage)
    target = None if config is None else config["zero_optimization"].get("offload_optimizer")
    return target is not None and target.get("device", "none") != "none"


def _say_what_is_built(stages: list[Train]) -> None:
    """Say before minutes without a word that DeepSpeed builds an extension."""
    needed = {} if has_gpu() else {"deepspeed_shm_comm": "communication on a CPU"}
    if any(offloads(stage) for stage in stages):
        needed["cpu_adam"] = "optimiser on the CPU"
    parts = " and ".join(needed[name] for name in not_built(needed))
    if parts and is_main_process():
        log.warning("DeepSpeed compiles its %s first, once; that can take some minutes …", parts)


def has_gpu() -> bool:
    """Whether there is a GPU here to train on."""
    import torch

    return torch.cuda.is_available()
