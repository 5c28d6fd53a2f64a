import json
from pathlib import Path

from PIL import Image

from st_llm_cli.training.plot import plot_losses


def line(stage: str, step: int, loss: float, masked: float | None) -> str:
    row = {"stage": stage, "step": step, "steps": 20, "loss": loss, "language_loss": loss}
    return json.dumps({**row, "masked_video_loss": masked}) + "\n"


def test_losses_of_all_stages_are_drawn(tmp_path: Path) -> None:
    lines = [line("images", step, 3 / step, None) for step in range(1, 21)]
    lines += [line("videos", step, 1 / step, 0.5) for step in range(1, 21)]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(lines))
    assert plot_losses(metrics, tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.width > picture.height > 300
        colors = picture.convert("RGB").getcolors(2**20)
    assert colors is not None and {(31, 119, 180), (255, 127, 14)} <= {color for _, color in colors}


def test_nothing_is_drawn_of_no_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    assert not plot_losses(tmp_path / "metrics.jsonl", tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()
