"""A recipe's training stage in the words of transformers' Trainer."""

from __future__ import annotations

import io
import logging
import os
from contextlib import redirect_stdout
from pathlib import Path

import torch
from transformers import TrainingArguments

from st_llm_cli.recipe.schema import Train
from st_llm_cli.training.scale import deepspeed_config, process_count

log = logging.getLogger(__name__)


def trainer_arguments(stage: Train, folder: Path) -> TrainingArguments:
    """Say to transformers' Trainer what a stage says.

    Args:
        stage: The stage.
        folder: Where checkpoints on the way go.

    Raises:
        RecipeError: If DeepSpeed's configuration cannot be read.
    """
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        gradient_accumulation_steps=stage.accumulate,
        learning_rate=stage.lr,
        # transformers' "constant" takes no warm-up.
        lr_scheduler_type="constant_with_warmup" if stage.schedule == "constant" else stage.schedule,
        warmup_steps=stage.warmup_steps,
        max_grad_norm=stage.max_gradient_norm,
        seed=stage.seed,
        bf16=stage.precision == "bfloat16",
        fp16=stage.precision == "float16",
        activation_checkpointing=stage.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if stage.gradient_checkpointing else None,
        use_cpu=not torch.cuda.is_available(),
        deepspeed=deepspeed_config(stage),
        ddp_backend=None if process_count() == 1 else "nccl" if torch.cuda.is_available() else "gloo",
        # Pictures, and steps without masked video modelling, leave some weights out.
        ddp_find_unused_parameters=True,
        # The stream says itself in which order its samples are used.
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataloader_num_workers=_renderers(stage),
        logging_steps=stage.log_every,
        save_strategy="steps" if stage.save_every else "no",
        save_steps=stage.save_every or 1,
        report_to=list(stage.report_to),
        disable_tqdm=True,
    )
    if stage.deepspeed is not None:
        _begin_deepspeed(arguments)
    return arguments


def _begin_deepspeed(arguments: TrainingArguments) -> None:
    """Let DeepSpeed begin now, where nobody sees it print which extension it has loaded."""
    import deepspeed

    arguments.device  # noqa: B018 - the processes get to know each other as transformers has it
    backend = deepspeed.get_accelerator().communication_backend_name()
    with redirect_stdout(io.StringIO()) as said:
        deepspeed.init_distributed(dist_backend=backend, verbose=False)
    log.debug("%s", said.getvalue())


def _renderers(stage: Train) -> int:
    """Processes that draw moving shapes beside a GPU, which takes them faster than one can draw them.

    Files have processes of their own that read ahead.
    """
    if not torch.cuda.is_available() or any(source.shapes is None for source in stage.data):
        return 0
    # One core sends the GPU its work, and one hands over what has been drawn.
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, len(os.sched_getaffinity(0)) // beside - 2)
