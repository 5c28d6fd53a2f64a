"""Where the recorded behaviour of the released code lies, and how a case is read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

_HERE = Path(__file__).resolve()
_BESIDE = _HERE.parents[3] / "shared" / "golden"
_COPY = _HERE.parents[1] / "data" / "golden"


def golden_folder() -> Path:
    """STLLM_GOLDEN, else the full recordings beside the repository, else the smaller copy in it."""
    named = os.environ.get("STLLM_GOLDEN")
    if named:
        return Path(named)
    return _BESIDE if _BESIDE.is_dir() else _COPY


def recorded(part: str) -> Path:
    """One folder of the recordings; the test file that asks for it is skipped where it is not there."""
    folder = golden_folder() / part
    if not folder.is_dir():
        pytest.skip(f"no {part} in {golden_folder()}", allow_module_level=True)
    return folder


def variants() -> list[Path]:
    return sorted(path.parent for path in golden_folder().glob("tiny_*/config.json"))


def cases(kind: str) -> list[Path]:
    return [case for variant in variants() for case in sorted(variant.glob(f"case_{kind}*.json"))]


def case_id(path: Path) -> str:
    return f"{path.parent.name}/{path.stem.removeprefix('case_')}"


def read_case(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    case = json.loads(path.read_text(encoding="utf-8"))
    tensors_of = case.get("frames_from") or path.stem
    tensors = load_file(path.with_name(f"{tensors_of}.safetensors"))
    tensors["frames"] = tensors["frames"].float()
    return case, tensors


def variant_name(arch: dict[str, Any]) -> str:
    """Which of our variants a recorded model is, from what it says of itself."""
    if not arch["qformer_text_input"]:
        return "minigpt4_vicuna0_btadapter"
    if arch["video_input"] == "mean":
        return "instructblip_vicuna0_btadapter_mean"
    if not arch["mvm_decode"]:
        return "instructblip_vicuna0_plain"
    return str(arch["model_type"])


def assert_close(ours: Tensor, theirs: Tensor, what: str, atol: float = 2e-5) -> None:
    assert ours.shape == theirs.shape, f"{what}: {tuple(ours.shape)} instead of {tuple(theirs.shape)}"
    worst = (ours.float() - theirs.float()).abs().max().item()
    assert worst <= atol, f"{what} differs by {worst:.1e}"
