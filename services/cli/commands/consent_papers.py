"""What is told of consents and of processing: to a person, to the authority, to another system."""

from pathlib import Path

import click
import orjson
from rapport.profile.v1 import consent_pb2

from services.cli.commands.consents import consent, lines_of
from services.cli.commands.rules.sources import catalogue_option
from services.cli.commands.support import folder_option, runs
from services.cli.connections import connected
from services.cli.processing.record import UndescribedError, record_of
from services.cli.processing.render import Document, Form, render
from services.cli.processing.tmf644 import profile_of, questions_of
from services.cli.processing.words import LOCALES
from services.cli.stack.errors import StackError
from services.vocabulary import wire
from services.vocabulary.catalogue import CatalogueErrors, load_catalogue

locale_option = click.option(
    "--locale", type=click.Choice(LOCALES), default="en", show_default=True, help="In which language."
)
form_option = click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Form]),
    default=Form.MD.value,
    show_default=True,
    help="Markdown, a page of HTML that needs nothing from outside, or JSON.",
)


@consent.command("record")
@locale_option
@form_option
@catalogue_option
def show_record(locale: str, form: str, catalogue: Path) -> None:
    """Print the record of processing activities (GDPR art. 30), from the catalogue."""
    _print(Document.RECORD, locale, form, catalogue)


@consent.command("notice")
@locale_option
@form_option
@catalogue_option
def show_notice(locale: str, form: str, catalogue: Path) -> None:
    """Print what people are told of profiling (GDPR art. 13, 21, 22), from the catalogue."""
    _print(Document.NOTICE, locale, form, catalogue)


@consent.command("export")
@click.argument("subject", metavar="ID")
@locale_option
@catalogue_option
@folder_option
@runs
async def export(subject: str, locale: str, catalogue: Path, folder: Path) -> None:
    """Print a customer's consents as JSON, in the manner of TMF644 (privacy management)."""
    known = load_catalogue(catalogue)
    async with connected(folder) as connections:
        lines = [line async for line in lines_of(connections, subject)]
        asked = questions_of(lines)
        questions = [
            consent_pb2.ConsentQuestion(
                subject=subject,
                purpose=wire.PURPOSES.to_wire(purpose),
                channel=wire.CHANNELS.to_wire(channel),
            )
            for purpose, channel in asked
        ]
        answer = await connections.consents.CheckConsent(consent_pb2.CheckConsentRequest(questions=questions))
    customer = next((one.customer for one in answer.answers if one.customer), 0)
    told = profile_of(customer, lines, dict(zip(asked, answer.answers, strict=True)), known, locale)
    click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())


def _print(document: Document, locale: str, form: str, catalogue: Path) -> None:
    try:
        record = record_of(load_catalogue(catalogue), locale, profiling_only=document is Document.NOTICE)
    except (CatalogueErrors, UndescribedError) as error:
        raise StackError(str(error)) from None
    click.echo(render(document, record, Form(form)), nl=False)
