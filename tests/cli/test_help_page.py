"""Help pages, and the table of commands."""

import inspect
from importlib import import_module

import pytest

from st_llm_cli.cli.help_page import Commands
from st_llm_cli.cli.main import COMMANDS
from tests.cli.conftest import Stllm
from tests.cli.test_main import on_a_terminal


@pytest.mark.parametrize("name", COMMANDS)
def test_table_says_of_a_command_what_it_says_itself(name: str) -> None:
    module, function, line = COMMANDS[name]
    found = getattr(import_module(f"st_llm_cli.cli.{module}"), function)
    about = found.info.help if isinstance(found, Commands) else inspect.getdoc(found)
    assert about.splitlines()[0] == line


def test_options_stand_under_their_panel(stllm: Stllm) -> None:
    page = stllm("describe", "--help").out
    panel = page.split("What to look at\n")[1].split("\n\n")[0]
    assert panel.splitlines()[0].split()[:2] == ["--start", "TIME"]
    assert "--start" not in page.split("\nOptions\n")[1]


def test_examples_keep_their_lines(stllm: Stllm) -> None:
    assert "\n    stllm chat clip.mp4\n" in stllm("chat", "--help").out


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_is_one_command(name: str, stllm: Stllm) -> None:
    assert "`, `" not in stllm(name, "--help").out


def test_usage_brackets_what_may_be_left_out(stllm: Stllm) -> None:
    assert stllm("chat", "--help").out.startswith("Usage: stllm chat [OPTIONS] [VIDEO]...\n")
    assert stllm("train", "--help").out.startswith("Usage: stllm train [OPTIONS] RECIPE\n")
    assert stllm("cache", "gc", "--help").out.startswith("Usage: stllm cache gc [OPTIONS]\n")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(
    stllm: Stllm, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    for command in ((), ("recipes",), ("models", "show")):
        monkeypatch.setenv("COLUMNS", str(columns))
        page = stllm(*command, "--help").out
        assert max(map(len, page.splitlines())) <= columns


def test_titles_are_bold_on_a_terminal() -> None:
    assert "\x1b[1mCommands\x1b[0m" in on_a_terminal("--help")
    assert "\x1b" not in on_a_terminal("--help", NO_COLOR="1")


def test_unknown_command_names_the_one_that_comes_near(stllm: Stllm) -> None:
    ran = stllm("descirbe", "a.mp4")
    assert ran.code == 2
    assert "Did you mean 'describe'" in ran.err


def test_subcommands_do_not_offer_to_install_completion(stllm: Stllm) -> None:
    assert "--install-completion" in stllm("--help").out
    assert "--install-completion" not in stllm("cache", "--help").out + stllm("chat", "--help").out
