"""The secrets of an overlay are made as it lists them."""

from click.testing import CliRunner
from ruamel.yaml import YAML

from k8s.check.__main__ import CHECKOUT
from k8s.check.references import listed_secrets
from k8s.secrets import main

DEV = CHECKOUT / "k8s/overlays/dev"


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def made(*arguments):
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return {
        found["metadata"]["name"]: found["stringData"] for found in YAML(typ="safe").load_all(done.output)
    }


def test_all_that_is_listed_is_made(tmp_path):
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    found = made(DEV, "--file", f"rapport-jwks={tmp_path / 'jwks.json'}")
    assert {name: set(values) for name, values in found.items()} == {
        name: set(keys) for name, keys in listed_secrets(DEV).items()
    }
    assert found["rapport-jwks"]["jwks.json"] == '{"keys": []}'
    passwords = [
        value for name, values in found.items() for key, value in values.items() if key == "password"
    ]
    assert len(set(passwords)) == len(passwords) == 7
    assert min(map(len, passwords)) >= 32
    for service in ("profile", "decision", "channel"):
        line = f'{service.upper()}_PASSWORD: "{found[f"{service}-nats"]["password"]}"'
        assert line in found["nats-users"]["passwords.conf"].splitlines()


def test_the_password_of_the_smsc_is_one_of_smpp():
    assert len(made(DEV, "--file", "rapport-jwks=/dev/null")["channel-providers"]["smsc-password"]) == 8


def test_a_file_that_is_not_given_is_asked_for():
    done = run(DEV)
    assert done.exit_code == 1
    assert "say --file rapport-jwks=PATH" in done.output


def test_a_file_that_cannot_be_read_is_named():
    done = run(DEV, "--file", "rapport-jwks=/nowhere")
    assert done.exit_code == 2
    assert "No such file" in done.output


def test_an_unknown_way_to_make_one_is_named(tmp_path):
    (tmp_path / "secrets.yaml").write_text("secrets: {one: {password: passwort}, two: {k: {of: {X: one}}}}\n")
    done = run(tmp_path)
    assert done.exit_code == 1
    assert "password is 'passwort'; write password, file" in done.output


def test_a_line_is_of_one_password(tmp_path):
    (tmp_path / "secrets.yaml").write_text(
        "secrets: {one: {a: password, b: password}, two: {k: {of: {X: one}}}}\n"
    )
    done = run(tmp_path)
    assert done.exit_code == 1
    assert "one must be a secret of this file with one password" in done.output
