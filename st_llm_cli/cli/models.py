"""`stllm models`: import released weights, make new ones, look at a checkpoint, list what there is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_llm_cli.cli.help_page import Commands
from st_llm_cli.cli.options import DebugOption, JsonOption
from st_llm_cli.cli.recipes import RecipeArgument, SetOption

if TYPE_CHECKING:
    from st_llm_cli.model.conversion import Conversion
    from st_llm_cli.model.facts import CheckpointFacts

models = Commands("models", "Import, make, inspect and list models.")


@models.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Released ST-LLM folder; InstructBLIP, BLIP-2 or MiniGPT-4 .pth; Hub id.",
            show_default=False,
        ),
    ],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="New folder.", show_default=False)],
    variant: Annotated[
        str,
        typer.Option(metavar="NAME", help="Configuration; see `stllm models list`.", show_default=False),
    ],
    bert_tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Vocabulary of bert-base-uncased, for the Q-Former."),
    ] = None,
    base: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Take parts that SOURCE lacks from here. Repeatable."),
    ] = None,
    language_model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Vicuna or any causal language model, to start training."),
    ] = None,
    dtype: Annotated[
        str, typer.Option(metavar="NAME", help="Store as float32, bfloat16 or float16; auto: as found.")
    ] = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn weights that others released into a checkpoint of stllm.

    Released ST-LLM checkpoints become models to talk to. Weights of InstructBLIP, BLIP-2 or MiniGPT-4,
    with a language model, become models to start training from: what ST-LLM adds to them starts anew.
    Every tensor is accounted for before anything is written; code inside a file is never run.

    Examples:
    - `stllm models import ST_LLM/conversation talker --variant instructblip_vicuna0 --bert-tokenizer BERT`
    - `stllm models import instruct_blip_vicuna7b.pth start --variant instructblip_vicuna0_btadapter
      --base eva_vit_g.pth --language-model vicuna-7b-v1.1 --bert-tokenizer BERT`
    """
    from st_llm_cli.cli.screen import progress_of
    from st_llm_cli.stages.models import plan_import, run_import

    conversion = plan_import(
        source,
        destination,
        variant,
        bert_tokenizer=bert_tokenizer,
        base=base or [],
        language_model=language_model,
        dtype=dtype,
    )
    with progress_of(len(conversion.files), "importing weight files") as progress:
        run_import(conversion, destination, progress.step)
    typer.echo(_import_json(conversion, destination) if as_json else _import_text(conversion, destination))


@models.command("new")
def new(
    recipe: RecipeArgument,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="New folder.", show_default=False)],
    settings: SetOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights.")] = 0,
    debug: DebugOption = False,
) -> None:
    """Write the model that a recipe starts from: of random weights, or of published parts joined anew.

    With `model.new` it knows nothing. It is there to measure speed and memory with, and to try things out
    before real weights are at hand: `stllm models new wide DEST` has the proportions of the 7B model. With
    `model.auto` both parts are read from folders or the Hub, and only the Q-Former between them is new.
    """
    from st_llm_cli.recipe import load_recipe
    from st_llm_cli.stages.models import make_new

    make_new(load_recipe(recipe, settings or []), destination, seed)
    typer.echo(str(destination))


