"""What masking and masked video modelling cost in a training step, and what a step takes in memory.

    python tests/performance/training.py steps | loading | memory | padding

The wide model (recipes/wide.yaml) on one thread: one clip of 16 frames x 32 tokens from the token cache, 96
tokens of text. In bfloat16, in which a CPU without AVX-512 is ten times slower: there `--precision float32`.
Memory is that of processes of their own, above what they have before the step: 64 frames, all tokens, a
vocabulary of 32 000, two clips, gradient checkpointing; as the C library leaves it, which keeps much of what
was freed, and again where that is given back at once.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.loss.loss_utils import ForCausalLMLoss

sys.path.insert(0, str(Path(__file__).parents[2]))
from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.recipe import load_recipe
from st_llm_cli.tokens.key import Key
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.training.attention import choose_attention
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.shapes import shapes_vocabulary
from st_llm_cli.training.data.stream import ExampleStream
from st_llm_cli.training.optimizer import build_optimizer, freeze
from st_llm_cli.training.ready import config_of_new
from st_llm_cli.training.tokenizer import word_tokenizer
from tests.performance.turns import take_turns

TEXT, ANSWER = 96, 32
M_MMAP_THRESHOLD = -3
"""Of the C library's `mallopt`: from how many bytes on an allocation is a mapping of its own."""
KEY = Key(
    media="sha256:00",
    indices=tuple(range(16)),
    reader="pyav",
    transform="ResizeCenterCrop(resolution=224)",
    encoder="sha256:ee",
    level="queries",
    question=None,
    dtype="float16",
)


def wide_model(vocabulary: int | None = None) -> StllmForConditionalGeneration:
    """The wide model with random weights, frozen as its recipe says, in training."""
    config = config_of_new(load_recipe("wide"))
    config.text_config.vocab_size = vocabulary or config.text_config.vocab_size
    torch.manual_seed(0)
    model = StllmForConditionalGeneration(config)
    freeze(model, ("vision", "qformer"))
    return model.train()


def batch(model: StllmForConditionalGeneration, clips: int, frames: int) -> dict[str, Tensor]:
    """Clips as the Q-Former leaves them, each with a question and an answer."""
    config = model.config
    ids = torch.randint(5, config.text_config.vocab_size, (clips, TEXT + 1))
    ids[:, 0] = VIDEO_TOKEN_ID
    labels = ids.clone()
    labels[:, :-ANSWER] = -100
    size = (clips, frames, config.num_queries, config.qformer_config.hidden_size)
    return {"input_ids": ids, "labels": labels, "queries": torch.randn(size)}


def stepper(precision: str, checkpointing: bool = False) -> Callable[..., None]:
    """A training step on one cached clip of 16 frames; called with what the model is told of masks."""
    model = wide_model()
    choose_attention(model, precision, cpu=True)
    if checkpointing:
        keep_less(model)
    optimizer = build_optimizer(model, load_recipe("wide").training[0])
    inputs = batch(model, 1, 16)

    def step(**masking: Any) -> None:
        with mixed(precision):
            loss = model(**inputs, **masking).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def keep_less(model: StllmForConditionalGeneration) -> None:
    """Turn gradient checkpointing on."""
    with warnings.catch_warnings():  # of a new name that older versions lack
        warnings.simplefilter("ignore", FutureWarning)
        model.gradient_checkpointing_enable({"use_reentrant": False})


def mixed(precision: str) -> AbstractContextManager[Any]:
    """Mixed precision, if it is asked for."""
    return nullcontext() if precision == "float32" else torch.autocast("cpu", torch.bfloat16)


def steps(options: argparse.Namespace) -> None:
    """How long a step takes as masking goes on."""
    step = stepper(options.precision, options.checkpointing)
    contenders: dict[str, Callable[[int], object]] = {
        "all tokens": lambda _: step(mask_ratio=None),
        "half of them dropped": lambda _: step(mask_ratio=0.5, masked_video=False),
        "and masked video modelling": lambda _: step(mask_ratio=0.5),
    }
    take_turns(options.rounds, contenders, unit="s")


