"""What the runbook tells to do exists: commands with their options, make targets, files, calls, alerts."""

import re
import shlex
from importlib import import_module

import click
import pytest
import yaml
from google.protobuf import descriptor_pool

from k8s.check.kustomize import render
from services.cli.main import main
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.options import SERVICES

TEXT = (CHECKOUT / "docs" / "runbook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\n(.*?)```", TEXT, re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
TOLD = re.findall(r"`(rapport [a-z][^`…]*)`", TEXT)
COMMANDS = sorted({told for told in [*LINES, *TOLD] if told.startswith("rapport ")})


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_these_options(line):
    words = shlex.split(line.replace("`", "").partition(" > ")[0])[1:]
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, f"there is no such command: {line}"
        command = found
        context = click.Context(command, parent=context)
    values, rest, _ = command.make_parser(context).parse_args(words)
    assert not rest
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if value is not None and isinstance(parameter.type, click.Choice):
            parameter.type_cast_value(context, value)


def test_the_runbook_names_many_commands():
    assert len(COMMANDS) > 20


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z0-9-]+)", TEXT))
    assert named
    assert named <= targets


def test_files_exist():
    named = set(re.findall(r"`((?:k8s|rules|bench|docs)/[a-z0-9/_.-]+)`", TEXT))
    assert len(named) >= 5
    assert [name for name in named if not (CHECKOUT / name).exists()] == []


def test_calls_exist():
    for package in (
        "operations.v1.operations",
        "operations.v1.recovery",
        "channel.v1.channel",
        "channel.v1.quarantine",
    ):
        import_module(f"rapport.{package}_pb2")
    pool = descriptor_pool.Default()
    named = set(re.findall(r"(rapport\.[a-z]+\.v1\.[A-Za-z]+)/([A-Za-z]+)", TEXT))
    assert len(named) >= 8
    for service, method in named:
        assert method in pool.FindServiceByName(service).methods_by_name


def test_every_alert_is_explained():
    alerts = yaml.safe_load((CHECKOUT / "k8s/components/monitoring/alerts.yaml").read_text(encoding="utf-8"))
    names = {rule["alert"] for group in alerts["spec"]["groups"] for rule in group["rules"]}
    parts = dict(re.findall(r"^### (Rapport\w+)\n(.*?)(?=^### |\Z)", TEXT, re.DOTALL | re.MULTILINE))
    assert parts.keys() == names
    for name, part in parts.items():
        assert all(word in part for word in ("**Means**", "**Look**", "**Do**")), name


def test_links_inside_lead_somewhere():
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


def test_the_migration_jobs_are_those_that_a_restore_is_marked_with():
    """The runbook's sed makes `restored` of their second argument; by their label nothing else is applied."""
    labelled = [
        manifest
        for manifest in render(CHECKOUT / "k8s" / "overlays" / "prod")
        if manifest["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "migrate"
    ]
    assert {(manifest["kind"], manifest["metadata"]["name"]) for manifest in labelled} == {
        ("Job", f"migrate-{service}") for service in SERVICES
    }
    for manifest in labelled:
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        module, command = container["args"]
        assert (module.removeprefix("services.").removesuffix(".main"), command) in {
            (service, "migrate") for service in SERVICES
        }
