"""Find out what works here by doing it: decode a clip with each reader, load a model, ask it something."""

from __future__ import annotations

import errno
import json
import logging
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from st_llm_cli.errors import CacheError, CheckpointError, StllmError, UsageError
from st_llm_cli.stages.machine import device_name, memory_bytes, usable_cores

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

OK, WARNING, BROKEN = "ok", "warning", "broken"

PACKAGES = {
    "pyyaml": "yaml",
    "pillow": "PIL",
    **{
        name: name
        for name in ("numpy", "pydantic", "torch", "safetensors", "tokenizers", "transformers", "av")
    },
}
"""Without one of these nothing works; each with the name it is imported by, what others need first."""
EXTRA_PACKAGES = {
    "accelerate": "training (pip install 'stllm[train]')",
    "decord": "the reader of the released code (pip install decord)",
    "torchcodec": "one more video reader (pip install torchcodec)",
    "flash_attn": "one more attention kernel",
}
"""What is good to have, and what for."""
READERS = {"pyav": "av", "torchcodec": "torchcodec", "decord": "decord"}
"""Readers and the packages they need."""

LITTLE_DISK_BYTES = 2 * 10**9
LITTLE_MEMORY_BYTES = 2 * 10**9
MOST_DIFFERENT = 16.0
"""Grey levels, on average, that a decoded frame may differ from what was encoded."""
CLIP_SEED = 2 * 10**9 + 101
"""Of the first clip of `stllm demo`."""
NUM_FRAMES = 4
REINSTALL = "pip install --force-reinstall"


@dataclass(frozen=True)
class Check:
    """One thing that was tried."""

    name: str
    state: str
    """`ok`, `warning` (something is missing or slow, the rest works) or `broken`."""
    found: str
    fix: str | None = None
    """What mends it; None if nothing need be mended."""
    seconds: float = 0.0


def examine(model: str, *, device: str, cache: str | None) -> Iterator[Check]:
    """Try one thing after the other.

    Args:
        model: Model to load and ask, as for `load_model`.
        device: Where to.
        cache: Folder of the token cache, `off`, or None for the usual one.

    Yields:
        What came of each, as soon as it is known.
    """
    yield _tried("python", _check_python)
    yield _tried("packages", _check_packages)
    yield _tried("extras", _check_extras)
    yield _tried("machine", _check_machine)
    yield _tried("device", lambda: _check_device(device))
    yield _tried("cache", lambda: _check_cache(cache))
    with tempfile.TemporaryDirectory(prefix="stllm-doctor-") as folder:
        clip = Path(folder, "clip.mp4")
        written = _tried("encoder", lambda: _write_clip(clip))
        yield written
        if written.state == BROKEN:
            return
        for reader in READERS:
            yield _tried(f"reader {reader}", partial(_check_reader, clip, reader))
        yield _tried(f"model {model}", lambda: _check_model(clip, model, device))


def _tried(name: str, check: Callable[[], Check]) -> Check:
    began = time.perf_counter()
    try:
        done = check()
    except StllmError as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        done = Check(name, BROKEN, what, error.fix)
    except ImportError as error:
        done = Check(name, BROKEN, str(error), "mend the packages first, as said above")
    except Exception as error:
        log.debug("%s failed", name, exc_info=True)
        # Whatever goes wrong here is what was looked for; it belongs in the report, not instead of it.
        done = Check(name, BROKEN, f"{type(error).__name__}: {error}", "stllm doctor --debug shows where")
    return replace(done, name=name, seconds=time.perf_counter() - began)


def _check_python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("", WARNING, found, "use Python 3.11 to 3.13: others are not tested")
    return Check("", OK, found)


def _check_packages() -> Check:
    versions = {name: _version(name) for name in ("stllm", *PACKAGES)}
    found = ", ".join(f"{name} {number or 'missing'}" for name, number in versions.items())
    faults = {name: fault for name, module in PACKAGES.items() if (fault := _fault_of(module))}
    if faults:
        said = "; ".join(f"{name} cannot be imported: {fault}" for name, fault in faults.items())
        # One that lacks another one fails with it: the first is the one to mend.
        return Check("", BROKEN, f"{found}; {said}", f"{REINSTALL} {next(iter(faults))}")
    major = int((versions["transformers"] or "0").split(".")[0])
    if major != 5:
        return Check("", BROKEN, found, "pip install 'transformers>=5.20,<6'")
    return Check("", OK, found)


def _fault_of(module: str) -> str | None:
    """Why a package cannot be imported; None if it can."""
    try:
        import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library of the system that it needs is not there
        return str(error).splitlines()[0]
    return None


def _check_extras() -> Check:
    there = [f"{name} {number}" for name in EXTRA_PACKAGES if (number := _version(name))]
    not_there = [f"no {name}: {what}" for name, what in EXTRA_PACKAGES.items() if not _version(name)]
    return Check("", OK, "; ".join([*there, *not_there]))


def _check_machine() -> Check:
    total, free = memory_bytes()
    found = f"{usable_cores()} cores"
    if total is not None:
        found += f", {total / 1e9:.1f} GB memory"
    if free is not None:
        found += f", {free / 1e9:.1f} GB of it free"
        if free < LITTLE_MEMORY_BYTES:
            return Check("", WARNING, found, "close other programs: a 7B model alone needs 14 GB")
    return Check("", OK, found)


