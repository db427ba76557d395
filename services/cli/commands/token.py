"""`rapport token`: a token for somebody who calls the local stack."""

import datetime as dt
from difflib import get_close_matches
from pathlib import Path

import click

from services.cli.commands.support import folder_option
from services.cli.stack.errors import StackError
from services.cli.stack.layout import Layout
from services.cli.stack.passwords import write_private
from services.cli.stack.trust import TOKENS, issuer_of, wall_now
from services.runtime.access_policy import all_scopes


def _scopes(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    known = all_scopes()
    for value in values:
        if value not in known:
            near = get_close_matches(value, known, n=1)
            raise click.BadParameter(
                f"{value!r} is needed by nothing; "
                + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")
            )
    return values


def _name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not value or not value.isprintable() or any(letter.isspace() for letter in value):
        raise click.BadParameter(f"{value!r} is no name; write one word, for example crm-import")
    return value


@click.command()
@folder_option
@click.option("--for", "subject", required=True, callback=_name, help="Whose it is, for example crm-import.")
@click.option("--scope", "scopes", multiple=True, callback=_scopes, help="What it allows; can be repeated.")
@click.option(
    "--like", type=click.Choice(sorted(TOKENS)), help="Also what the token made for these callers allows."
)
@click.option(
    "--days",
    type=click.FloatRange(0, 365, min_open=True),
    default=1.0,
    show_default=True,
    help="How long it counts.",
)
@click.option(
    "--to",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it to this file, which only its owner can read, instead of showing it.",
)
def token(
    folder: Path, subject: str, scopes: tuple[str, ...], like: str | None, days: float, file: Path | None
) -> None:
    """Sign a token for callers of the local stack; the audit log names them by it.

    In production the tokens are those of your identity provider (RAPPORT_JWKS, RAPPORT_JWT_ISSUER).
    """
    allowed = {*scopes, *(TOKENS[like] if like else ())}
    if not allowed:
        raise click.UsageError("say with --scope or --like what it allows: " + ", ".join(all_scopes()))
    try:
        issuer = issuer_of(Layout(folder.absolute()))
    except OSError as error:
        raise StackError(f"{folder} has no signing key yet. Make one with: rapport up") from error
    signed = issuer.sign(subject, allowed, wall_now(), lasts=dt.timedelta(days=days))
    if file is None:
        click.echo(signed)
    else:
        try:
            write_private(file, signed + "\n")
        except OSError as error:
            raise StackError(f"{file} cannot be written ({error.strerror}).") from error
        lasts = "1 day" if days == 1 else f"{days:g} days"
        click.echo(f"{file}: {subject} may {', '.join(sorted(allowed))} for {lasts}")
