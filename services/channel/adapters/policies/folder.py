"""The policies in force: files of a folder, read again when one changes, or documents in their place."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

from services.channel.adapters.policies.arbitration import ARBITRATION, read_sales_share
from services.channel.adapters.policies.campaigns import read_campaigns
from services.channel.adapters.policies.caps import read_caps
from services.channel.adapters.policies.law import read_law
from services.channel.adapters.policies.quiet_hours import read_quiet_hours
from services.channel.adapters.policies.reading import Document, Source
from services.channel.adapters.policies.replies import read_replies
from services.channel.adapters.policies.world import KnownWorld
from services.channel.domain.campaigns import Campaigns
from services.channel.domain.controls import Controls
from services.channel.domain.errors import PolicyError
from services.channel.domain.inbound import Replies
from services.channel.domain.policies import Policies
from services.runtime.digests import Digests, digest_files, digest_text

POLICY_FILES = ("campaigns.yaml", "caps.yaml", "law.yaml", "quiet_hours.yaml", "replies.yaml")
"""What the channel reads of rules/policies, and what may be put into force by a call."""
_FILES = (ARBITRATION, *POLICY_FILES)
"""All that it reads there; the policy of arbitration is the decision service's too, which reads the file."""

Documents = Mapping[str, str]
"""Texts that hold in the place of files, by their names."""


def load_policies(
    folder: Path, default_zone: str, documents: Documents | None = None, *, country: str = ""
) -> Policies:
    """The policies in that folder, documents before files; `country` is the operator's own.

    Raises PolicyError: file, line, and what would be right.
    """
    texts = documents or {}

    def source(name: str) -> Source:
        return Document(name, texts[name]) if name in texts else folder / name

    campaigns, law, replies = source("campaigns.yaml"), source("law.yaml"), source("replies.yaml")
    return Policies(
        caps=read_caps(source("caps.yaml")),
        sales_share=read_sales_share(folder / ARBITRATION),
        quiet_hours=replace(
            read_quiet_hours(source("quiet_hours.yaml"), default_zone),
            law=read_law(law) if isinstance(law, Document) or law.exists() else (),
            world=KnownWorld(country),
        ),
        campaigns=(
            read_campaigns(campaigns, default_zone)
            if isinstance(campaigns, Document) or campaigns.exists()
            else Campaigns(zone=default_zone)
        ),
        replies=(read_replies(replies) if isinstance(replies, Document) or replies.exists() else Replies()),
    )


class PolicyFolder:
    """The policies in force: the last ones read that were right, with the controls as last known."""

    def __init__(self, folder: Path, default_zone: str, country: str = "") -> None:
        self._folder = folder
        self._default_zone = default_zone
        self._country = country
        self._documents: Documents = {}
        self._seen = self._stamp()
        self._digests = self._digest()
        self._policies = load_policies(folder, default_zone, country=country)

    def current(self) -> Policies:
        """The policies in force."""
        return self._policies

    def refresh(self) -> bool:
        """Reads files that changed; True when new policies are in force. A mistake leaves the old ones."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        self._load()
        return True

    def names(self) -> tuple[str, ...]:
        """The files in whose place documents may hold."""
        return POLICY_FILES

    def only_files(self) -> tuple[str, ...]:
        """Files that are read too, in whose place none may: the decision service reads the file."""
        return (ARBITRATION,)

    def check(self, documents: Documents) -> None:
        """Raises PolicyError when the policies could not be read with these documents."""
        self._read(documents)

    def imagine(self, documents: Documents) -> Policies:
        """The policies in force but for these documents; raises PolicyError, also for one of no known name.

        Nothing comes into force by it.
        """
        unknown = sorted(documents.keys() - set(POLICY_FILES))
        if unknown:
            raise PolicyError(f"policies/{unknown[0]}:1: is no policy; use {', '.join(POLICY_FILES)}")
        if not documents:
            return self._policies
        policies = self._read({**self._documents, **documents})
        return replace(policies, controls=self._policies.controls)

    def texts(self, documents: Documents) -> dict[str, str]:
        """Every policy by file name, these documents before the files; what is not there is left out."""
        found = {}
        for name in _FILES:
            if name in documents:
                found[name] = documents[name]
            elif (self._folder / name).exists():
                found[name] = (self._folder / name).read_text(encoding="utf-8")
        return found

    def put(self, documents: Documents) -> None:
        """From now on these hold in the place of files.

        PolicyError leaves the policies as they were; the next time that a file changes all is read again.
        """
        if documents != self._documents:
            self._documents = dict(documents)
            self._load()

    def control(self, controls: Controls) -> None:
        """From now on these hold."""
        self._policies = replace(self._policies, controls=controls)

    def digests(self) -> Digests:
        """Digests of what is in force, by file name."""
        return self._digests

    def _read(self, documents: Documents) -> Policies:
        return load_policies(self._folder, self._default_zone, documents, country=self._country)

    def _load(self) -> None:
        documents = self._documents
        digests = self._digest() | {name: digest_text(text) for name, text in documents.items()}
        policies = self._read(documents)
        self._policies = replace(policies, controls=self._policies.controls)
        self._digests = digests

    def _digest(self) -> dict[str, str]:
        return digest_files(self._folder, *_FILES)

    def _stamp(self) -> Hashable:
        found = []
        for name in _FILES:
            try:
                status = (self._folder / name).stat()
            except OSError:
                continue
            found.append((name, status.st_mtime_ns, status.st_size))
        return tuple(found)
