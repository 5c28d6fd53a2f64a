import pytest

from tests.performance import gpu


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_in_small_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--tiny", "--rounds", "1", "--frames", "2"])
    out = capsys.readouterr().out
    for what in (
        "training, in full, 16 clips",
        "training, LoRA, 1 clips",
        "encoding",
        "first token",
        "second turn",
    ):
        assert what in out
    assert "decoding step by step, 2 frames" in out
    assert "no step was recorded" in out, "nothing is recorded on a CPU"
