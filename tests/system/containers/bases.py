"""Images to build from and to run beside ours, made here, because none can be fetched."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from k8s.images import CHECKOUT
from services.cli.stack.nats import NatsServer

SUITE = "bookworm"
RUNTIME, BUILD, DATABASE = "rapport-base:runtime", "rapport-base:build", "rapport-base:servers"
SERVERS = "rapport-servers:test"
_DEFAULT = {"BASE": "python:3.12-slim-bookworm", "BUILD_BASE": "python:3.12-bookworm"}
_PACKAGES = {
    RUNTIME: "python3,python3-venv,ca-certificates",
    BUILD: "python3,python3-venv,python3-dev,gcc,libc6-dev,ca-certificates",
    DATABASE: "postgresql",
}
# What the image of PostgreSQL does before it starts the server, in short.
_POSTGRES = """\
#!/bin/sh
set -eu
PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
export PGPASSWORD
PGHOST=/var/run/postgresql
export PGDATA PGHOST
initdb -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS --no-sync >/dev/null
pg_ctl -w -s -o "-c listen_addresses='' -c unix_socket_directories=$PGHOST $*" start >/dev/null
. /docker-entrypoint-initdb.d/make-databases.sh
pg_ctl -w -s stop
unset PGPASSWORD
exec postgres -c listen_addresses='*' -c unix_socket_directories="$PGHOST" "$@"
"""
_SERVERS = """\
FROM {base}
RUN echo postgres:x:70:70::/:/bin/sh >>/etc/passwd && ln -s /usr/lib/postgresql/*/bin /opt/postgresql
COPY nats-server run-postgres /usr/local/bin/
ENV PATH=/opt/postgresql:/usr/local/bin:/usr/bin:/bin
"""


def bases(client):
    """The Dockerfile's BASE and BUILD_BASE: those it names where they are there, else made from packages."""
    if all(_is_there(client, name) for name in _DEFAULT.values()):
        return dict(_DEFAULT)
    for name in (RUNTIME, BUILD):
        if not _is_there(client, name):
            _make(client, name)
    return {"BASE": RUNTIME, "BUILD_BASE": BUILD}


def wheels(folder):
    """A folder with all that the image is made of, for a build without network; kept for the next time."""
    done = folder / "complete"
    lock = (CHECKOUT / "requirements-image.lock").read_text()
    if not done.exists() or done.read_text() != lock:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
        locked = ["--require-hashes", "-r", str(CHECKOUT / "requirements-image.lock")]
        for what in (locked, ["setuptools", "wheel"]):
            told = subprocess.run([*pip, *what], capture_output=True, text=True, check=False)
            if told.returncode:
                pytest.skip(f"the packages of the image cannot be had: {told.stderr.strip()[-200:]}")
        done.write_text(lock)
    return folder


def servers(client):
    """An image with PostgreSQL (that of the wheel knows no TLS) and the nats-server of the wheel."""
    if not _is_there(client, DATABASE):
        _make(client, DATABASE)
    nats = NatsServer(Path("unused"), password_file=Path("unused"), log=Path("unused")).command()[0]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(nats, "nats-server")
        _text(archive, "run-postgres", _POSTGRES)
        _text(archive, "Dockerfile", _SERVERS.format(base=DATABASE))
    packed.seek(0)
    client.images.build(fileobj=packed, custom_context=True, tag=SERVERS, rm=True)
    return SERVERS


def _text(archive, name, text):
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    member.mode = 0o755
    archive.addfile(member, io.BytesIO(text.encode()))


def _is_there(client, name):
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def _make(client, name):
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        pytest.skip(
            f"no base image: neither {' and '.join(_DEFAULT.values())} nor {name} is there, "
            "and there is no mmdebstrap, or no root, to make one"
        )
    repository, _, tag = name.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "base.tar"
        told = subprocess.run(
            ["mmdebstrap", "--variant=minbase", f"--include={_PACKAGES[name]}", SUITE, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            pytest.skip(f"no base image: mmdebstrap could not make one: {told.stderr.strip()[-200:]}")
        client.api.import_image_from_file(str(path), repository=repository, tag=tag)
