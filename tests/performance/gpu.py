"""How near one GPU comes to its limits: random weights in full size (ViT-g, Q-Former, Vicuna-7B), bfloat16.

    python tests/performance/gpu.py            one GPU of 140 GB; --frames 16 64
    python tests/performance/gpu.py --tiny     the same on a CPU with small parts: only to see that it works
    python tests/performance/gpu.py --only answering compiled

Training is on clips of 16 frames (`--clips`: so many a step) with half of their tokens dropped and masked
video modelling, in full (all in bfloat16, AdamW's means too) and by LoRA, with checkpointing. MFU counts the
operations of `training/costs.py` without those done again. Targets, on an H200 with 790 TFLOP/s and 4.3 TB/s
as measured: MFU over 45 %, encoder over 50 % of the one, decoding (compiled) over 60 % of the other.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from st_llm_cli.model.config import VIDEO_TOKEN_ID, StllmConfig
from st_llm_cli.model.decoding import PrefixCache, write
from st_llm_cli.model.generation import Generation
from st_llm_cli.model.one_token import PATIENCE, compile_step
from st_llm_cli.model.published import published_config
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.recipe.schema import Lora
from st_llm_cli.training.costs import bt_adapter_flops, qformer_flops, step_flops, vision_flops
from st_llm_cli.training.ready import add_lora
from st_llm_cli.training.step import StepShape, TextSizes

TEXT, ANSWER, QUESTION, NEW_TOKENS = 96, 32, 32, 64
PARTS = ("training", "encoding", "answering", "compiled")


class Bench:
    """A model on a device, and what it is measured against."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device("cpu" if options.tiny else "cuda")
        self.flops, self.bandwidth = options.tflops * 1e12, options.tbps * 1e12
        self.rounds = options.rounds
        self.config = tiny_config() if options.tiny else published_config("instructblip_vicuna0_all")

    def model(self) -> StllmForConditionalGeneration:
        """Random weights, made on the device."""
        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            with self.device:
                return StllmForConditionalGeneration(self.config)
        finally:
            torch.set_default_dtype(before)

    def seconds(self, run: Callable[[], object]) -> float:
        """Median of some rounds, after one that warms up."""
        times = []
        for _ in range(self.rounds + 1):
            self.wait()
            began = time.perf_counter()
            run()
            self.wait()
            times.append(time.perf_counter() - began)
        return median(times[1:])

    def wait(self) -> None:
        """Until the device is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def peak(self) -> str:
        """Most memory since the last time this was asked."""
        if self.device.type != "cuda":
            return "not measured on a CPU"
        most = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return f"{most / 1e9:.1f} GB"

    def frames(self, count: int, clips: int = 1) -> Tensor:
        """Clips, [clips, frames, 3, side, side]."""
        side = self.config.image_size
        return torch.randn(clips, count, 3, side, side, device=self.device, dtype=torch.bfloat16)

    def ids(self, length: int, rows: int = 1) -> Tensor:
        """Text that the language model and the Q-Former know, [rows, length]."""
        words = min(self.config.text_config.vocab_size, self.config.qformer_config.vocab_size)
        return torch.randint(5, words, (rows, length), device=self.device)


def tiny_config() -> StllmConfig:
    """The parts of the full model with a few thousand weights each."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    vision = {"model_type": "instructblip_vision_model", "image_size": 28, "patch_size": 14, **sizes}
    qformer = {"model_type": "instructblip_qformer", "vocab_size": 100, **sizes}
    text = {"model_type": "llama", "vocab_size": 100, "num_key_value_heads": 2, **sizes}
    return StllmConfig(
        vision_config=vision, qformer_config=qformer, text_config=text, num_queries=4, video_input="all"
    )


def training(bench: Bench, clips: int, *, lora: bool) -> None:
    """Time a training step on so many clips and print how much of the device it uses."""
    model = bench.model().train()
    model.requires_grad_(not lora)
    if lora:
        add_lora(model, Lora())
        model.projection.requires_grad_(True)
        assert model.masked_video_decoder is not None
        model.masked_video_decoder.requires_grad_(True)
    for part in (model.vision_model, model.qformer):
        part.requires_grad_(False)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-6, fused=True)
    ids = bench.ids(TEXT + 1, clips)
    ids[:, 0] = VIDEO_TOKEN_ID
    labels = ids.clone()
    labels[:, :-ANSWER] = -100
    frames, question = bench.frames(16, clips), bench.ids(QUESTION, clips)

    def step() -> None:
        output = model(ids, labels=labels, frames=frames, question_ids=question, mask_ratio=0.5)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    bench.peak()
    seconds = bench.seconds(step)
    tokens = bench.config.tokens_per_clip(16)
    shape = StepShape(
        clips, 16, TextSizes(TEXT, ANSWER, question=QUESTION), tokens, tokens // 2, teacher=True
    )
    used = step_flops(model, shape).total / seconds / bench.flops
    name = f"training, {'LoRA' if lora else 'in full'}, {clips} clips"
    line(name, f"{seconds * 1e3:.1f} ms", f"MFU {used:.1%}", bench.peak())