@models.command("show")
def show(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="`tiny`, a folder, a run or a Hub id.", show_default=False)
    ],
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what a checkpoint is: parts and sizes, frames and tokens per clip, prompt format.

    Names and sizes of all weights are checked; the weights themselves are not read.
    """
    from dataclasses import asdict

    from st_llm_cli.stages.models import show as find

    facts = find(name)
    if as_json:
        whole = asdict(facts) | {"parameters": facts.parameters, "num_bytes": facts.num_bytes}
        typer.echo(json.dumps(whole, indent=1))
    else:
        typer.echo(_facts_text(facts))


@models.command("list")
def list_(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the bundled models, and the variants that can be imported."""
    from st_llm_cli.model.locate import BUNDLED
    from st_llm_cli.model.variants import VARIANTS

    bundled = {name: folder for name, folder in BUNDLED.items() if (folder / "config.json").exists()}
    if as_json:
        found = {
            "bundled": [{"name": name, "folder": str(folder)} for name, folder in bundled.items()],
            "variants": [{"name": name, "about": variant.about} for name, variant in VARIANTS.items()],
        }
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo("Bundled, by name:" if bundled else "Bundled: none in this installation")
    for name in bundled:
        typer.echo(f"  {name}   details: stllm models show {name}")
    typer.echo("Variants of released weights, for `stllm models import … --variant NAME`:")
    width = max(map(len, VARIANTS))
    for name, variant in VARIANTS.items():
        typer.echo(f"  {name:<{width}}  {variant.about}")


def _import_json(conversion: Conversion, destination: Path) -> str:
    report = conversion.report
    return json.dumps(
        {
            "checkpoint": str(destination),
            "loaded": report.loaded,
            "taken": report.taken,
            "new": report.new,
            "ignored": report.ignored,
        },
        indent=1,
    )


def _import_text(conversion: Conversion, destination: Path) -> str:
    report = conversion.report
    lines = [f"{destination}"]
    lines += [f"  {count:>5} tensors from {source}" for source, count in report.taken.items()]
    starts = Counter((name.split(".")[0], start) for name, start in report.new.items())
    lines += [f"  {count:>5} new in {part}: {start}" for (part, start), count in starts.items()]
    reasons = Counter(report.ignored.values())
    lines += [f"  {count:>5} left out: {reason}" for reason, count in reasons.items()]
    lines.append(f"See it:     stllm models show {destination}")
    if report.new:
        lines.append("Train it:   name the folder as `model.checkpoint` of a recipe (see docs/models.md)")
    else:
        lines.append(f"Talk to it: stllm describe VIDEO --model {destination}")
    return "\n".join(lines)


def _facts_text(facts: CheckpointFacts) -> str:
    lines = [facts.folder, ""]
    width = max(len(part.name) for part in facts.parts)
    rows = [(part.name, part.parameters, part.num_bytes) for part in facts.parts]
    for name, parameters, num_bytes in [*rows, ("together", facts.parameters, facts.num_bytes)]:
        lines.append(f"  {name:<{width}}  {_count(parameters):>9}  {_bytes(num_bytes):>9}")
    local = f", {facts.num_local_frames} local frames" if facts.num_local_frames else ""
    most = f", at most {facts.most_frames}" if facts.most_frames else ""
    context = f", reads {facts.context} tokens" if facts.context else ""
    described = {
        "stored as": facts.dtype,
        "language model": f"{facts.language_model}, {facts.vocabulary} tokens in its vocabulary{context}",
        "frames": f"{facts.num_frames}{most}, {facts.image_size}x{facts.image_size} pixels",
        "video input": f"{facts.video_input}{local}",
        "tokens": f"{facts.tokens_per_clip} per clip, {facts.tokens_per_frame} per frame",
        "Q-Former": "reads the question" if facts.reads_question else "does not read the question",
        "BT-Adapter": "yes" if facts.bt_adapter else "no",
        "masked video": "with a decoder" if facts.masked_video_decoder else "without a decoder",
        "prompt format": facts.prompt_format,
    }
    if facts.trained_on:
        described["trained on"] = facts.trained_on
    lines.append("")
    lines += [f"  {name:<15} {text}" for name, text in described.items()]
    return "\n".join(lines)


def _count(number: int) -> str:
    size, unit = next(scale for scale in _COUNTS if number >= scale[0])
    return f"{number / size:.2f} {unit}"


def _bytes(number: int) -> str:
    size, unit = next(scale for scale in _BYTES if number >= scale[0])
    return f"{number / size:.1f} {unit}"


_COUNTS = ((1e9, "B"), (1e6, "M"), (1e3, "k"), (1, ""))
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
