"""Real servers for tests: one PostgreSQL and one nats-server for each test process, as fixtures."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import pytest
from nats.js.errors import NotFoundError
from psycopg import sql

from services.cli.stack.nats import NatsServer
from services.cli.stack.postgres import PostgresServer
from tests.integration.leftovers import make_place, mark_ours, sweep

MakeDatabase = Callable[..., str]


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account can enter; pytest's own folder it cannot when we are root."""
    sweep()
    folder = make_place()
    folder.chmod(0o711)
    mark_ours(folder)
    (folder / "secrets").mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(servers_folder: Path) -> Iterator[PostgresServer]:
    """A running PostgreSQL, not durable; for that start your own `PostgresServer(…, durable=True)`."""
    server = PostgresServer(
        servers_folder / "postgres",
        password_file=servers_folder / "secrets" / "admin",
        log=servers_folder / "postgres.log",
        durable=False,
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nats_server(servers_folder: Path) -> Iterator[NatsServer]:
    """A running nats-server with JetStream, not durable."""
    server = NatsServer(
        servers_folder / "nats",
        password_file=servers_folder / "secrets" / "nats",
        log=servers_folder / "nats.log",
        durable=False,
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    """The nats-server's URL with credentials; streams of earlier tests may be there (see `fresh_streams`)."""
    return nats_server.url


@pytest.fixture
async def fresh_streams(nats_url: str) -> str:
    """The nats-server's URL with no stream left of any earlier test: make those you need."""
    client = await nats.connect(nats_url)
    jetstream = client.jetstream()
    try:
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(stream.config.name)
    except NotFoundError:
        pass
    finally:
        await client.close()
    return nats_url


@pytest.fixture(scope="session")
def _database_names() -> Iterator[str]:
    return (f"t{number}" for number in itertools.count(1))


@pytest.fixture(scope="session")
def _templates() -> dict[Path, str]:
    return {}


@pytest.fixture
def make_database(
    postgres_server: PostgresServer, _database_names: Iterator[str], _templates: dict[Path, str]
) -> Iterator[MakeDatabase]:
    """A function that makes a fresh database, empty or migrated, and gives its URL."""
    made: list[str] = []

    def make(migrations: Path | str | None = None) -> str:
        name = next(_database_names)
        template = None
        if migrations is not None:
            folder = Path(migrations).resolve()
            if folder not in _templates:
                _templates[folder] = _make_template(postgres_server, f"template_{name}", folder)
            template = _templates[folder]
        _create(postgres_server, name, template)
        made.append(name)
        return _url(postgres_server, name)

    yield make
    with postgres_server.connect() as connection:
        for name in made:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(server: PostgresServer, name: str) -> str:
    return server.url(name, password_file=server.password_file)


def _create(server: PostgresServer, name: str, template: str | None = None) -> None:
    with server.connect() as connection:
        connection.execute(
            # files as they are: through the log, as is usual, costs more than twice as much
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template or "template1")
            )
        )


def _make_template(server: PostgresServer, name: str, folder: Path) -> str:
    from services.runtime.migrations import migrate

    _create(server, name)

    migrate(_url(server, name), folder)
    return name
