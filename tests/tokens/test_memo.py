import json
from pathlib import Path

import pytest

from st_llm_cli.tokens.memo import Memo


def the_file(memo: Memo) -> Path:
    (path,) = memo.folder.rglob("*.json")
    return path


def test_fact_is_recalled(tmp_path: Path) -> None:
    Memo(tmp_path).remember("a clip", {"indices": [1, 2], "seconds": 0.1})
    assert Memo(tmp_path).recall("a clip") == {"indices": [1, 2], "seconds": 0.1}


def test_unknown_fact_is_none(tmp_path: Path) -> None:
    assert Memo(tmp_path).recall("a clip") is None


def test_newer_fact_replaces_the_older(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    memo.remember("a clip", {"digest": "a"})
    memo.remember("a clip", {"digest": "b"})
    assert memo.recall("a clip") == {"digest": "b"}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"about": "a clip"}', "\x00\x00\x00"])
def test_damaged_file_is_as_if_unknown(tmp_path: Path, content: str) -> None:
    memo = Memo(tmp_path)
    memo.remember("a clip", {"indices": [1, 2]})
    the_file(memo).write_text(content)
    assert memo.recall("a clip") is None


def test_flipped_digit_is_noticed(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    memo.remember("a clip", {"indices": [1, 2]})
    path = the_file(memo)
    kept = json.loads(path.read_text())
    kept["fact"]["indices"] = [1, 3]
    path.write_text(json.dumps(kept))
    assert memo.recall("a clip") is None


def test_fact_that_cannot_be_kept_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    memo = Memo(file / "below")
    memo.remember("a clip", {"indices": [1]})
    assert memo.recall("a clip") is None
