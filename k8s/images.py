"""`python -m k8s.images`: builds the image through Docker's API, or says that no engine answers."""

import io
import socket
import sys
import tarfile
from pathlib import Path
from typing import Any, cast

import click
import docker
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env
from docker.utils.build import exclude_paths

CHECKOUT = Path(__file__).resolve().parents[1]


class ImageError(Exception):
    """The image cannot be built; the text says why, and what to do."""


def engine() -> docker.DockerClient:
    """The container engine that this user can reach (DOCKER_HOST counts); ImageError when none answers."""
    try:
        _knock(kwargs_from_env().get("base_url") or DEFAULT_UNIX_SOCKET)
        client = docker.from_env(timeout=600)
    except (DockerException, OSError) as error:  # those of requests are OSErrors
        raise ImageError(
            "no container engine answers here, and images can only be built by one. Start Docker, or name "
            "another machine's by DOCKER_HOST"
        ) from error
    return client


def _knock(address: str) -> None:
    """OSError when nobody listens at a socket of this machine: Docker's client would leave its own open."""
    scheme, _, path = address.partition("://")
    if scheme.endswith("unix"):
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(20)
            knocking.connect(path)


def context(wheels: Path | None = None) -> io.BytesIO:
    """What the engine builds from, as a tar: what .dockerignore lets through, and a folder of wheels."""
    ignored = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in ignored if line and not line.startswith("#")]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in sorted(set(exclude_paths(str(CHECKOUT), patterns)) - {".dockerignore"}):
            archive.add(CHECKOUT / name, arcname=name, recursive=False, filter=_nobodys)
        for path in sorted(wheels.iterdir()) if wheels is not None else ():
            archive.add(path, arcname=f"wheels/{path.name}", filter=_nobodys)
    packed.seek(0)
    return packed


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whoever builds, and whenever: the same layer, which everybody may read."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def build(
    client: docker.DockerClient,
    tag: str,
    *,
    bases: dict[str, str] | None = None,
    wheels: Path | None = None,
    say: Any = None,
) -> str:
    """Builds the image and gives it the tag; its id. `bases`: the Dockerfile's BASE and BUILD_BASE.

    With `wheels` the build has no network. `say` gets each line of the engine. ImageError says what failed.
    """
    image = ""
    try:
        told = client.api.build(
            fileobj=context(wheels),
            custom_context=True,
            tag=tag,
            buildargs=bases or {},
            network_mode="none" if wheels is not None else None,
            rm=True,
            forcerm=True,
            decode=True,
        )
        for part in cast("list[dict[str, Any]]", told):
            if "error" in part:
                raise ImageError(f"the engine could not build the image: {part['error'].strip()}")
            if say is not None and part.get("stream", "").strip():
                say(part["stream"].rstrip())
            image = part.get("aux", {}).get("ID", image)
    except APIError as error:
        raise ImageError(f"the engine could not build the image: {error.explanation or error}") from error
    return image


@click.command()
@click.option("--tag", default="rapport:0.1.0", show_default=True, help="Name and tag of the image.")
@click.option("--base", help="Image with Python 3.12, or 3.11; the Dockerfile's default otherwise.")
@click.option("--build-base", help="The same with a C compiler, pip and venv.")
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with all packages of requirements-image.lock: then nothing is asked of an index.",
)
def main(tag: str, base: str | None, build_base: str | None, wheels: Path | None) -> None:
    """Build the image of all services."""
    bases = {name: value for name, value in (("BASE", base), ("BUILD_BASE", build_base)) if value}
    try:
        image = build(engine(), tag, bases=bases, wheels=wheels, say=click.echo)
    except ImageError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    click.echo(f"{tag} is {image}")


if __name__ == "__main__":
    main()
