"""What masking and masked video modelling cost in a training step, and what a step takes in memory.

    python tests/performance/training.py [--rounds 5]

The wide model (recipes/wide.yaml) in bfloat16 on one thread: one clip of 16 frames x 32 tokens from the token
cache, 96 tokens of text. Contenders take turns, and each line gives the median; the ratio is to the first.
Memory is that of processes of their own, above what they have before the step: 64 frames, all tokens, a
vocabulary of 32 000, two clips, gradient checkpointing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers
from st_llm_cli.recipe import load_recipe
from st_llm_cli.tokens.key import Key
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.training.data.collator import Collator
from st_llm_cli.training.data.shapes import shapes_vocabulary
from st_llm_cli.training.data.stream import ExampleStream
from st_llm_cli.training.optimizer import build_optimizer, freeze
from st_llm_cli.training.ready import config_of_new
from st_llm_cli.training.tokenizer import word_tokenizer

TEXT, ANSWER = 96, 32
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


def steps(rounds: int) -> float:
    """Print how long a step takes as masking goes on; give the seconds of the last."""
    model = wide_model()
    model.set_attn_implementation("eager")  # as training chooses in bfloat16 on a CPU
    optimizer = build_optimizer(model, load_recipe("wide").training[0])
    inputs = batch(model, 1, 16)

    def step(**masking: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**inputs, **masking).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    contenders: dict[str, Callable[[], None]] = {
        "all tokens": lambda: step(mask_ratio=None),
        "half of them dropped": lambda: step(mask_ratio=0.5, masked_video=False),
        "and masked video modelling": lambda: step(mask_ratio=0.5),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - began)
    whole = median(times["all tokens"])
    for name, each in times.items():
        print(f"{name:<28}{median(each):8.2f} s   {median(each) / whole:.2f}")  # noqa: T201
    return median(times["and masked video modelling"])


def loading(step_seconds: float, rounds: int = 50) -> None:
    """Print how long a cached clip takes to read, beside a step that learns from it."""
    tokens = torch.randn(16, 32, 256).half()
    with tempfile.TemporaryDirectory() as folder:
        cache = TokenCache(Path(folder))
        cache.put(KEY, tokens)
        began = time.perf_counter()
        for _ in range(rounds):
            cache.get(KEY)
        seconds = (time.perf_counter() - began) / rounds
    print(f"{'a clip from the cache':<28}{seconds * 1e3:8.2f} ms  {seconds / step_seconds:.1%} of the step")  # noqa: T201


def peak_of_step(materialise: bool, connection: Any) -> None:
    """Send how many bytes one step takes above those before it."""
    torch.set_num_threads(1)
    model = wide_model(vocabulary=32_000)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    inputs = batch(model, 2, 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.autocast("cpu", torch.bfloat16):
        loss = all_logits_loss(model, inputs) if materialise else model(**inputs).loss
    loss.backward()
    connection.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def all_logits_loss(model: StllmForConditionalGeneration, inputs: dict[str, Tensor]) -> Tensor:
    """The same loss from the logits of every position, as most training code computes it."""
    video, _ = model.encode_video(queries=inputs["queries"])
    joined = model.join(inputs["input_ids"], video, labels=inputs["labels"])
    logits = model.get_output_embeddings()(model.decode(joined)).float()  # [batch, length, vocabulary]
    return cross_entropy(logits[:, :-1].flatten(0, 1), joined.labels[:, 1:].flatten())


def memory() -> None:
    """Print the peak of a long step, with every position's logits and with those of the answers."""
    peaks = []
    context = multiprocessing.get_context("spawn")
    for materialise in (True, False):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=peak_of_step, args=(materialise, sender))
        process.start()
        peaks.append(receiver.recv())
        process.join()
        name = "every position's logits" if materialise else "those of the answers"
        print(f"{name:<28}{peaks[-1] / 1e9:8.2f} GB  {peaks[-1] / peaks[0]:.2f}")  # noqa: T201


def padding(batches: int = 4) -> None:
    """Print which share of the tiny model's sequences is padding, video tokens included."""
    recipe = load_recipe("tiny/shapes")
    tokenizer = word_tokenizer(shapes_vocabulary())
    config = config_of_new(recipe)
    collator = Collator(Tokenizers(tokenizer, None), config)
    filled = whole = 0
    for stage in (each for each in recipe.training if each.objective == "answers"):
        stream = ExampleStream(stage, recipe.video, config.image_size)
        for number in range(batches):
            first = number * stage.batch_size
            examples = [stream[first + place] for place in range(stage.batch_size)]
            mask = collator(examples)["attention_mask"]
            video = config.num_queries * len(examples[0].frames) - 1  # beside the placeholder
            filled += int(mask.sum()) + video * len(mask)
            whole += mask.numel() + video * len(mask)
    print(f"{'padding of the tiny data':<28}{1 - filled / whole:8.1%}")  # noqa: T201


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    np.random.seed(0)
    loading(steps(options.rounds))
    memory()
    padding()


if __name__ == "__main__":
    sys.exit(main())
