"""What a second question costs against the first, and whether a long conversation grows.

    python tests/performance/chat.py [--turns 50] [--threads 2]

The model has random weights and the proportions of the real one, scaled down: 16 frames of 224 pixels cost
the vision encoder about as much as 16 x 32 video tokens cost the language model. The first answer includes
looking at the clip, later ones do not. Ratios are those of one run; `read` counts tokens before the answer.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import torch
from transformers import (
    Blip2QFormerConfig,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
)

from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.decoding import Generation
from st_llm_cli.model.session import Session
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.shapes.words import vocabulary
from st_llm_cli.training.tokenizer import word_tokenizer

NUM_FRAMES = 16
CONTEXT = 1024
QUESTIONS = ("What color is the circle?", "What does it do first?", "And then?", "Where is it at the end?")
GENERATION = Generation(max_new_tokens=16)


def wide_model(*, reads_question: bool) -> tuple[StllmForConditionalGeneration, Tokenizers]:
    """Make the 'wide' model."""
    tokenizer = word_tokenizer(vocabulary())
    qformer = InstructBlipQFormerConfig if reads_question else Blip2QFormerConfig
    narrow = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6}
    config = StllmConfig(
        vision_config=InstructBlipVisionConfig(
            **narrow, num_hidden_layers=12, image_size=224, patch_size=14, initializer_range=0.02
        ),
        qformer_config=qformer(
            **narrow, num_hidden_layers=2, encoder_hidden_size=384, vocab_size=len(tokenizer)
        ),
        text_config=LlamaConfig(
            hidden_size=768,
            intermediate_size=2304,
            num_hidden_layers=14,
            num_attention_heads=12,
            max_position_embeddings=CONTEXT,
            vocab_size=len(tokenizer),
        ),
        num_queries=32,
        video_input="all",
        masked_video_decoder=False,
        prompt_format="plain",
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = StllmForConditionalGeneration(config).eval()
    return model, Tokenizers(tokenizer, word_tokenizer(vocabulary()) if reads_question else None)


def compare_turns(name: str, session: Session, frames: torch.Tensor) -> None:
    """Print the time to the first token of each turn, in seconds and against the first turn's."""
    began = time.perf_counter()
    session.show("clip", frames=frames)
    looked = time.perf_counter() - began
    first = 0.0
    for number, question in enumerate(QUESTIONS):
        for _ in session.ask(question, GENERATION):
            pass
        work = session.turns[-1].work
        assert work is not None
        seconds = work.first_token_seconds + (looked if number == 0 else 0.0)
        first = first or seconds
        sys.stdout.write(
            f"{name:16} turn {number + 1}  first token {seconds:7.3f} s  {seconds / first:6.3f}  "
            f"read {work.read_tokens:4}  known {work.reused_tokens:4}\n"
        )


def long_conversation(session: Session, turns: int) -> None:
    """Print the peak memory of the process along a conversation that fills the context."""
    for number in range(turns):
        for _ in session.ask(QUESTIONS[number % len(QUESTIONS)], GENERATION):
            pass
        if (number + 1) % 10 == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            work = session.turns[-1].work
            assert work is not None
            used = work.reused_tokens + work.read_tokens + work.new_tokens
            sys.stdout.write(f"{number + 1:3} turns  peak {peak:6.0f} MB  {used:4} tokens in the context\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    frames = torch.randn(NUM_FRAMES, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    model, tokenizers = wide_model(reads_question=False)
    session = Session(model, tokenizers)
    compare_turns("question-free", session, frames)
    compare_turns("without reuse", Session(model, tokenizers, reuse=False), frames)
    long_conversation(session, arguments.turns)
    model, tokenizers = wide_model(reads_question=True)
    for kind in ("per-question", "first-question"):
        compare_turns(kind, Session(model, tokenizers, visual_tokens=kind), frames)


if __name__ == "__main__":
    main()
