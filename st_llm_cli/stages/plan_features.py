"""What an extraction would do: whether the videos can be read, and what it would take."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from st_llm_cli.errors import DataError, StllmError
from st_llm_cli.stages.clip_tokens import ClipTokens
from st_llm_cli.stages.extract_features import Outcome, Wish, batch_frames_of
from st_llm_cli.video.clip import Clip
from st_llm_cli.video.reader import read_clips
from st_llm_cli.video.request import Request

CHECK_FRAMES = 16
"""Frames read of each clip to see whether it is sound, unless a number is asked for."""
PROBES = 10
"""Clips that are tried out for a plan."""


@dataclass(frozen=True)
class Plan:
    """What an extraction would take, from a probe of a few clips."""

    clips: int
    probed: int
    """Clips that were tried out."""
    unreadable: int
    """Clips of these that failed."""
    frames: int
    """Of all clips, if they are as long as those probed."""
    bytes: int
    """On disk."""
    flops: int
    """Of the encoder; a multiply-add counts 2."""
    decode_seconds: float
    """Per clip, by one worker."""
    encode_seconds: float
    """Per clip."""
    hours: float
    """Of the whole, decoding and encoding side by side."""


def check(requests: Sequence[Request], wish: Wish) -> Iterator[Outcome]:
    """Read clips and do nothing with them; a clip with damaged parts counts as failed too.

    Yields:
        Each clip, as soon as it is through.
    """
    began: dict[Request, float] = {}

    def noted() -> Iterator[Request]:
        for request in requests:
            began[request] = time.monotonic()
            yield request

    clips = read_clips(noted(), workers=wish.workers, deadline=wish.deadline, in_order=False)
    for request, clip in clips:
        yield Outcome(request.path, _trouble(clip), time.monotonic() - began[request])


def plan(tokens: ClipTokens, requests: Sequence[Request], wish: Wish) -> Plan:
    """Try out a few clips, evenly spread over the list, and say what all of them would take.

    Raises:
        DataError: If none of the clips tried out can be read.
    """
    step = max(1, len(requests) // PROBES)
    probes = list(requests)[::step][:PROBES]
    began = time.monotonic()
    # One worker: the time a clip takes by itself. The first one's includes starting the reader.
    found = [clip for _, clip in read_clips(probes, workers=1, deadline=wish.deadline)]
    clips = [clip for clip in found if isinstance(clip, Clip)]
    decode_seconds = (time.monotonic() - began) / len(probes)
    if not clips:
        first = next(error for error in found if isinstance(error, StllmError))
        raise DataError("none of the clips tried out can be read", where=str(probes[0].path), fix=str(first))
    batch_frames = batch_frames_of(tokens, wish)
    tokens.encode(clips[:1], batch_frames)  # the first pass of a process is slower than the others
    began = time.monotonic()
    seen = tokens.encode(clips, batch_frames)
    encode_seconds = (time.monotonic() - began) / len(clips)
    frames = mean(len(clip.indices) for clip in clips)
    return Plan(
        clips=len(requests),
        probed=len(probes),
        unreadable=len(probes) - len(clips),
        frames=round(frames * len(requests)),
        bytes=round(mean(clip.tokens.nbytes for clip in seen) * len(requests)),
        flops=round(_flops(tokens, clips[0]) / len(clips[0].frames) * frames * len(requests)),
        decode_seconds=decode_seconds,
        encode_seconds=encode_seconds,
        hours=_seconds_per_clip(tokens, wish, decode_seconds, encode_seconds) * len(requests) / 3600,
    )


def _seconds_per_clip(tokens: ClipTokens, wish: Wish, decode_seconds: float, encode_seconds: float) -> float:
    """Decoding and encoding go on side by side; on a processor they share its cores."""
    import torch

    apart = max(decode_seconds / wish.workers, encode_seconds)
    if tokens.model.device.type != "cpu":
        return apart
    work = decode_seconds + encode_seconds * torch.get_num_threads()
    return max(apart, work / (os.cpu_count() or 1))


def _flops(tokens: ClipTokens, clip: Clip) -> int:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    trainable = [parameter for parameter in tokens.model.parameters() if parameter.requires_grad]
    try:
        for parameter in trainable:  # the counter would look for gradients that are not computed here
            parameter.requires_grad = False
        # It knows the matrix products of attention only where they are not fused.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            tokens.encode([clip], len(clip.frames))
    finally:
        for parameter in trainable:
            parameter.requires_grad = True
    return counter.get_total_flops()


def _trouble(clip: Clip | StllmError) -> StllmError | None:
    if isinstance(clip, StllmError):
        return clip
    source = clip.source
    if not source.is_damaged:
        return None
    promised = f" of {source.promised_frames}" if source.promised_frames else ""
    what = f"is damaged: {source.delivered_frames}{promised} frames can be had"
    return DataError(what, where=source.path, fix="usable; download or record it again for the rest")
