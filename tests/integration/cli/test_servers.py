"""The servers that tests and the local stack share: reachable with credentials, and only with them."""

import socket
import stat

import nats
import psycopg
import pytest

from services.cli.stack.nats_health import server_complaint


def test_postgres_answers_with_its_password_only(postgres_server):
    with postgres_server.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(
            host=str(postgres_server.socket_folder), user="rapport_admin", password="wrong", dbname="postgres"
        )


def test_postgres_folders_are_private(postgres_server):
    for folder in (postgres_server.home, postgres_server.socket_folder, postgres_server.cluster):
        found = folder.stat()
        assert stat.S_IMODE(found.st_mode) == 0o700, folder
        assert found.st_uid == postgres_server.account.uid
    assert stat.S_IMODE(postgres_server.password_file.stat().st_mode) == 0o600
    assert not (postgres_server.home / "password").exists()


def test_each_database_is_fresh(make_database):
    first, second = make_database(), make_database()
    assert first != second
    with psycopg.connect(first.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE only_here ()")
    with psycopg.connect(second.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)


def test_a_role_enters_its_own_database_only(postgres_server, tmp_path):
    for name in ("here", "there"):
        postgres_server.ensure_database(name, password_file=tmp_path / name)
    url = postgres_server.url("here", user="here", password_file=tmp_path / "here").replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE mine ()")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(url.replace("/here?", "/there?"))
    with postgres_server.connect() as connection:
        for name in ("here", "there"):
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"DROP ROLE {name}")


def test_nats_tells_its_watcher_alone_how_it_is(nats_server):
    password = nats_server.password_file.with_name(f"{nats_server.password_file.name}-watcher").read_text()
    assert server_complaint(nats_server.port, "rapport-watcher", password.strip()) == ""
    assert nats_server.needs_restart() == ""
    with pytest.raises(ValueError, match="Authorization"):
        server_complaint(nats_server.port, "rapport-watcher", "wrong")


async def test_nats_answers_with_its_password_only(nats_server):
    client = await nats.connect(nats_server.url)
    await client.jetstream().account_info()
    await client.close()

    with socket.create_connection(("127.0.0.1", nats_server.port), timeout=5) as connection:
        answers = connection.makefile("rwb")
        assert answers.readline().startswith(b"INFO ")
        answers.write(b'CONNECT {"user":"rapport","pass":"wrong"}\r\nPING\r\n')
        answers.flush()
        assert b"Authorization Violation" in answers.readline()


async def test_streams_are_fresh(fresh_streams):
    client = await nats.connect(fresh_streams)
    jetstream = client.jetstream()
    assert await jetstream.streams_info() == []
    await jetstream.add_stream(name="S", subjects=["s"])
    await client.close()


async def test_streams_are_fresh_again(fresh_streams):
    client = await nats.connect(fresh_streams)
    assert await client.jetstream().streams_info() == []
    await client.jetstream().add_stream(name="S", subjects=["s"])
    await client.close()
