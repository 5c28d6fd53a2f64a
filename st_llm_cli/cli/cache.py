"""`stllm cache`: what is kept, whether it is whole, making room, carrying it elsewhere."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from st_llm_cli.cli.help_page import Commands
from st_llm_cli.cli.options import DebugOption, JsonOption
from st_llm_cli.cli.screen import note, progress_of
from st_llm_cli.cli.sizes import bytes_of, size_text

if TYPE_CHECKING:
    from st_llm_cli.errors import CacheError
    from st_llm_cli.tokens.manage import Stored
    from st_llm_cli.tokens.store import TokenCache

cache = Commands("cache", "Look after the tokens of clips that are kept on disk.")

PlaceOption = Annotated[
    str | None,
    typer.Option("--cache", metavar="DIR", help="Default: STLLM_CACHE, else the user's cache folder."),
]


def _open(place: str | None) -> TokenCache:
    from st_llm_cli.tokens.store import TokenCache

    return TokenCache(place)


@cache.command("ls")
def ls(place: PlaceOption = None, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the entries, the one used last first."""
    from st_llm_cli.tokens.manage import stored

    rows = [_row(entry) for entry in stored(_open(place))]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["used_at"]))
        what = (
            row.get("damaged") or f"{row['level']:<7} {row['shape']!s:<18} {row['dtype']:<8} {row['video']}"
        )
        typer.echo(f"{row['entry'][:12]}  {size_text(row['bytes']):>8}  {when}  {what}")


def _row(entry: Stored) -> dict[str, Any]:
    from st_llm_cli.tokens.entry import DamagedEntryError
    from st_llm_cli.tokens.manage import header_of

    row: dict[str, Any] = {"entry": entry.path.stem, "bytes": entry.bytes, "used_at": entry.used_at}
    try:
        header = header_of(entry.path)
    except DamagedEntryError as error:
        return {**row, "damaged": error.what}
    key = json.loads(header.key)
    about = {"shape": list(header.shape), "video": header.about.get("video")}
    return {**row, "level": key["level"], "dtype": key["dtype"], "encoder": key["encoder"], **about}


@cache.command("info")
def info(place: PlaceOption = None, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Say where the cache is, how much is in it, and of which encoders."""
    from st_llm_cli.tokens.manage import contents

    opened = _open(place)
    found = contents(opened)
    if as_json:
        typer.echo(json.dumps({"root": str(opened.root), **asdict(found)}, indent=2))
        return
    typer.echo(f"{opened.root}\n{found.entries} entries, {size_text(found.bytes)}")
    for name, counts in (("level", found.by_level), ("encoder", found.by_encoder)):
        for value, count in sorted(counts.items()):
            typer.echo(f"{name} {value[:23]}: {count}")
    if found.damaged:
        typer.echo(f"{found.damaged} were damaged and lie in damaged/; `stllm cache gc` removes them")
    if found.abandoned:
        typer.echo(f"{found.abandoned} left half-written; `stllm cache gc` removes them")


@cache.command("verify")
def verify(place: PlaceOption = None, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Read every byte. Damaged entries are named and set aside, and exit code 1 says so.

    What was set aside is no entry any more: it is made anew when it is needed, and the next `verify`
    passes it over.
    """
    from st_llm_cli.tokens.entry import DamagedEntryError
    from st_llm_cli.tokens.manage import stored
    from st_llm_cli.tokens.manage import verify as verify_all

    opened = _open(place)
    damaged: list[CacheError] = []
    count = len(stored(opened))
    with progress_of(count, "verifying") as progress:
        for path, error in verify_all(opened):
            progress.step(path.name)
            if error is not None:
                damaged.append(error)
    if as_json:
        rows = [{"file": error.where, "what": error.what} for error in damaged]
        typer.echo(json.dumps({"entries": count, "damaged": rows}, indent=2))
    else:
        for error in damaged:
            typer.echo(f"{error.where}: {error.what}")
        typer.echo(f"{count - len(damaged)} entries are whole, {len(damaged)} are damaged")
    if aside := sum(isinstance(error, DamagedEntryError) for error in damaged):
        what = f"{aside} set aside in {opened.damaged}, to be made anew when needed"
        note(f"{what}; `stllm cache gc` removes them")
    if damaged:
        raise typer.Exit(1)


@cache.command("gc")
def gc(
    budget: Annotated[str, typer.Option(metavar="SIZE", help="What may stay: 200GB, 1.5TB, 0.")],
    place: PlaceOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make room: remove what is damaged, then what was not used for longest, until the rest fits."""
    from st_llm_cli.tokens.manage import collect

    done = collect(_open(place), bytes_of(budget, "--budget"))
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2))
        return
    left = f"{done.entries_left} entries, {size_text(done.bytes_left)} are left"
    typer.echo(f"removed {done.removed} files, {size_text(done.bytes_freed)}; {left}")


@cache.command("export")
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the tar files.")],
    shard_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Begin the next file at this size.")
    ] = "1GB",
    place: PlaceOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the cache into tar files, for `stllm cache import` on another machine."""
    from st_llm_cli.tokens.archive import export as write_shards

    done = write_shards(_open(place), folder, bytes_of(shard_size, "--shard-size"))
    if as_json:
        rows = {"shards": [str(path) for path in done.shards], "entries": done.entries, "bytes": done.bytes}
        typer.echo(json.dumps(rows, indent=2))
        return
    for path in done.shards:
        typer.echo(str(path))
    note(f"{done.entries} entries, {size_text(done.bytes)} in {len(done.shards)} files")


@cache.command("import")
def import_(
    shards: Annotated[list[Path], typer.Argument(metavar="TAR", help="Files that `export` wrote.")],
    place: PlaceOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Take in exported tar files. Damaged entries are left out and named, and exit code 1 says so."""
    from st_llm_cli.tokens.archive import bring_in

    opened = _open(place)
    done = [bring_in(opened, shard) for shard in shards]
    added, present = sum(one.added for one in done), sum(one.present for one in done)
    damaged = [f"{shard}: {name}" for shard, one in zip(shards, done, strict=True) for name in one.damaged]
    if as_json:
        typer.echo(json.dumps({"added": added, "present": present, "damaged": damaged}, indent=2))
    else:
        typer.echo(f"{added} entries added, {present} were there, {len(damaged)} damaged")
        for name in damaged:
            typer.echo(f"damaged: {name}")
    if damaged:
        raise typer.Exit(1)
