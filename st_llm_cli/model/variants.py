"""The released configurations by name: what their files do not say."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from st_llm_cli.errors import UsageError


@dataclass(frozen=True)
class Variant:
    """A configuration of the paper."""

    video_input: str
    """`all`, `mean` or `residual`."""
    reads_question: bool
    """InstructBLIP's Q-Former reads the question, MiniGPT-4's does not."""
    bt_adapter: bool
    masked_video_decoder: bool
    num_frames: int
    """Frames it was trained and is asked with."""
    about: str

    @property
    def prompt_format(self) -> str:
        """Name in `prompt.PROMPT_FORMATS`."""
        return "instructblip" if self.reads_question else "minigpt4"


def named_variant(name: str) -> Variant:
    """Find a variant by its name.

    Raises:
        UsageError: If there is none of that name.
    """
    if name in VARIANTS:
        return VARIANTS[name]
    near = difflib.get_close_matches(name, VARIANTS, n=1, cutoff=0.4)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no variant {name!r}{meant}", where="variant", fix=f"one of {', '.join(VARIANTS)}")


VARIANTS = {
    "instructblip_vicuna0": Variant(
        video_input="residual",
        reads_question=True,
        bt_adapter=False,
        masked_video_decoder=True,
        num_frames=64,
        about="conversation: 64 frames, global-local input with 16 local frames",
    ),
    "instructblip_vicuna0_btadapter": Variant(
        video_input="all",
        reads_question=True,
        bt_adapter=True,
        masked_video_decoder=True,
        num_frames=16,
        about="question answering: 16 frames, all tokens, BT-Adapter",
    ),
    "minigpt4_vicuna0_btadapter": Variant(
        video_input="all",
        reads_question=False,
        bt_adapter=True,
        masked_video_decoder=True,
        num_frames=16,
        about="question answering from MiniGPT-4: 16 frames, all tokens, BT-Adapter, question-free Q-Former",
    ),
    "instructblip_vicuna0_btadapter_mean": Variant(
        video_input="mean",
        reads_question=True,
        bt_adapter=True,
        masked_video_decoder=False,
        num_frames=16,
        about="averaged baseline: mean over 16 frames, BT-Adapter",
    ),
    "minigpt4_vicuna0_btadapter_mean": Variant(
        video_input="mean",
        reads_question=False,
        bt_adapter=True,
        masked_video_decoder=False,
        num_frames=16,
        about="averaged baseline from MiniGPT-4: mean over 16 frames, BT-Adapter, question-free Q-Former",
    ),
    "instructblip_vicuna0_all": Variant(
        video_input="all",
        reads_question=True,
        bt_adapter=False,
        masked_video_decoder=True,
        num_frames=16,
        about="question answering without BT-Adapter: frames that can be encoded once for all epochs",
    ),
    "instructblip_vicuna0_plain": Variant(
        video_input="residual",
        reads_question=True,
        bt_adapter=False,
        masked_video_decoder=False,
        num_frames=64,
        about="global-local input trained without masking",
    ),
}
