"""What training needs to find, looked for before anything long begins: packages, a compiler, a GPU, data."""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
from collections.abc import Sequence

from st_llm_cli.errors import RecipeError, TrainingError
from st_llm_cli.recipe.schema import Recipe, Train
from st_llm_cli.training.data.place import find_annotations
from st_llm_cli.training.scale import choose_accelerator, has_gpu, offloads


def check_requirements(recipe: Recipe, stages: Sequence[Train]) -> None:
    """Refuse what cannot be trained here.

    Args:
        recipe: The recipe.
        stages: Those of its training stages that are still to be done.

    Raises:
        TrainingError: If something is not installed, or there is no GPU for it.
        RecipeError: If a logger is unknown or not installed, or a DeepSpeed configuration cannot be read.
        DataError: If an annotation file, or the folder of its media, is not there.
    """
    if not stages:
        return
    _check_installed("accelerate", "training", "train")
    lora = recipe.model.lora
    if lora is not None:
        _check_installed("peft", "model.lora", "train")
        if lora.quantize is not None:
            _check_installed("bitsandbytes", f"model.lora.quantize: {lora.quantize}", "quant")
    for stage in stages:
        if stage.precision == "float16" and not has_gpu():
            what = "precision float16 needs a GPU, and there is none here"
            raise TrainingError(what, where=f"stage '{stage.name}'", fix="use float32 or bfloat16")
        _check_loggers(stage)
        for data in stage.data:
            if data.files is not None:
                find_annotations(data.files[1])
    shared = [stage for stage in stages if stage.deepspeed is not None]
    if shared:
        _check_deepspeed(shared)


def _check_installed(package: str, where: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise TrainingError(f"{package} is not installed", where=where, fix=f"pip install 'stllm[{extra}]'")


def _check_loggers(stage: Train) -> None:
    if not stage.report_to:
        return
    choose_accelerator()
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_available_reporting_integrations,
    )

    for name in stage.report_to:
        where = f"stage '{stage.name}', report_to"
        if name not in INTEGRATION_TO_CALLBACK:
            fix = f"one of {', '.join(sorted(INTEGRATION_TO_CALLBACK))}"
            raise RecipeError(f"no logger '{name}'", where=where, fix=fix)
        if name not in get_available_reporting_integrations():
            raise RecipeError(f"'{name}' is not installed", where=where, fix=f"pip install {name}")


def _check_deepspeed(stages: list[Train]) -> None:
    where = f"stage '{stages[0].name}', deepspeed: {stages[0].deepspeed}"
    _check_installed("deepspeed", where, "train")
    if has_gpu() and not any(offloads(stage) for stage in stages):
        return
    scripts = sysconfig.get_path("scripts")
    for tool, fix in (("ninja", "pip install ninja"), ("g++", "apt install g++, or load a compiler module")):
        if shutil.which(tool) is None and shutil.which(tool, path=scripts) is None:
            what = f"DeepSpeed compiles an extension here, and there is no {tool}"
            raise TrainingError(what, where=where, fix=fix)
