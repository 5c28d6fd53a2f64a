"""A rate can give more frames of a clip than a model reads: found out without reading them all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from st_llm_cli.errors import StllmError, UsageError
from st_llm_cli.video.request import Request

if TYPE_CHECKING:
    from st_llm_cli.stages.clip_tokens import Look

Seen = TypeVar("Seen", bound="Look")


def limited(request: Request, most: int) -> Request:
    """Ask at a rate for at most one frame more than the model reads, which tells that there are too many."""
    return request if request.fps is None else replace(request, max_frames=most + 1)


def within_limit(request: Request, clip: Seen | StllmError) -> Seen | StllmError:
    """Put an error in the place of a clip that has more frames than the model reads.

    Args:
        request: What was asked for, `limited`.
        clip: What came of it.
    """
    if isinstance(clip, StllmError) or request.max_frames is None or len(clip.indices) < request.max_frames:
        return clip
    what = f"{request.path} gives more than the {request.max_frames - 1} frames that this model reads"
    return UsageError(what, where="fps", fix="lower it, or look at a shorter part of the video")
