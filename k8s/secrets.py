"""`python -m k8s.secrets OVERLAY`: prints the secrets that an overlay lists, with new passwords."""

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from k8s.check.manifests import Manifest, ManifestError
from k8s.check.references import listed_secrets
from services.runtime.keys import Keyring

_OCTETS = 24
_KEY_OCTETS = 32
_SHORT_OCTETS = 6
"""Of a password of SMPP 3.4, which knows eight characters."""


def made(listed: Mapping[str, Mapping[str, Any]], files: Mapping[str, str]) -> list[Manifest]:
    """The secrets as objects: passwords drawn by chance, lines of other secrets' passwords, given files."""
    drawn: dict[str, dict[str, str]] = {}
    for name, keys in listed.items():
        drawn[name] = {}
        for key, way in keys.items():
            if way == "password":
                short = key.startswith("smsc")
                drawn[name][key] = secrets.token_urlsafe(_SHORT_OCTETS if short else _OCTETS)
            elif way == "key":
                drawn[name][key] = f"{secrets.token_hex(_KEY_OCTETS)}\n"
            elif way == "keyring":
                drawn[name][key] = Keyring.make().text()
            elif way == "file":
                if name not in files:
                    raise ManifestError(f"{name} holds a file of yours; say --file {name}=PATH")
                drawn[name][key] = files[name]
            elif not isinstance(way, Mapping) or set(way) != {"of"}:
                raise ManifestError(
                    f"{name}: {key} is {way!r}; write password, file, key, keyring, or of: {{NAME: secret}}"
                )
    for name, keys in listed.items():
        for key, way in keys.items():
            if isinstance(way, Mapping):
                drawn[name][key] = "".join(
                    f'{variable}: "{_only(drawn, other)}"\n' for variable, other in way["of"].items()
                )
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
        for name, values in drawn.items()
    ]


def _only(drawn: Mapping[str, Mapping[str, str]], name: str) -> str:
    values = drawn.get(name, {})
    if len(values) != 1:
        raise ManifestError(f"{name} must be a secret of this file with one password")
    return next(iter(values.values()))


def _named_file(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for entry in given:
        name, _, path = entry.partition("=")
        try:
            found[name] = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise click.BadParameter(f"{entry!r}: {error.strerror}; write SECRET=PATH") from error
    return found


@click.command()
@click.argument("overlay", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--file", "files", multiple=True, callback=_named_file, help="SECRET=PATH; can be repeated.")
@click.option("--namespace", default="rapport", show_default=True, help="Where they are to be.")
def main(overlay: Path, files: dict[str, str], namespace: str) -> None:
    """Print the secrets that the OVERLAY's secrets.yaml lists. What is printed is secret: pipe it on."""
    try:
        objects = made(listed_secrets(overlay), files)
    except ManifestError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    for manifest in objects:
        manifest["metadata"]["namespace"] = namespace
    YAML(typ="safe").dump_all(objects, sys.stdout)


if __name__ == "__main__":
    main()
