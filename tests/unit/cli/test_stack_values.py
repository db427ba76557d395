"""What the local stack's parts tell each other, without starting any."""

import stat
import sys

import click
import pytest
from click.testing import CliRunner

from services.cli.main import COMMANDS, main
from services.cli.stack.errors import StackError
from services.cli.stack.layout import Layout
from services.cli.stack.options import PORT_NAMES, StackOptions
from services.cli.stack.passwords import ensure_password, read_password, write_private
from services.cli.stack.processes import Birth, log_end
from services.cli.stack.state import ProgramState, Stack, find_stack, read_stack


def test_a_password_is_made_once_and_private(tmp_path):
    path = tmp_path / "password"
    password = ensure_password(path)
    assert len(password) == 32
    assert ensure_password(path) == password == read_password(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_password(tmp_path / "other") != password


def test_a_short_password_has_eight_characters(tmp_path):
    assert len(ensure_password(tmp_path / "password", octets=6)) == 8


def test_writing_privately_replaces_in_one_step(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_options_survive_the_way_to_the_supervisor(tmp_path):
    options = StackOptions(
        folder=tmp_path,
        rules=tmp_path / "rules",
        clock="events",
        without=("smsc",),
        settings={"log_level": "debug"},
    )
    assert StackOptions.from_json(options.to_json()) == options


def test_a_service_without_any_role_is_not_migrated(tmp_path):
    options = StackOptions(
        folder=tmp_path, rules=tmp_path, without=("profile-server", "profile-worker", "channel-worker")
    )
    assert options.services() == ["decision", "channel"]


def make_stack(folder, state="running"):
    Layout(folder).prepare()
    gone = Birth(2**22 + 1, "never")
    return Stack(
        folder=folder,
        state=state,
        clock="events",
        rules=folder / "rules",
        ports={name: 20_000 + index for index, name in enumerate(PORT_NAMES)},
        database_home=folder / "postgres",
        database_user="postgres",
        database_socket=folder / "postgres" / "socket",
        supervisor=gone,
        programs=[
            ProgramState("postgres", "running", gone, 2, None),
            ProgramState("nats", "restarting", None, 0, 20_003),
        ],
    )


def test_the_state_reads_back_as_it_was_written(tmp_path):
    stack = make_stack(tmp_path / "var")
    stack.write()
    assert read_stack(stack.folder) == stack
    assert stat.S_IMODE(stack.layout.state.stat().st_mode) == 0o600


def test_a_stack_without_its_supervisor_is_not_found(tmp_path):
    make_stack(tmp_path / "var").write()
    with pytest.raises(StackError, match="is gone"):
        find_stack(tmp_path / "var")


def test_a_damaged_state_is_told(tmp_path):
    stack = make_stack(tmp_path / "var")
    stack.layout.state.write_text("{")
    with pytest.raises(StackError, match="is damaged"):
        read_stack(stack.folder)
    stack.layout.state.write_text('{"version": 0}')
    with pytest.raises(StackError, match="another version"):
        read_stack(stack.folder)


def test_no_state_is_no_stack(tmp_path):
    assert read_stack(tmp_path) is None
    with pytest.raises(StackError, match="rapport up"):
        find_stack(tmp_path)


def test_an_unknown_program_is_told_with_those_known(tmp_path):
    with pytest.raises(StackError, match="There are: postgres, nats"):
        make_stack(tmp_path / "var").program("redis")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="--folder"):
        Layout(tmp_path / "file" / "var").prepare()


def test_the_end_of_a_log_is_told(tmp_path):
    log = tmp_path / "x.log"
    assert "no log" in log_end(log)
    log.write_text("")
    assert "is empty" in log_end(log)
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    told = log_end(log)
    assert told.endswith("line 99")
    assert "line 87" not in told


def test_help_lists_all_commands_and_loads_none():
    loaded = set(sys.modules)
    done = CliRunner().invoke(main, ["--help"])
    assert done.exit_code == 0
    assert all(f"  {name} " in done.output for name in COMMANDS)
    assert not {module for module in set(sys.modules) - loaded if module.startswith("services.")}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_can_be_loaded_and_says_what_it_does(name):
    with click.Context(main) as context:
        command = main.get_command(context, name)
    assert command.help
    assert all(
        option.help for option in command.params if isinstance(option, click.Option) and not option.hidden
    )


def test_what_the_stack_cannot_do_ends_with_its_message_and_exit_code(tmp_path):
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(main, ["up", "--folder", str(tmp_path / "file" / "var")])
    assert done.exit_code == 1
    assert "Error: " in done.output
    assert "--folder" in done.output


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--start", "yesterday"], "2026-10-01T00:00:00Z"),
        (["--setting", "loud"], "NAME=VALUE"),
        (["--without", "redis"], "smsc"),
    ],
)
def test_wrong_options_say_what_is_right(tmp_path, arguments, wanted):
    done = CliRunner().invoke(main, ["up", "--folder", str(tmp_path), *arguments])
    assert done.exit_code == 2
    assert wanted in done.output
    assert list(tmp_path.iterdir()) == []
