import json
import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.errors import TrainingError, UsageError
from st_llm_cli.stages import hosts as hosts_module
from st_llm_cli.stages import run_folder
from st_llm_cli.stages.hosts import Machines, read_hosts, run_on_hosts
from st_llm_cli.stages.run_folder import claimed
from tests.training.small import small_recipe

RUN = Path("run-of-this-test")
"""A run folder that nobody has made."""
SSH = """#!/bin/sh
# Runs here what was to run there; one machine is down.
while [ "${1#-}" != "$1" ]; do [ "$1" = -o ] && shift; shift; done
[ "$1" = down ] && { echo "ssh: connect to host down port 22: No route to host" >&2; exit 255; }
shift
exec sh -c "$*"
"""
PDSH = """#!/bin/sh
# Asks each machine in turn.
while [ "$1" != -w ]; do shift; done
machines=$2; shift 2; code=0; number=0
for machine in $(echo "$machines" | tr , ' '); do
    ssh "$machine" "$(printf %s "$*" | sed "s/%n/$number/g")" || code=$?
    number=$((number + 1))
done
exit $code
"""


def claim(run: Path) -> None:
    """Make a run folder in which nobody works."""
    with claimed(run, small_recipe({})):
        pass


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text("# ours\nnode1 slots=8\n\nnode2 slots=4  # older\n")
    return path


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that are all this one."""
    for name, script in (("ssh", SSH), ("pdsh", PDSH)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_a_hostfile_is_names_and_numbers(hosts: Path) -> None:
    assert read_hosts(hosts) == {"node1": 8, "node2": 4}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("node1 slots=8\nnode2\n", "line 2, 'node2', is no machine"),
        ("node1 slots=0\n", "line 1, 'node1 slots=0', is no machine"),
        ("node1 slots=8\nnode1 slots=8\n", "line 2 names node1 a second time"),
        ("# none yet\n", "names no machine"),
    ],
)
def test_a_hostfile_of_another_form_is_refused_by_line(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_hosts(path)
    assert (caught.value.what, caught.value.where) == (what, f"--hostfile {path}")


def test_a_hostfile_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        run_on_hosts(["train"], tmp_path / "no", gpus=None, output=RUN)
    with pytest.raises(UsageError, match="cannot be read"):
        run_on_hosts(["train"], tmp_path, gpus=None, output=RUN)


@pytest.mark.parametrize(("gpus", "processes"), [(None, 3), (2, 2)])
def test_this_machine_alone_needs_no_launcher(
    gpus: int | None, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hosts").write_text("localhost slots=3\n")
    started: list[Any] = []
    monkeypatch.setattr(hosts_module, "run_here", lambda *given, **options: started.append((given, options)))
    run_on_hosts(["train", "my.yaml"], tmp_path / "hosts", gpus, RUN, results=False)
    assert started == [((["train", "my.yaml"], processes), {"results": False})]


@pytest.mark.parametrize(("missing", "package"), [("pdsh", "pdsh"), ("ssh", "openssh-client")])
def test_what_is_missing_is_named(
    hosts: Path, monkeypatch: pytest.MonkeyPatch, missing: str, package: str
) -> None:
    there = lambda tool, path=None: None if tool == missing else tool  # noqa: E731
    monkeypatch.setattr(hosts_module.shutil, "which", there)
    with pytest.raises(TrainingError, match=rf"{missing}, .* is missing \(apt install {package}, or start"):
        run_on_hosts(["train"], hosts, gpus=None, output=RUN)


def test_a_machine_that_is_down_is_named_before_any_is_started(
    network: None, hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("deepspeed")
    hosts.write_text("node1 slots=1\ndown slots=1\n")
    with pytest.raises(TrainingError) as caught:
        run_on_hosts(["train"], hosts, gpus=None, output=RUN)
    assert caught.value.what == (
        "down is not reached by ssh: ssh: connect to host down port 22: No route to host"
    )
    assert str(caught.value.fix).startswith("let `ssh down true` work without a password, or start")


@pytest.mark.parametrize("gpus", [None, 4])
def test_deepspeeds_launcher_understands_the_command(
    gpus: int | None, network: None, hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own parser is asked, as it would be on the machine that starts."""
    runner = pytest.importorskip("deepspeed.launcher.runner")
    started: list[Any] = []

    class Noted(Machines):
        def begin(self, command: list[str], *, results: bool) -> None:
            started.append((command, results))
            super().begin(["sh", "-c", "exit 3"], results=results)

    monkeypatch.setattr(hosts_module, "Machines", Noted)
    assert run_on_hosts(["train", "my.yaml", "--output", "runs/my"], hosts, gpus, RUN, results=False) == 3
    ((command, results),) = started
    assert not results  # `stllm run --json` has standard output for itself
    parsed = runner.parse_args(command[1:])
    assert (parsed.hostfile, parsed.num_gpus, parsed.module) == (str(hosts), gpus or -1, True)
    assert parsed.force_multi and parsed.no_local_rank
    assert (parsed.user_script, parsed.user_args[:2]) == ("st_llm_cli", ["train", "my.yaml"])
    assert dict(runner.fetch_hostfile(parsed.hostfile)) == read_hosts(hosts)


