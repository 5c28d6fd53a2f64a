"""Start the same command on many machines, by DeepSpeed's launcher over ssh."""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, TextIO

from st_llm_cli.errors import TrainingError, UsageError
from st_llm_cli.stages.launch import STOPPED, Processes, run_here
from st_llm_cli.stages.run_folder import STOP, forget_stop

log = logging.getLogger(__name__)

LINE = re.compile(r"(?P<name>\S+)\s+slots=(?P<slots>[1-9]\d*)\s*(#.*)?")
OTHERWISE = "or start the command on each machine with torchrun or srun (docs/training.md)"
SECONDS_TO_ANSWER = 20
NOT_SHOWN = re.compile(
    r"\[INFO\] \[(launch|runner|multinode_runner)\.py|\[WARNING\] \[real_accelerator\.py"
    r"|\[launch\.py.* return code = 130$"
    r"|^pdsh@\S+: \S+ ssh exited with exit code 130$"
)
"""What DeepSpeed's launcher and pdsh say of a run that goes well, or was stopped and has said so itself."""


def run_on_hosts(
    arguments: Sequence[str], hostfile: Path, gpus: int | None, output: Path, *, results: bool = True
) -> int:
    """Run `stllm` on every machine of a hostfile; without a launcher where that is this one alone.

    SIGTERM and Ctrl-C are passed on by a file in the run folder: the launcher would kill the others.

    Args:
        arguments: Of `stllm`.
        hostfile: A line each, `NAME slots=GPUS`.
        gpus: GPUs of each machine to use; all if None.
        output: Run folder, which all machines see.
        results: Whether what it has to say is a result, for standard output.

    Returns:
        Exit code.

    Raises:
        UsageError: If there is no such file, or it says something else.
        TrainingError: If a launcher is not installed, a machine is not reached, or another process writes to
            the run folder, to which a signal would not be meant.
        DataError: If the run folder cannot be written to.
    """
    hosts = read_hosts(hostfile)
    if set(hosts) <= {"localhost", "127.0.0.1", socket.gethostname()} and len(hosts) == 1:
        return run_here(arguments, gpus or next(iter(hosts.values())), results=results)
    launcher = _launcher()
    _reach(list(hosts))
    count = [] if gpus is None else ["--num_gpus", str(gpus)]
    # One machine that is not this one is many, too; and `stllm` knows no option --local_rank.
    command = [launcher, "--hostfile", str(hostfile), *count, "--force_multi", "--no_local_rank", "--quiet"]
    command += ["--module", "st_llm_cli", *map(_quoted, arguments)]
    stop = output / STOP
    forget_stop(output)
    with Machines(stop, list(hosts)) as machines:
        machines.begin(command, results=results)
        failed = machines.wait()
    if stop.exists():
        with suppress(TrainingError):  # of a run that another command has begun in the folder meanwhile
            forget_stop(output)
    if failed is None:
        return 0
    code = failed[1]
    return STOPPED if machines.told and code == -signal.SIGTERM else max(code, 1)


class Machines(Processes):
    """The launcher of many machines, which are told to stop by a file. For a `with` block.

    Args:
        stop: The file.
        hosts: Names of the machines.
    """

    def __init__(self, stop: Path, hosts: Sequence[str]) -> None:
        super().__init__()
        self._stop = stop
        self._label = re.compile(rf"({'|'.join(map(re.escape, hosts))}): ")
        self._relays: list[threading.Thread] = []

    def begin(self, command: list[str], *, results: bool) -> None:
        """Start the launcher, and leave out what it says about itself."""
        launcher = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches this process alone
        )
        self.all.append(launcher)
        self._relay(launcher.stdout, sys.stdout if results else sys.stderr, self._without_label)
        self._relay(launcher.stderr, sys.stderr, str)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for relay in self._relays:
            relay.join()

    def _relay(self, lines: IO[bytes] | None, to: TextIO, shown: Callable[[str], str]) -> None:
        def work() -> None:
            for raw in lines or ():
                line = raw.decode("utf-8", "replace").replace("\r", "")
                if NOT_SHOWN.search(line) is None:
                    to.write(shown(line))
                    to.flush()

        self._relays.append(threading.Thread(target=work, daemon=True))
        self._relays[-1].start()

    def _without_label(self, line: str) -> str:
        """Take off what pdsh puts before each line: a result is for who reads it on."""
        return self._label.sub("", line, count=1) if self._label.match(line) else line

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        # A second signal ends all at once, and so does one before there is anything to save.
        if self._stop.exists() or not self._stop.parent.is_dir():
            super()._pass_on(number, frame)
            return
        log.warning("told to stop (%s): all machines save after their step …", signal.Signals(number).name)
        self._stop.touch()


def read_hosts(hostfile: Path) -> dict[str, int]:
    """Read a hostfile: names of machines, each with its number of GPUs.

    Raises:
        UsageError: If it cannot be read, names no machine or one twice, or has a line of another form.
    """
    where, form = f"--hostfile {hostfile}", "give a line each: NAME slots=GPUS"
    try:
        lines = hostfile.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise UsageError(what, where=where, fix=form) from error
    hosts: dict[str, int] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if found is None:
            raise UsageError(f"line {number}, '{line}', is no machine", where=where, fix=form)
        if found["name"] in hosts:
            what = f"line {number} names {found['name']} a second time"
            raise UsageError(what, where=where, fix="add up its slots")
        hosts[found["name"]] = int(found["slots"])
    if not hosts:
        raise UsageError("names no machine", where=where, fix=form)
    return hosts


def _launcher() -> str:
    """Find DeepSpeed's launcher, and what it needs."""
    scripts = sysconfig.get_path("scripts")
    launcher = shutil.which("deepspeed", path=f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}")
    if launcher is None:
        fix = "pip install 'stllm[train]'"
        raise TrainingError("DeepSpeed's launcher is not installed", where="--hostfile", fix=fix)
    for tool, package in (("pdsh", "pdsh"), ("ssh", "openssh-client")):
        if shutil.which(tool) is None:
            what = f"{tool}, which reaches the other machines, is missing"
            raise TrainingError(what, where="--hostfile", fix=f"apt install {package}, {OTHERWISE}")
    return launcher


def _reach(hosts: Sequence[str]) -> None:
    """Refuse machines that ssh does not reach, or only with a password: the launcher could not ask for it."""
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={SECONDS_TO_ANSWER}"]
    asked = [
        subprocess.Popen(
            ["ssh", *options, host, "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in hosts
    ]
    said = [process.communicate()[1].strip().splitlines() for process in asked]
    for host, process, lines in zip(hosts, asked, said, strict=True):
        if process.returncode != 0:
            reason = lines[-1] if lines else f"exit code {process.returncode}"
            what = f"{host} is not reached by ssh: {reason}"
            fix = f"let `ssh {host} true` work without a password, {OTHERWISE}"
            raise TrainingError(what, where="--hostfile", fix=fix)


def _quoted(argument: str) -> str:
    """Quote an argument for the other machine's shell, as far as DeepSpeed leaves that to us.

    It puts what has a space between double quotes and escapes those in it, and nothing else.
    """
    return re.sub(r"([\\$`])", r"\\\1", argument) if " " in argument else shlex.quote(argument)