def _check_device(name: str) -> Check:
    import torch

    device = _device(name)
    numbers = torch.eye(64, device=device)
    query = numbers.expand(1, 1, 64, 64)
    attended = torch.nn.functional.scaled_dot_product_attention(query, query, query)
    works = bool(torch.isfinite(attended).all()) and bool(torch.equal(numbers @ numbers, numbers))
    kernels = "sdpa" + (", flash_attn" if find_spec("flash_attn") else "")
    found = f"{device_name(device)}; attention: {kernels}; {torch.get_num_threads()} threads"
    if not works:
        return Check("", BROKEN, f"{found}; multiplies wrongly", "use --device cpu, and update the driver")
    if device.type == "cpu" and shutil.which("nvidia-smi"):
        fix = "pip install torch --index-url https://download.pytorch.org/whl/cu126"
        return Check("", WARNING, f"{found}; the NVIDIA card here is not used by this torch", fix)
    return Check("", OK, found)


def _device(name: str) -> torch.device:
    from st_llm_cli.model.checkpoint import choose_device

    try:
        return choose_device(name)
    except UsageError as error:
        raise UsageError(error.what, fix="stllm doctor --device auto") from error


def _check_cache(given: str | None) -> Check:
    from st_llm_cli.tokens.root import cache_root

    root = cache_root(given)
    if root is None:
        return Check("", OK, "turned off")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root) as file:
            file.write(b"1")
        free = shutil.disk_usage(root).free
    except OSError as error:
        fix = "give --cache DIR, a folder you may write to, or --cache off"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = _make_room(root)
        raise CacheError(f"cannot be written: {error.strerror}", where=str(root), fix=fix) from error
    found = f"{root}, {free / 1e9:.1f} GB free"
    if free < LITTLE_DISK_BYTES:
        return Check("", WARNING, found, _make_room(root))
    return Check("", OK, found)


def _make_room(root: Path) -> str:
    return f"stllm cache gc --budget 1GB --cache {shlex.quote(str(root))}"


def _write_clip(path: Path) -> Check:
    from st_llm_cli.shapes.encode import Encoding, write_video
    from st_llm_cli.shapes.world import make_scene

    encoding = Encoding(160, 120, 10)
    write_video(make_scene(CLIP_SEED, num_objects=1, num_movements=2), path, encoding)
    return Check("", OK, f"wrote {path.stat().st_size / 1000:.0f} KB of {encoding.codec}")


def _check_reader(path: Path, reader: str) -> Check:
    from st_llm_cli.shapes.render import render_frame
    from st_llm_cli.shapes.world import make_scene
    from st_llm_cli.video.reader import read_clip

    if find_spec(READERS[reader]) is None:
        return Check("", OK, "not installed, and not needed")
    try:
        clip = read_clip(path, num_frames=NUM_FRAMES, reader=reader)
    except StllmError as error:
        # A reader that cannot be used says why; what else it says is advice about a clip.
        known = error.fix if isinstance(error, UsageError) else None
        fix = known or f"{REINSTALL} {READERS[reader]}"
        return Check("", BROKEN if reader == "pyav" else WARNING, error.what, fix)
    scene = make_scene(CLIP_SEED, num_objects=1, num_movements=2)
    worst = 0.0
    for frame, seconds in zip(clip.frames, clip.times_seconds, strict=True):
        truth = render_frame(scene, seconds, frame.shape[1], frame.shape[0])
        worst = max(worst, float(abs(frame.astype(float) - truth).mean()))
    if worst > MOST_DIFFERENT:
        what = f"shows other pictures than were encoded, {worst:.0f} grey levels off"
        return Check("", BROKEN, what, f"{REINSTALL} {READERS[reader]}")
    return Check("", OK, f"{len(clip.frames)} frames, the pictures that were encoded")


def _check_model(path: Path, name: str, device: str) -> Check:
    from st_llm_cli.model.locate import BUNDLED
    from st_llm_cli.shapes.questions import ask
    from st_llm_cli.shapes.world import make_scene
    from st_llm_cli.stages.video_model import load_model
    from st_llm_cli.video.reader import read_clip

    _device(device)
    began = time.perf_counter()
    try:
        model = load_model(name, device=device)
    except CheckpointError as error:
        if name not in BUNDLED:
            raise
        raise CheckpointError(error.what, where=error.where, fix=_bring_back()) from error
    loaded = time.perf_counter() - began
    asked = ask(make_scene(CLIP_SEED, num_objects=1, num_movements=2), "color", Random(0))
    assert asked is not None
    clip = read_clip(path, num_frames=model.num_frames, transform=model.transform)
    answer = model.answer(clip, asked.text, max_new_tokens=24)
    parameters = sum(weight.numel() for weight in model.model.parameters()) / 1e6
    found = f"{parameters:.1f} M parameters, loaded in {loaded:.1f} s; {asked.text} {answer}"
    if is_true(answer, asked.answer):
        return Check("", OK, found)
    if model.model.config.trained_on == "shapes":
        return Check("", BROKEN, f"{found} (true: {asked.answer})", _bring_back())
    fix = "no fault of this machine, unless this model should know moving shapes"
    return Check("", WARNING, f"{found} (true: {asked.answer})", fix)


def _bring_back() -> str:
    """The command that brings back the files of this package, by where it was installed from."""
    try:
        source = json.loads(distribution("stllm").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        source = {}
    place = source.get("url", "stllm").removeprefix("file://")
    if source.get("dir_info", {}).get("editable"):
        return f"git -C {shlex.quote(place)} restore st_llm_cli"
    return f"{REINSTALL} --no-deps {shlex.quote(place)}"


def is_true(answer: str, truth: str) -> bool:
    """Whether an answer holds the words of the truth, in their order."""
    return truth.strip(" .").lower() in answer.lower()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
