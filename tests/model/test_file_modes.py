import os
from pathlib import Path

import pytest

from st_llm_cli.model.file_modes import follow_umask


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_weights_may_be_read_by_whom_the_umask_lets(mask: int, mode: int, tmp_path: Path) -> None:
    weights = tmp_path / "deep" / "model.safetensors"
    weights.parent.mkdir()
    weights.touch(mode=0o600)
    before = os.umask(mask)
    try:
        follow_umask(tmp_path)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert weights.stat().st_mode & 0o777 == mode