@torch.inference_mode()
def encoding(bench: Bench, model: StllmForConditionalGeneration, images: int) -> None:
    """Time the vision encoder and the Q-Former."""
    frames, question = bench.frames(images), bench.ids(QUESTION)
    seconds = bench.seconds(lambda: model.encode_queries(model.encode_vision(frames), question))
    shape = StepShape(1, images, TextSizes(TEXT, ANSWER, question=QUESTION), 0, 0, teacher=False)
    flops = vision_flops(model, images) + bt_adapter_flops(model, 1, images) + qformer_flops(model, shape)
    used = flops / seconds / bench.flops
    line(f"encoding {images} frames", f"{images / seconds:.0f} frames/s", f"{used:.1%} of the peak")


@torch.no_grad()
def answering(bench: Bench, model: StllmForConditionalGeneration, count: int) -> None:
    """Time the first token of a clip, that of a second question, and all that follow."""
    language: Any = model.language_model
    first = bench.seconds(lambda: language(inputs_embeds=prompt(bench, model, count), logits_to_keep=1))
    embeds = prompt(bench, model, count)
    cache = language(inputs_embeds=embeds, logits_to_keep=1, use_cache=True).past_key_values

    def second_turn() -> None:
        language(inputs_embeds=text(bench, model, QUESTION), past_key_values=cache, logits_to_keep=1)
        cache.crop(-QUESTION)

    second = bench.seconds(second_turn)
    line(f"first token, {count} frames", f"{first * 1e3:.1f} ms")
    line(f"second turn, {count} frames", f"{second * 1e3:.1f} ms")
    plainly, recording, recorded = written(bench, model, embeds)
    line(f"decoding step by step, {count} frames", *rate(bench, model, embeds, plainly))
    if recorded is None:
        line("decoding recorded", "no step was recorded")
        return
    line("recording the step", f"{recording:.2f} s")
    line(f"decoding recorded, {count} frames", *rate(bench, model, embeds, recorded))


@torch.no_grad()
def compiled(bench: Bench, model: StllmForConditionalGeneration, counts: list[int]) -> None:
    """Compile the step that is recorded, and time the tokens of an answer again."""
    if bench.device.type == "cpu":
        line("decoding compiled", "not on a CPU")
        return
    began = time.perf_counter()
    compile_step(model)
    line("compiling the step", f"{time.perf_counter() - began:.1f} s")
    for count in counts:
        embeds = prompt(bench, model, count)
        _, _, recorded = written(bench, model, embeds)
        figures = ["no step was recorded"] if recorded is None else rate(bench, model, embeds, recorded)
        line(f"decoding compiled, {count} frames", *figures)


def text(bench: Bench, model: StllmForConditionalGeneration, length: int) -> Tensor:
    """Embedded words, [1, length, hidden]."""
    looked: Tensor = model.get_input_embeddings()(bench.ids(length))
    return looked


def prompt(bench: Bench, model: StllmForConditionalGeneration, count: int) -> Tensor:
    """All that stands before an answer about a clip, [1, tokens, hidden]."""
    video, _ = model.encode_video(bench.frames(count), question_ids=bench.ids(QUESTION))
    return torch.cat([video[0][None], text(bench, model, TEXT)], dim=1)


def written(
    bench: Bench, model: StllmForConditionalGeneration, embeds: Tensor
) -> tuple[float, float, float | None]:
    """Write an answer as a session does it: step by step, then by a recorded step.

    Returns:
        Seconds of a token step by step, of recording, and of a token by the recorded step; None if there is
        none.
    """
    prefix, times = PrefixCache(), list[float]()
    places = list(range(embeds.shape[1]))
    began = time.perf_counter()
    for _ in write(model, prefix, embeds, places, Generation(max_new_tokens=NEW_TOKENS), [], lambda: False):
        times.append(time.perf_counter() - began)  # the token is on the CPU: the device is idle
        began = time.perf_counter()
    plainly = median(times[2 : PATIENCE + 1])  # the first token comes with the prompt, the second warms up
    recorded = None if prefix.recorder.recorded is None else median(times[PATIENCE + 2 :])
    return plainly, times[PATIENCE + 1] - plainly, recorded


def rate(bench: Bench, model: StllmForConditionalGeneration, embeds: Tensor, seconds: float) -> list[str]:
    """How fast tokens are written, and which share of the bandwidth that is."""
    language: Any = model.language_model
    read = sum(w.numel() for w in language.parameters()) - model.get_input_embeddings().weight.numel()  # type: ignore[operator]
    config = bench.config.text_config
    heads = config.num_key_value_heads * config.head_dim
    read += 2 * config.num_hidden_layers * heads * (embeds.shape[1] + NEW_TOKENS // 2)
    return [f"{1 / seconds:.0f} tokens/s", f"{2 * read / seconds / bench.bandwidth:.1%} of the bandwidth"]


def line(name: str, *figures: str) -> None:
    """Print one result."""
    print(f"{name:<34}" + "".join(f"{figure:>23}" for figure in figures), flush=True)  # noqa: T201


def main(arguments: list[str] | None = None) -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--clips", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--tflops", type=float, default=790.0)
    parser.add_argument("--tbps", type=float, default=4.3)
    options = parser.parse_args(arguments)
    bench = Bench(options)
    if "training" in options.only:
        for lora in (False, True):
            for clips in options.clips:
                training(bench, clips, lora=lora)
    model = bench.model().eval()
    if "encoding" in options.only:
        encoding(bench, model, 4 if options.tiny else 256)
    if "answering" in options.only:
        for count in options.frames:
            answering(bench, model, count)
    if "compiled" in options.only:
        compiled(bench, model, options.frames)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("st_llm_cli").setLevel(
        logging.INFO
    )  # how far a recorded step differs, and why one is not
    main()