@pytest.mark.parametrize("begun", [True, False])
def test_a_signal_to_stop_becomes_a_file_once_there_is_something_to_save(
    begun: bool, network: None, hosts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher, ready, run = tmp_path / "launcher", tmp_path / "ready", tmp_path / "run"
    if begun:
        claim(run)
        (run / "stop").touch()  # of a run that is over
    launcher.write_text(
        f"#!/bin/sh\ntrap 'exit 42' TERM\ntest -e '{run}/stop' || touch '{ready}'\n"
        f"while ! test -e '{run}/stop'; do sleep 0.1; done\nexit 130\n"
    )
    launcher.chmod(0o755)
    monkeypatch.setattr(hosts_module, "_launcher", lambda: str(launcher))

    def stop() -> None:
        while not ready.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    assert run_on_hosts(["train"], hosts, gpus=None, output=run) == (130 if begun else 42)
    assert not (run / "stop").exists()


def test_a_second_command_in_a_run_folder_leaves_the_first_alone(
    network: None, hosts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts_module, "_launcher", lambda: "/bin/false")
    monkeypatch.setattr(run_folder, "SECONDS_TO_END", 0.0)
    with claimed(tmp_path / "run", small_recipe({})):
        (tmp_path / "run" / "stop").touch()  # meant for the first
        with pytest.raises(TrainingError, match="another process trains or measures in this run folder"):
            run_on_hosts(["train"], hosts, gpus=None, output=tmp_path / "run")
    assert (tmp_path / "run" / "stop").exists()


def test_a_command_that_comes_too_late_for_the_lock_leaves_the_first_alone(
    network: None, hosts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one begins between the look at the lock and the start of the machines, and is told to stop."""
    run = tmp_path / "run"
    claim(run)
    monkeypatch.setattr(run_folder, "SECONDS_TO_END", 0.0)
    with ExitStack() as first:

        class Refused(Machines):
            def begin(self, command: list[str], *, results: bool) -> None:
                first.enter_context(claimed(run, small_recipe({})))
                (run / "stop").touch()
                super().begin(["sh", "-c", "exit 1"], results=results)

        monkeypatch.setattr(hosts_module, "Machines", Refused)
        monkeypatch.setattr(hosts_module, "_launcher", lambda: "deepspeed")
        assert run_on_hosts(["train"], hosts, gpus=None, output=run) == 1
    assert (run / "stop").exists()


def test_what_launchers_say_of_themselves_is_not_shown(
    network: None, hosts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    launcher = tmp_path / "launcher"
    launcher.write_text(
        "#!/bin/sh\n"
        "echo 'node1: [2026-01-01 10:00:00,000] [INFO] [launch.py:170:main] nnodes=2'\n"
        'echo \'node1: {"run": "node1: a"}\'\n'
        "printf 'node2: \\rstllm: stopped at step 3\\n' >&2\n"
        "echo 'pdsh@here: node2: ssh exited with exit code 130' >&2\n"
        "echo 'pdsh@here: node2: ssh exited with exit code 255' >&2\n"
    )
    launcher.chmod(0o755)
    monkeypatch.setattr(hosts_module, "_launcher", lambda: str(launcher))
    assert run_on_hosts(["train"], hosts, gpus=None, output=RUN) == 0
    out, err = capfd.readouterr()
    assert out == '{"run": "node1: a"}\n'
    assert err == "node2: stllm: stopped at step 3\npdsh@here: node2: ssh exited with exit code 255\n"


@pytest.mark.slow
@pytest.mark.parametrize("machines", ["far slots=2\n", "node1 slots=1\nnode2 slots=1\n"])
def test_every_machine_runs_the_command_as_it_was_given(
    machines: str, network: None, hosts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("deepspeed")
    hosts.write_text(machines)
    package = tmp_path / "st_llm_cli"  # says what it was called with, in place of the real one
    package.mkdir()
    (package / "__init__.py").touch()
    told = tmp_path / "told"
    told.mkdir()
    (package / "__main__.py").write_text(
        "import json, os, pathlib, sys\n"
        "facts = [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')]\n"
        f"pathlib.Path({str(told)!r}, facts[0]).write_text(json.dumps([facts, sys.argv[1:]]))\n"
    )
    monkeypatch.chdir(tmp_path)
    given = ["train", "my run.yaml", "--set", 'a.b=[{"c": "$HOME \\\\ `d`"}]', "--set", "e={f,g};$(h)*'"]
    assert run_on_hosts(given, hosts, gpus=None, output=RUN) == 0
    all_told = [json.loads((told / rank).read_text()) for rank in ("0", "1")]
    locally = ["0", "1"] if "far" in machines else ["0", "0"]
    assert [facts for facts, _ in all_told] == [["0", "2", locally[0]], ["1", "2", locally[1]]]
    assert [arguments for _, arguments in all_told] == [given, given]


@pytest.mark.slow
def test_a_machine_that_fails_fails_the_command(
    network: None, hosts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("deepspeed")
    hosts.write_text("far slots=1\n")
    package = tmp_path / "st_llm_cli"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert run_on_hosts(["train"], hosts, gpus=None, output=RUN) == 3
