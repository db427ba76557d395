"""Puts the parts of mail together, as its settings ask for: letterhead, signatures, links.

What signs, and what serves the web, is loaded only where the settings ask for it: it brings a web server and
a client of DNS along.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from services.channel.adapters.mail import Letterhead, sender_of
from services.channel.adapters.mail_reports import MailReportReader
from services.channel.adapters.mailboxes import ImapMailbox, Maildir
from services.channel.adapters.smtp import SmtpSettings, SmtpTransport
from services.channel.adapters.smtp_link import LinkSettings
from services.channel.adapters.storage.mail_reports import PostgresReportLog
from services.channel.domain.links import LinkKeys, Links
from services.channel.domain.mail_reports import MOST_OCTETS
from services.runtime.errors import SettingError

if TYPE_CHECKING:
    from services.channel.adapters.dkim_signer import DkimSigner
    from services.channel.app.mail_reports import Mailbox
    from services.channel.app.profile import ProfilePort
    from services.channel.app.store import MessageStore
    from services.channel.entrypoints.mail_reports import MailboxLoop, Reports
    from services.channel.entrypoints.web import WebEndpoint
    from services.channel.mail_settings import MailSettings
    from services.runtime.clock import Clock


def link_keys(own: MailSettings) -> LinkKeys | None:
    """What signs links and return paths; None: nothing does. SettingError for a file that holds no keys."""
    if not own.link_keys:
        return None
    try:
        return LinkKeys.read(own.link_keys)
    except ValueError as error:
        raise _unfit("RAPPORT_LINK_KEYS_FILE", error) from None


def links(own: MailSettings) -> Links | None:
    """Makes links; None: none are served."""
    keys = link_keys(own)
    return Links(keys, own.link_url) if keys is not None and own.link_url else None


def mail_transport(own: MailSettings, clock: Clock) -> SmtpTransport:
    """The way to the relays; SettingError names what is wrong."""
    signer = _signer(own, clock)
    try:
        letterhead = Letterhead(
            own.sender,
            links=links(own),
            mailto=own.mailto,
            return_path=own.return_path,
            return_keys=link_keys(own),
            sign=None if signer is None else signer.signed,
        )
        link = LinkSettings(
            relays=own.relays,
            user=own.user,
            password=own.password,
            tls=own.tls,
            tls_name=own.tls_name,
            ca_file=own.ca_file,
        )
        return SmtpTransport(SmtpSettings(link, letterhead, own.connections), clock.now_micros)
    except ValueError as error:
        raise _unfit("RAPPORT_SMTP", error) from None


def web_endpoint(
    own: MailSettings, store: MessageStore, profile: ProfilePort, clock: Clock, *, language: str
) -> WebEndpoint | None:
    """What answers links, and takes reports where there is a secret for them; None: nothing listens."""
    keys = link_keys(own)
    if not own.web_listen or keys is None:
        return None
    from services.channel.entrypoints.mail_reports import ReportHook
    from services.channel.entrypoints.web import WebEndpoint
    from services.channel.entrypoints.web_links import LinkPages

    routes = LinkPages(keys, store, profile, clock, default_language=language).routes()
    if own.reports_secret:
        routes += ReportHook(_reports(keys, store, clock), own.reports_secret).routes()
    return WebEndpoint(routes, most_octets=MOST_OCTETS)


def mailbox_loop(own: MailSettings, store: MessageStore, clock: Clock) -> tuple[Mailbox, MailboxLoop] | None:
    """What empties the mailbox of reports; None: there is none. SettingError names what is wrong."""
    if own.mailbox is None:
        return None
    keys = link_keys(own)
    if keys is None:
        raise SettingError(
            "RAPPORT_LINK_KEYS_FILE is not set, and the mailbox of reports needs it",
            field="RAPPORT_LINK_KEYS_FILE",
            suggestion="name a file with a key",
        )
    from services.channel.entrypoints.mail_reports import MailboxLoop

    told = own.mailbox
    try:
        mailbox: Mailbox = (
            Maildir(Path(told.path))
            if told.scheme == "maildir"
            else ImapMailbox(told.host, told.port, told.user, told.password, told.path, ca_file=told.ca_file)
        )
    except ValueError as error:
        raise _unfit("RAPPORT_REPORTS_MAILBOX", error) from None
    return mailbox, MailboxLoop(mailbox, _reports(keys, store, clock))


def _reports(keys: LinkKeys, store: MessageStore, clock: Clock) -> Reports:
    from services.channel.entrypoints.mail_reports import Reports

    return Reports(MailReportReader(keys), store, PostgresReportLog(), clock)


def _signer(own: MailSettings, clock: Clock) -> DkimSigner | None:
    if not own.dkim_key:
        return None
    from services.channel.adapters.dkim_signer import DkimSigner

    try:
        signer = DkimSigner(
            domain=own.dkim_domain,
            selector=own.dkim_selector,
            key=own.dkim_key,
            wall_micros=clock.wall_micros,
        )
        _, sender = sender_of("", own.sender)
    except ValueError as error:
        raise _unfit("RAPPORT_DKIM_KEY_FILE" if "key" in str(error) else "RAPPORT_DKIM", error) from None
    if not signer.is_aligned_with(sender):
        raise SettingError(
            f"RAPPORT_DKIM_DOMAIN is {own.dkim_domain}, which does not answer for the sender's domain",
            field="RAPPORT_DKIM_DOMAIN",
            suggestion="name the domain of RAPPORT_SMTP_FROM, or one above it",
        )
    return signer


def _unfit(field: str, error: ValueError) -> SettingError:
    return SettingError(str(error), field=field, suggestion=f"correct {field}")
