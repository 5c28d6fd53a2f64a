"""stllm: a toolkit for ST-LLM, the video LLM that reads every spatial-temporal token.

import st_llm_cli as stllm

clip = stllm.read_clip("dog.mp4", num_frames=16)
model = stllm.load_model("tiny")
model.answer(clip, "What does the dog do after it jumps?")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from st_llm_cli.errors import StllmError
    from st_llm_cli.model.config import StllmConfig
    from st_llm_cli.model.st_llm import StllmForConditionalGeneration
    from st_llm_cli.recipe import Recipe, load_recipe
    from st_llm_cli.stages.eval import evaluate
    from st_llm_cli.stages.video_model import VideoModel, load_model
    from st_llm_cli.tokens.store import TokenCache
    from st_llm_cli.video.clip import Clip
    from st_llm_cli.video.reader import read_clip

__all__ = [
    "Clip",
    "Recipe",
    "StllmConfig",
    "StllmError",
    "StllmForConditionalGeneration",
    "TokenCache",
    "VideoModel",
    "__version__",
    "evaluate",
    "load_model",
    "load_recipe",
    "read_clip",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use: `import st_llm_cli` itself costs nothing."""
    if name == "__version__":
        value: Any = _installed_version()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _installed_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("stllm")
    except PackageNotFoundError:  # a copy that was never installed
        return "0+unknown"


_HOMES = {
    "Clip": "st_llm_cli.video.clip",
    "Recipe": "st_llm_cli.recipe",
    "StllmConfig": "st_llm_cli.model.config",
    "StllmError": "st_llm_cli.errors",
    "StllmForConditionalGeneration": "st_llm_cli.model.st_llm",
    "TokenCache": "st_llm_cli.tokens.store",
    "VideoModel": "st_llm_cli.stages.video_model",
    "evaluate": "st_llm_cli.stages.eval",
    "load_model": "st_llm_cli.stages.video_model",
    "load_recipe": "st_llm_cli.recipe",
    "read_clip": "st_llm_cli.video.reader",
}
