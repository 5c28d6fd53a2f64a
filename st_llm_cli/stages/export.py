"""A run as one folder in transformers' format: LoRA merged, with recipe and a card that says what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from st_llm_cli.errors import UsageError
from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.model.conversion import appearing_whole
from st_llm_cli.model.lora import is_adapter, read_adapter
from st_llm_cli.model.tokenizers import save_tokenizers
from st_llm_cli.training.scale import choose_accelerator

CARD = """\
---
library_name: transformers
pipeline_tag: video-text-to-text
tags: [video, st-llm, stllm]
---

# {name}

A video language model of the ST-LLM family (arXiv 2404.00308), exported by stllm {version}.

| | |
|---|---|
| parameters | {parameters:,} |
| vision encoder | {vision} |
| Q-Former | {qformer}{reads} |
| language model | {language} |
| video input | {video_input}, {frames} frames, {tokens} tokens per clip |
{base}

```bash
pip install stllm
stllm describe VIDEO --model PATH
```

```python
import st_llm_cli as stllm

model = stllm.load_model("PATH")
clip = stllm.read_clip("video.mp4", num_frames=model.num_frames)
print(model.answer(clip, "What happens?"))
```

As a model of transformers, which its Auto classes load too once this class was imported:

```python
from st_llm_cli import StllmForConditionalGeneration

model = StllmForConditionalGeneration.from_pretrained("PATH")
```
{recipe}"""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    parameters: int
    merged: bool
    """Whether LoRA matrices were worked into the weights."""


def export(run: str, destination: Path, dtype: str = "auto") -> Exported:
    """Write a run, or any model, as one folder.

    Args:
        run: A run folder, or another name of a model.
        destination: Where to; must not exist yet.
        dtype: Type of the weights; `auto` as they are stored.

    Raises:
        UsageError: If the destination exists.
        CheckpointError: If the run has no checkpoint, it cannot be loaded, or there is no room to write.
    """
    if destination.exists():
        raise UsageError("exists already", where=str(destination), fix="name a new folder")
    choose_accelerator()
    model, tokenizers, folder = load_checkpoint(run, device="cpu", dtype=dtype)
    recipe = Path(run) / "recipe.yaml"
    config = model.config
    card = CARD.format(
        name=destination.name,
        version=_version(),
        parameters=model.num_parameters(),
        vision=config.vision_config.model_type,
        qformer=config.qformer_config.model_type,
        reads=", reads the question" if config.reads_question else "",
        language=config.text_config.model_type,
        video_input=config.video_input,
        frames=config.num_frames,
        tokens=config.tokens_per_clip(config.num_frames),
        base=f"| trained on | {read_adapter(folder).base}, by LoRA |\n" if is_adapter(folder) else "",
        recipe=f"\n## Recipe\n\n```yaml\n{recipe.read_text('utf-8')}```\n" if recipe.exists() else "",
    )
    with appearing_whole(destination) as unfinished:
        model.save_pretrained(unfinished)
        save_tokenizers(tokenizers, unfinished)
        (unfinished / "README.md").write_text(card, encoding="utf-8")
    return Exported(destination, model.num_parameters(), is_adapter(folder))


def _version() -> str:
    from st_llm_cli import __version__

    return __version__
