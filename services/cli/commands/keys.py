"""`rapport keys`: the keys file, and how far the services have followed it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psycopg

from services.cli.commands.support import folder_option, json_option, print_json
from services.cli.stack.errors import StackError
from services.cli.stack.layout import Layout
from services.cli.stack.passwords import write_private
from services.cli.stack.state import Stack, find_stack
from services.cli.stack.trust_files import keys_file
from services.runtime.errors import SettingError
from services.runtime.keys import Keyring

SEALING = ("profile", "channel")
"""The services whose databases hold sealed values."""
_KEYS = "SELECT number, wrapping, made_at::text FROM data_key WHERE wrapped IS NOT NULL ORDER BY number"
_PROGRESS = "SELECT number, part, place, sealed, ended_at IS NOT NULL FROM resealing"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one service has come: its data keys (number, wrapped by, made), and its walk."""

    service: str
    keys: list[tuple[int, str, str]]
    walked_for: int
    part: str
    sealed: int
    ended: bool

    @property
    def done(self) -> bool:
        """Whether one data key is left, by which everything is sealed."""
        return len(self.keys) == 1 and self.ended and self.walked_for == self.keys[0][0]

    def to_json(self) -> dict[str, Any]:
        """As a listing shows it."""
        return {
            "service": self.service,
            "data_keys": [
                {"number": number, "wrapped_by": name, "made_time": made} for number, name, made in self.keys
            ],
            "sealed_anew": self.done,
            "part": "" if self.done else self.part,
            "values": self.sealed,
        }


@click.group()
def keys() -> None:
    """Make the keys that seal identities, names, addresses and texts; replace them; see how far that is.

    Whoever loses the keys file loses what is sealed: keep a copy where the databases' backups are not.
    """


file_option = click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The keys file.  [default: that of the local stack]",
)


@keys.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def make(file: Path) -> None:
    """Make a new keys FILE of mode 0600; one that is there stays."""
    if file.exists():
        raise StackError(f"{file} is there already; what is sealed by its keys would be lost.")
    write_private(file, Keyring.make().text())
    click.echo(f"{file} holds new keys. Keep a copy: without it nothing that is sealed can be opened.")


@keys.command()
@file_option
@click.option("--data", is_flag=True, help="Seal every value anew, by new data keys; the old are destroyed.")
@folder_option
def rotate(file: Path | None, folder: Path, *, data: bool) -> None:
    """Add a new wrapping key to the keys file; running services wrap their data keys by it.

    They read the file again when it changes. Keys before stay in it until `rapport keys forget`.
    """
    path = file or keys_file(Layout(folder.absolute()))
    ring = _read(path).rotated(data=data)
    write_private(path, ring.text())
    click.echo(f"{path}: wrapping key {ring.current}" + (", data keys anew" if data else ""))


@keys.command()
@click.argument("names", nargs=-1, required=True)
@file_option
@click.option("--yes", is_flag=True, help="With --file: no data key is wrapped by them any more.")
@folder_option
def forget(names: tuple[str, ...], file: Path | None, folder: Path, *, yes: bool) -> None:
    """Take wrapping keys by which nothing is wrapped any more out of the keys file."""
    path = file or keys_file(Layout(folder.absolute()))
    ring = _read(path)
    for name in names:
        if name not in ring.wrapping:
            raise StackError(f"{path} has no key {name}; it has {', '.join(ring.wrapping)}.")
    if file is None:
        used = {name for one in _standings(folder) for _, name, _ in one.keys} | {ring.current}
        needed = sorted(used & {*names})
        if needed:
            raise StackError(f"{', '.join(needed)} is in use: data keys are wrapped by it.")
    elif not yes:
        raise StackError("This command does not see who uses that file. Look at `data_key`, then say --yes.")
    write_private(path, ring.without(names).text())
    click.echo(f"{path}: {', '.join(ring.without(names).wrapping)}")


@keys.command()
@json_option
@folder_option
def status(folder: Path, *, as_json: bool) -> None:
    """Show which keys the local stack's services use, and how far sealing anew has come."""
    ring = _read(keys_file(Layout(folder.absolute())))
    used: set[str] = set()
    for one in _standings(folder):
        used |= {name for _, name, _ in one.keys}
        if as_json:
            print_json(one.to_json())
            continue
        held = ", ".join(f"{number} (wrapped by {name}, {made[:16]})" for number, name, made in one.keys)
        far = "everything is sealed by it" if one.done else f"sealing anew: {one.part}, {one.sealed} so far"
        click.echo(f"{one.service:<8} data key {held}; {far}")
    spare = sorted(ring.wrapping.keys() - used - {ring.current})
    if not as_json:
        click.echo(
            f"file     wrapping key {ring.current}" + (f"; needless: {', '.join(spare)}" * bool(spare))
        )


def _read(path: Path) -> Keyring:
    try:
        return Keyring.read(str(path))
    except SettingError as error:
        raise StackError(f"{path}: {error.message}; {error.suggestion}") from None


def _standings(folder: Path) -> Iterator[Standing]:
    stack = find_stack(folder.absolute())
    for service in SEALING:
        yield _ask(stack, service)


def _ask(stack: Stack, service: str) -> Standing:
    try:
        with psycopg.connect(
            host=str(stack.database_socket),
            user=service,
            dbname=service,
            password=stack.database_password(service).read_text(encoding="utf-8").strip(),
            connect_timeout=10,
        ) as connection:
            return _standing(connection, service)
    except psycopg.Error as error:
        raise StackError(f"The database of {service} does not answer ({type(error).__name__}).") from None


def _standing(connection: psycopg.Connection[Any], service: str) -> Standing:
    held = [(number, name, made) for number, name, made in connection.execute(_KEYS).fetchall()]
    row = connection.execute(_PROGRESS).fetchone()
    assert row is not None
    number, part, _, sealed, ended = row
    return Standing(service, held, number, part, sealed, ended)
