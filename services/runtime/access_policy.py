"""Who may do what without a token saying so: scopes and rates of callers, from rules/policies/access.yaml."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import rapport
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from rapport.access.v1 import access_pb2

from services.runtime.clock import Clock
from services.runtime.credentials import file_stamp
from services.runtime.errors import SettingError
from services.vocabulary.yaml_section import Mistakes, Section, read_yaml

FILE = "policies/access.yaml"
_LOOK_SECONDS = 1.0
_STREAMS = 100
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}(/[a-z0-9][a-z0-9-]{0,62})*")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rate:
    """How much a caller may ask of a process: calls a second, so many at once after a pause, open streams."""

    calls_per_second: float
    burst: float
    streams: int = _STREAMS


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller with a certificate may do."""

    scopes: frozenset[str]
    rate: Rate


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Callers with a certificate by name; the rate of those with a token, and of some by their subject."""

    callers: Mapping[str, Grant]
    tokens: Rate
    subjects: Mapping[str, Rate] = field(default_factory=dict)


class AccessPolicyFile:
    """The policy in force: the last one read that was right; a change counts within a second."""

    def __init__(self, rules_folder: Path, clock: Clock) -> None:
        self._path = rules_folder / FILE
        self._clock = clock
        self._stamp = file_stamp(self._path)
        self._looked = clock.monotonic()
        self._policy = read_access_policy(self._path)

    def current(self) -> AccessPolicy:
        """The policy in force; a mistake in a changed file is logged and leaves the old one."""
        now = self._clock.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            stamp = file_stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._policy = read_access_policy(self._path)
                    _log.info("access_policy_read", callers=len(self._policy.callers))
                except SettingError as error:
                    _log.error("access_policy_not_taken", error=error.message)
        return self._policy


def read_access_policy(path: Path) -> AccessPolicy:
    """The policy in that file; SettingError names every mistake with its line."""
    mistakes = Mistakes()
    shown = "/".join(path.parts[-2:])
    try:
        top = read_yaml(path, shown, mistakes)
    except OSError as error:
        raise SettingError(
            f"{shown} cannot be read ({error.strerror})",
            field="RAPPORT_RULES_FOLDER",
            suggestion="put the policy there that says who may call",
        ) from error
    policy = AccessPolicy({}, Rate(0, 0))
    if top is not None:
        policy = _policy(top)
    if mistakes.found:
        told = "; ".join(
            f"{wrong.file}:{wrong.line}: {wrong.message}"
            + (f", {wrong.suggestion}" if wrong.suggestion else "")
            for wrong in mistakes.found
        )
        raise SettingError(told, field="RAPPORT_RULES_FOLDER")
    return policy


def scopes_of(service: ServiceDescriptor) -> dict[str, str]:
    """The scope that each method needs, by the method's full path; "": none is declared."""
    return {
        f"/{service.full_name}/{method.name}": method.GetOptions().Extensions[access_pb2.scope]
        for method in service.methods
    }


def declared_scopes(service: str) -> dict[str, str]:
    """As `scopes_of`, by the service's full name; empty for one whose proto is not known."""
    try:
        return scopes_of(descriptor_pool.Default().FindServiceByName(service))
    except KeyError:
        return {}


def all_scopes() -> list[str]:
    """Every scope that a method of ours needs."""
    found: set[str] = set()
    for service in our_services():
        found.update(scopes_of(service).values())
    return sorted(found - {""})


def our_services() -> list[ServiceDescriptor]:
    """Every service of our protos, whether it is served here or not."""
    names = {
        f"rapport.{path.parent.parent.name}.{path.parent.name}.{path.stem}"
        for folder in rapport.__path__
        for path in Path(folder).glob("*/v*/*_pb2.py")
    }
    modules = [import_module(name) for name in sorted(names)]
    return [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]


def _policy(top: Section) -> AccessPolicy:
    known = all_scopes()
    callers = {}
    told = top.section("callers")
    for name, section in told.sections() if told is not None else ():
        if not _NAME.fullmatch(name):
            section.mistakes.add(
                section.file,
                section.line,
                f"callers.{name} is no name",
                "write what follows the trust domain",
            )
        scopes = frozenset(section.texts("scopes"))
        for scope in sorted(scopes.difference(known)):
            near = get_close_matches(scope, known, n=1)
            section.wrong(
                "scopes",
                f"names {scope}, which nothing needs",
                f"did you mean {near[0]}?" if near else "there are " + ", ".join(known),
            )
        callers[name] = Grant(scopes, _rate(section))
        section.done()
    tokens = top.section("tokens")
    if tokens is None:
        top.wrong("tokens", "is missing", "write tokens: {calls_per_second: 500}")
        return AccessPolicy(callers, Rate(0, 0))
    rate = _rate(tokens)
    subjects = {}
    named = tokens.section("subjects")
    for name, section in named.sections() if named is not None else ():
        subjects[name] = _rate(section)
        section.done()
    tokens.done()
    top.done()
    return AccessPolicy(callers, rate, subjects)


def _rate(section: Section) -> Rate:
    per_second = section.number("calls_per_second")
    burst = section.number("burst")
    streams = section.whole("streams", _STREAMS)
    if per_second is None:
        if section.content.get("calls_per_second") is None:
            section.wrong("calls_per_second", "is missing", "say how often it may call")
        return Rate(0, 0)
    if per_second <= 0 or (burst is not None and burst < 1):
        section.wrong("calls_per_second", "or burst is too small", "write numbers over 0, a burst from 1")
    if streams is None or streams < 0:
        section.wrong("streams", "is no number of open streams", "write a whole number from 0")
        streams = 0
    return Rate(per_second, max(1.0, per_second) if burst is None else burst, streams)