def loading(options: argparse.Namespace) -> None:
    """How long a cached clip takes to read, beside a step that learns from it."""
    step, tokens = stepper(options.precision), torch.randn(16, 32, 256).half()
    with tempfile.TemporaryDirectory() as folder:
        cache = TokenCache(Path(folder))
        cache.put(KEY, tokens)
        contenders: dict[str, Callable[[int], object]] = {
            "a step": lambda _: step(mask_ratio=0.5),
            "its clip from the cache": lambda _: cache.get(KEY),
        }
        medians = take_turns(options.rounds, contenders)
    whole, reading = medians.values()
    sys.stdout.write(f"{reading / whole:.3%} of the step\n")


def peak_of_step(materialise: bool, give_back: bool, precision: str, connection: Any) -> None:
    """Send how many bytes one step takes above those before it."""
    torch.set_num_threads(1)
    if give_back:  # tensors of 4 MB and more as mappings of their own
        assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**22) == 1
    model = wide_model(vocabulary=32_000)
    choose_attention(model, precision, cpu=True)
    keep_less(model)
    inputs = batch(model, 2, 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with mixed(precision):
        loss = all_logits_loss(model, inputs) if materialise else model(**inputs).loss
    loss.backward()
    connection.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def all_logits_loss(model: StllmForConditionalGeneration, inputs: dict[str, Tensor]) -> Tensor:
    """The same loss from the logits of every position, as transformers' own models compute it."""
    video, _ = model.encode_video(queries=inputs["queries"])
    joined = model.join(inputs["input_ids"], video, labels=inputs["labels"])
    logits = model.get_output_embeddings()(model.decode(joined))  # [batch, length, vocabulary]
    loss: Tensor = ForCausalLMLoss(logits, joined.labels, logits.shape[-1])
    return loss


def memory(options: argparse.Namespace) -> None:
    """Peak of a long step, with every position's logits and with those of the answers."""
    context = multiprocessing.get_context("spawn")
    for give_back in (False, True):
        sys.stdout.write(f"{'what is freed is given back' if give_back else 'as the C library keeps it'}\n")
        peaks = []
        for materialise in (True, False):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(
                target=peak_of_step, args=(materialise, give_back, options.precision, sender)
            )
            process.start()
            peaks.append(receiver.recv())
            process.join()
            name = "  every position's logits" if materialise else "  those of the answers"
            sys.stdout.write(f"{name:44} {peaks[-1] / 1e9:8.2f} GB  {peaks[-1] / peaks[0]:5.2f}\n")
            sys.stdout.flush()


def padding(options: argparse.Namespace) -> None:
    """Which share of the tiny model's sequences is padding, video tokens included."""
    recipe = load_recipe("tiny/shapes")
    tokenizer = word_tokenizer(shapes_vocabulary())
    config = config_of_new(recipe)
    collator = Collator(Tokenizers(tokenizer, None), config)
    filled = whole = 0
    for stage in (each for each in recipe.training if each.objective == "answers"):
        stream = ExampleStream(stage, recipe.video, config.image_size)
        for number in range(options.rounds):
            first = number * stage.batch_size
            examples = stream.__getitems__(range(first, first + stage.batch_size))
            mask = collator(examples)["attention_mask"]
            video = config.num_queries * len(examples[0].frames) - 1  # beside the placeholder
            filled += int(mask.sum()) + video * len(mask)
            whole += mask.numel() + video * len(mask)
    sys.stdout.write(f"{'padding of the tiny data':44} {1 - filled / whole:8.1%}\n")


def main() -> None:
    """Measure one figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--checkpointing", action="store_true", help="In `steps`, as the large recipes do.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    np.random.seed(0)
    FIGURES[options.figure](options)


FIGURES = {"steps": steps, "loading": loading, "memory": memory, "padding": padding}

if __name__ == "__main__":
    main()
