"""Reads the providers file: the SMSCs, who messages are from, and how SMSCs stand in for each other."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import phonenumbers

from services.channel.adapters.policies.reading import Mistakes, line_of, only, read
from services.channel.adapters.providers_table import Table
from services.channel.adapters.smpp_delivered import Dialect, ReceiptIds
from services.channel.adapters.smpp_link import LinkLimits
from services.channel.adapters.smpp_pdus import SubmitRules
from services.channel.adapters.smpp_senders import CountrySender, Numbering, Senders, is_number, source_of
from services.channel.adapters.smpp_settings import Patience, SmppSettings
from services.channel.adapters.smpp_texts import Alphabet

_SMSC_KEYS = (
    "address",
    "system_id",
    "password_file",
    "system_type",
    "bind",
    "binds",
    "window",
    "enquire_link",
    "tls",
    "priority",
    "per_second",
    "numbering",
    "alphabet",
    "receipt_ids",
    "country",
    "long_texts",
    "reference_bits",
    "reference_tag",
    "senders",
)
_COUNTRIES = frozenset(phonenumbers.SUPPORTED_REGIONS)


@dataclass(frozen=True, slots=True)
class Providers:
    """What the file says."""

    smscs: tuple[SmppSettings, ...]
    patience: Patience


@dataclass(frozen=True, slots=True)
class _From:
    """Who messages are from: the default sender, and what holds in countries."""

    default: str = ""
    senders: Senders = field(default_factory=Senders)


def read_providers(file: Path) -> Providers:
    """What the file says, with the passwords and certificates that it names; raises PolicyError."""
    content, mistakes = read(file)
    only(content, ("smscs", "senders", "failover"), mistakes, content)
    top = Table(content, "the file", mistakes, file.parent)
    listed = top.table("smscs")
    if listed is None or not listed.raw:
        raise mistakes.at(line_of(content, "smscs"), "smscs is missing or empty", "name at least one SMSC")
    sender = _senders(top.table("senders")) or _From()
    smscs = tuple(_smsc(name, listed.part(name), sender, mistakes) for name in map(str, listed.raw))
    return Providers(smscs, _patience(top.table("failover")))


def _patience(table: Table | None) -> Patience:
    if table is None:
        return Patience()
    table.only("refuses_for", "return_after")
    usual = Patience()
    return Patience(
        refuses_for=table.seconds("refuses_for", usual.refuses_for),
        return_after=table.seconds("return_after", usual.return_after),
    )


def _smsc(name: str, table: Table, sender: _From, mistakes: Mistakes) -> SmppSettings:
    table.only(*_SMSC_KEYS)
    if not name.replace("-", "").isalnum() or not name.islower() or not name.isascii() or len(name) > 32:
        raise mistakes.at(table.line, f"an SMSC is called {name!r}", "use up to 32 of a-z, 0-9 and -")
    host, port = table.address("address")
    own = _senders(table.table("senders")) or sender
    usual = LinkLimits()
    tls, server_name = _tls(table.table("tls"), mistakes)
    alphabet = table.word("alphabet", Alphabet, Alphabet.GSM)
    return SmppSettings(
        name=name,
        host=host,
        port=port,
        system_id=table.needed("system_id", longest=15),
        password=table.secret("password_file"),
        system_type=table.text("system_type", longest=12),
        sender=own.default,
        reference_tag=_tag(table),
        tls=tls,
        server_name=server_name,
        transceiver=table.one_of("bind", ("transceiver", "transmitter+receiver")) == "transceiver",
        binds=table.number("binds", 1, least=1, most=64),
        priority=table.number("priority", 1, least=1, most=100),
        per_second=table.number("per_second", 0, least=0, most=100_000),
        rules=SubmitRules(
            alphabet=alphabet,
            wide_reference=table.one_of("reference_bits", ("8", "16")) == "16",
            payload=table.one_of("long_texts", ("parts", "payload")) == "payload",
            numbering=_numbering(table.table("numbering")),
            senders=own.senders,
        ),
        dialect=Dialect(
            alphabet=alphabet,
            receipt_ids=table.word("receipt_ids", ReceiptIds, ReceiptIds.SAME),
            country=_country(table.text("country"), table, "country") if "country" in table.raw else "",
        ),
        limits=LinkLimits(
            window=table.number("window", usual.window, least=1, most=1_000),
            idle=table.seconds("enquire_link", usual.idle),
        ),
    )


def _tag(table: Table) -> int:
    tag = table.number("reference_tag", 0x1401, least=0, most=0x3FFF)
    if tag and tag < 0x1400:
        raise table.wrong("reference_tag", "is no vendor parameter", "say 0x1400 to 0x3FFF, or 0 for none")
    return tag


def _numbering(table: Table | None) -> Numbering:
    if table is None:
        return Numbering()
    usual = Numbering()
    table.only("number", "short", "letters", "destination")
    return Numbering(
        number=table.ton_npi("number", usual.number),
        short=table.ton_npi("short", usual.short),
        letters=table.ton_npi("letters", usual.letters),
        destination=table.ton_npi("destination", usual.destination),
    )


def _tls(table: Table | None, mistakes: Mistakes) -> tuple[ssl.SSLContext | None, str]:
    if table is None:
        return None, ""
    table.only("ca_file", "server_name", "cert_file", "key_file")
    ca_file = table.file("ca_file")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise table.wrong("ca_file", "holds no certificates", "name a PEM file") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    cert_file, key_file = table.file("cert_file"), table.file("key_file")
    if key_file and not cert_file:
        raise mistakes.at(table.line, "key_file without cert_file", "name both")
    if cert_file:
        try:
            context.load_cert_chain(cert_file, key_file)
        except (OSError, ssl.SSLError) as error:
            raise table.wrong(
                "cert_file", "and key_file are no pair", "name a PEM certificate and its key"
            ) from error
    return context, table.text("server_name")


def _senders(table: Table | None) -> _From | None:
    if table is None:
        return None
    table.only("default", "number", "countries")
    number = _number(table, "number")
    countries: dict[str, CountrySender] = {}
    listed = table.table("countries")
    for code in map(str, listed.raw) if listed is not None else ():
        assert listed is not None
        countries[_country(code, listed, code)] = _country_sender(listed.part(code), number)
    return _From(_sender(table, "default"), Senders(number, countries))


def _country_sender(table: Table, number: str) -> CountrySender:
    table.only("sender", "letters", "number")
    found = CountrySender(
        sender=_sender(table, "sender"),
        letters=table.flag("letters", default=True),
        number=_number(table, "number"),
    )
    if not found.letters and not is_number(found.sender):
        raise table.wrong("sender", "is of letters, which letters: false forbids", "name a number")
    if not found.letters and not (found.number or number or found.sender):
        raise table.mistakes.at(
            table.line, "letters: false without a number", "name a number here or for all countries"
        )
    return found


def _country(code: str, table: Table, key: str) -> str:
    if code not in _COUNTRIES:
        right = 'use a code of ISO 3166 such as FR (quote "NO")'
        raise table.mistakes.at(line_of(table.raw, key), f"{code!r} is no country", right)
    return code


def _sender(table: Table, key: str) -> str:
    sender = table.text(key)
    if source_of(sender, Numbering()) is None:
        raise table.wrong(key, "can be no sender", "use a number, a short code, or 1 to 11 letters")
    return sender


def _number(table: Table, key: str) -> str:
    number = table.text(key)
    if not is_number(number):
        raise table.wrong(key, "is no number", "use E.164 with its plus sign in quotes, or a short code")
    return number
