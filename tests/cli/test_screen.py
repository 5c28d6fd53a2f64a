import logging
from collections.abc import Iterator

import pytest

from st_llm_cli.cli.screen import OnScreen
from st_llm_cli.errors import CacheError


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    log = logging.getLogger("a library")
    log.addHandler(OnScreen())
    yield log
    log.handlers.clear()


def test_warning_names_options_and_not_arguments_of_the_library(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    error = CacheError("not writable", where="cache", fix="keep it elsewhere (`cache` or STLLM_CACHE)")
    log.warning("%s; going on in %d ways", error, 2)
    said = "--cache: not writable (keep it elsewhere (--cache or STLLM_CACHE)); going on in 2 ways\n"
    assert capsys.readouterr().err == said
    assert error.where == "cache"


@pytest.mark.parametrize(("text", "parts"), [("100 %", ()), ("%(a)d", ({"a": 1},))])
def test_warning_without_errors_stays_as_it_is(
    text: str, parts: tuple[object, ...], log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.warning(text, *parts)
    assert capsys.readouterr().err == (text % parts[0] if parts else text) + "\n"
