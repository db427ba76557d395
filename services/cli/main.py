"""The `rapport` command: a group whose commands are loaded only when they are used."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from services.cli.stack.errors import FolderInUseError, PortTakenError, StackError

# name: (module:attribute of its click command, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("services.cli.stack.up:up", "Start everything on this machine and leave it running."),
    "down": ("services.cli.stack.down:down", "Stop what `rapport up` started."),
    "status": ("services.cli.stack.status:status", "Show what runs, and how much is on its way."),
    "demo": ("services.cli.demo.command:demo", "Run a small town through it, explain, draw, reconcile."),
    "ingest": ("services.cli.commands.ingest:ingest", "Take a file of events."),
    "import": ("services.cli.importing.command:import_files", "Take files of other systems, in bulk."),
    "retract": ("services.cli.importing.retracting:retract", "Take back an event taken by mistake."),
    "profile": ("services.cli.commands.customers:profile", "Look at customers."),
    "account": (
        "services.cli.commands.accounts:account",
        "See who pays, who uses, who lives together.",
    ),
    "timeline": ("services.cli.commands.timeline:timeline", "See what happened to one customer."),
    "privacy": ("services.cli.commands.privacy:privacy", "See to people's rights over what is kept."),
    "consent": ("services.cli.commands.consent_papers:consent", "Record and prove what customers agree to."),
    "identity": ("services.cli.commands.identity:identity", "Say who is who: merge, split, assign."),
    "rules": ("services.cli.commands.rules:rules", "Check, test and activate rule sets."),
    "simulate": (
        "services.cli.simulating.command:simulate",
        "See what drafts of rule sets would have done.",
    ),
    "ask": ("services.cli.commands.ask:ask", "Ask what is best for one customer now."),
    "campaigns": (
        "services.cli.commands.campaigns:campaigns",
        "Start, pause, resume, cancel and watch campaigns.",
    ),
    "runs": ("services.cli.commands.audience_runs:list_runs", "See which audiences were asked."),
    "decisions": ("services.cli.commands.decisions:decisions", "Look at decisions, and why."),
    "outcomes": (
        "services.cli.commands.outcomes:outcomes",
        "Say what customers answered; take plans back; follow it all.",
    ),
    "messages": ("services.cli.commands.messages:messages", "Look at messages."),
    "templates": ("services.cli.commands.templates:templates", "Look at what is said, and change it."),
    "inbox": ("services.cli.commands.messages:inbox", "Look at the inbox inside the app."),
    "suppression": (
        "services.cli.commands.suppression:suppression",
        "Keep the list of those who are not contacted.",
    ),
    "reconcile": (
        "services.cli.commands.reconcile:reconcile",
        "Hold a provider's own report against our messages.",
    ),
    "controls": (
        "services.cli.commands.controls:controls",
        "Stop, slow down, limit; put policies into force.",
    ),
    "audit": ("services.cli.commands.audit:audit", "See who changed rules, consent, configuration."),
    "prune": ("services.cli.commands.prune:prune", "Take away what is kept no longer."),
    "backup": ("services.cli.commands.backup:backup", "Write the databases into files."),
    "restore": ("services.cli.commands.backup:restore", "Replace databases by those of a backup."),
    "recover": ("services.cli.commands.recover:recover", "Bring restored databases together."),
    "keys": ("services.cli.commands.keys:keys", "Make and replace the keys that seal what names people."),
    "token": ("services.cli.commands.token:token", "Make a token for somebody who calls."),
    "dead": ("services.cli.commands.dead:dead", "Look at what was set aside, and send it again."),
}

_EXIT_CODES: dict[type[StackError], int] = {StackError: 1, FolderInUseError: 3, PortTakenError: 4}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used, not when help is shown."""

    def __init__(
        self, *arguments: Any, table: dict[str, tuple[str, str]] | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._table = table or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the table's order."""
        return [*self._table, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, loaded now."""
        if cmd_name not in self._table:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._table[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and lines of help, without loading anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._table.items()])
        super_names = [name for name in super().list_commands(ctx) if name not in self._table]
        assert not super_names, "every command stands in the table"

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; what the local stack cannot do ends in a message and an exit code of its own."""
        try:
            return super().invoke(ctx)
        except StackError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(_EXIT_CODES.get(type(error), 1))


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Rapport decides whether to say something to a customer, what, and over which channel, and proves why.

    Exit codes: 0 done; 1 not done, the message says why; 2 wrong use; 3 the folder is in use by another
    `rapport up`; 4 a port is taken.
    """


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command with these arguments, by default those of the process."""
    main(args=None if arguments is None else list(arguments), prog_name="rapport")


if __name__ == "__main__":
    run()
