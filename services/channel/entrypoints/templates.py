"""The TemplateService over gRPC: for those who write what is said."""

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import grpc
import orjson
from google.protobuf.message import Message
from rapport.channel.v1 import templates_pb2, templates_pb2_grpc

from services.channel.app.ports import MissingTemplate
from services.channel.app.preview import Filled, Previews, PreviewWish
from services.channel.app.template_trials import TRIED, Recipients, Trial, TrialState, marked
from services.channel.app.template_versions import TemplateVersions, activate, save
from services.channel.domain.errors import RecipientRefusedError, UnknownTemplateError
from services.channel.domain.templates import CompiledText, TextKey, TextVersion, TextWarning
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.runtime.audit import Change, write_audit
from services.runtime.caller import current_caller
from services.runtime.database import Database, Transaction
from services.runtime.errors import InvalidArgumentError, NotFoundError, TooLargeError
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary import wire
from services.vocabulary.values import FieldError, zone
from services.vocabulary.words import Channel

_SERVICE = "rapport.channel.v1.TemplateService"
_MOST_SOURCE = 64 * 1024
_MOST_TEXTS = 1000
_MOST_VERSIONS = 100
Context = grpc.aio.ServicerContext[Any, Any]
Answer = TypeVar("Answer", bound=Message)


class TrialDesk(Protocol):
    """Where tests wait for their senders."""

    async def ask(self, raw: Transaction, trial: Trial) -> None:
        """A test that waits from now on."""

    async def state(self, test_id: str) -> TrialState | None:
        """Where a test stands; None: there is none."""


class TemplateServicer(templates_pb2_grpc.TemplateServiceServicer):
    """Previews touch nothing; what changes something does so once per request id, and is in the audit log."""

    def __init__(
        self,
        database: Database,
        within: Callable[[Transaction], TemplateVersions],
        previews: Previews[Any],
        files: Callable[[TextKey], CompiledText | None],
        trials: TrialDesk,
        recipients: Recipients,
    ) -> None:
        self._database = database
        self._within = within
        self._previews = previews
        self._files = files
        self._trials = trials
        self._recipients = recipients

    def served(self) -> Served:
        """For build_server."""
        return Served(
            templates_pb2.DESCRIPTOR.services_by_name["TemplateService"].full_name,
            lambda server: templates_pb2_grpc.add_TemplateServiceServicer_to_server(self, server),
        )

    async def ListTemplates(  # noqa: N802 - the proto's name
        self, request: templates_pb2.ListTemplatesRequest, context: Context
    ) -> templates_pb2.ListTemplatesResponse:
        """A page of texts, with what is wrong with them."""
        del context
        if request.name:
            self._previews.template(request.name)
        size = _page_size(request.page_size, _MOST_TEXTS, 200)
        start = _page_start(request.page_token)
        found = self._previews.listed(request.name)
        async with self._database.transaction() as raw:
            newest = await self._within(raw).newest_numbers()
        return templates_pb2.ListTemplatesResponse(
            texts=[
                templates_pb2.TemplateText(
                    name=one.key.name,
                    locale=one.key.locale,
                    channel=wire.CHANNELS.to_wire(one.key.channel),
                    version=one.version,
                    newest_version=newest.get(one.key, 0),
                    warnings=_warnings(one.warnings),
                )
                for one in found[start : start + size]
            ],
            problems=self._previews.smith.problems,
            next_page_token=str(start + size) if start + size < len(found) else "",
        )

    async def PreviewTemplate(  # noqa: N802 - the proto's name
        self, request: templates_pb2.PreviewTemplateRequest, context: Context
    ) -> templates_pb2.PreviewTemplateResponse:
        """The text asked for, and those of the other languages."""
        del context
        first, others = await self._previewed(request)
        return templates_pb2.PreviewTemplateResponse(
            text=_filled(first), others=[_filled(one) for one in others]
        )

    async def SaveTemplate(  # noqa: N802 - the proto's name
        self, request: templates_pb2.SaveTemplateRequest, context: Context
    ) -> templates_pb2.SaveTemplateResponse:
        """Keeps a version."""
        del context
        _check_source(request.source)
        key = self._key(request.name, request.locale, request.channel)
        warnings = await self._previews.check(key, request.source)

        async def act(raw: Transaction) -> templates_pb2.SaveTemplateResponse:
            version = await save(
                self._within(raw),
                key,
                request.source,
                expected=request.expected_version,
                author=current_caller().name,
            )
            return templates_pb2.SaveTemplateResponse(version=version, warnings=_warnings(warnings))

        return await self._once("SaveTemplate", request, templates_pb2.SaveTemplateResponse, act)

    async def ActivateTemplate(  # noqa: N802 - the proto's name
        self, request: templates_pb2.ActivateTemplateRequest, context: Context
    ) -> templates_pb2.ActivateTemplateResponse:
        """Puts a version, or the file again, in force."""
        del context
        key = self._key(request.name, request.locale, request.channel)

        async def act(raw: Transaction) -> templates_pb2.ActivateTemplateResponse:
            before = await activate(
                self._within(raw),
                self._previews,
                key,
                request.version,
                has_file=self._files(key) is not None,
                by=current_caller().name,
            )
            return templates_pb2.ActivateTemplateResponse(previous_version=before)

        return await self._once("ActivateTemplate", request, templates_pb2.ActivateTemplateResponse, act)

    async def ListTemplateVersions(  # noqa: N802 - the proto's name
        self, request: templates_pb2.ListTemplateVersionsRequest, context: Context
    ) -> templates_pb2.ListTemplateVersionsResponse:
        """Versions of one text, newest first, and its file."""
        del context
        key = self._key(request.name, request.locale, request.channel)
        size = _page_size(request.page_size, _MOST_VERSIONS, 20)
        before = _page_start(request.page_token)
        async with self._database.transaction() as raw:
            versions = self._within(raw)
            found = await versions.history(key, before, size + 1)
            in_force = await versions.in_force(key)
        file = self._files(key)
        return templates_pb2.ListTemplateVersionsResponse(
            versions=[_version(one) for one in found[:size]],
            file_source="" if file is None else file.source,
            file_in_force=file is not None and not in_force,
            next_page_token=str(found[size - 1].version) if len(found) > size else "",
        )

    async def SendTest(  # noqa: N802 - the proto's name
        self, request: templates_pb2.SendTestRequest, context: Context
    ) -> templates_pb2.SendTestResponse:
        """Sends a preview to staff."""
        del context
        channel = _channel(request.preview.channel, "preview.channel")
        if channel not in TRIED:
            known = " and ".join(one.value for one in TRIED)
            raise InvalidArgumentError(
                f"a test cannot be sent on {channel.value}",
                field="preview.channel",
                suggestion=f"tests go by {known}",
            )
        self._previews.template(request.preview.name)
        try:
            place = self._recipients.place(request.recipient, channel)
        except RecipientRefusedError:
            async with self._database.transaction() as raw:
                target = f"template/{request.preview.name}"
                await write_audit(raw, Change("templates.test_refused", target, None, {"why": "recipient"}))
            raise
        first, _ = await self._previewed(request.preview)
        if isinstance(first.said, MissingTemplate):
            raise InvalidArgumentError(
                f"it would not be said: {first.said.detail}", field="preview", suggestion="look at a preview"
            )
        trial = marked(str(uuid.uuid4()), channel, request.recipient, first.said)

        async def act(raw: Transaction) -> templates_pb2.SendTestResponse:
            await self._trials.ask(raw, trial)
            after = {
                "test_id": trial.test_id,
                "version": first.version,
                "recipient": f"no. {place} of the list",
            }
            await write_audit(raw, Change("templates.test", f"template/{first.key}", None, after))
            return templates_pb2.SendTestResponse(test_id=trial.test_id)

        return await self._once("SendTest", request, templates_pb2.SendTestResponse, act)

    async def GetTest(  # noqa: N802 - the proto's name
        self, request: templates_pb2.GetTestRequest, context: Context
    ) -> templates_pb2.GetTestResponse:
        """Where a test stands."""
        del context
        try:
            test_id = str(uuid.UUID(request.test_id))
        except ValueError as error:
            raise InvalidArgumentError(
                "the test id is no UUID", field="test_id", suggestion="take it from SendTest"
            ) from error
        state = await self._trials.state(test_id)
        if state is None:
            raise NotFoundError("there is no such test", field="test_id", suggestion="take it from SendTest")
        return templates_pb2.GetTestResponse(state=state.state, detail=state.detail)

    async def _once(
        self,
        name: str,
        request: Message,
        answer: type[Answer],
        act: Callable[[Transaction], Awaitable[Answer]],
    ) -> Answer:
        return await answer_once(self._database, f"{_SERVICE}/{name}", request, answer, act, CHANNEL_ERRORS)

    async def _previewed(self, request: templates_pb2.PreviewTemplateRequest) -> tuple[Filled, list[Filled]]:
        channel = _channel(request.channel, "channel")
        source, version = request.source or None, "draft"
        if source is not None:
            _check_source(source)
        elif request.version:
            locale = request.locale or self._previews.smith.default_locale
            key = self._key(request.name, locale, request.channel)
            async with self._database.transaction() as raw:
                kept = await self._within(raw).get(key, request.version)
            if kept is None:
                raise UnknownTemplateError(f"{key} has no version {request.version}")
            source, version = kept.source, str(kept.version)
        try:
            category = wire.CATEGORIES.from_wire(request.category)
            if request.zone:
                zone(request.zone)
        except ValueError as error:
            field = "zone" if request.zone else "category"
            raise InvalidArgumentError(str(error), field=field, suggestion="Europe/Paris") from error
        wish = PreviewWish(
            name=request.name,
            channel=channel,
            locale=request.locale,
            source=source,
            version=version,
            parameters=_parameters(request.parameters),
            traits=dict(request.traits),
            zone=request.zone,
            category=category,
        )
        try:
            return await self._previews.preview(wish)
        except FieldError as error:
            raise InvalidArgumentError(
                error.message, field=error.field, suggestion=error.suggestion
            ) from error

    def _key(self, name: str, locale: str, channel: int) -> TextKey:
        try:
            return self._previews.key(name, locale, _channel(channel, "channel"))
        except FieldError as error:
            raise InvalidArgumentError(
                error.message, field=error.field, suggestion=error.suggestion
            ) from error


def _channel(number: int, field: str) -> Channel:
    try:
        channel = wire.CHANNELS.from_wire(number)
    except ValueError as error:
        raise InvalidArgumentError(str(error), field=field) from error
    if channel is None:
        known = ", ".join(one.value for one in Channel)
        raise InvalidArgumentError("no channel is given", field=field, suggestion=f"one of {known}")
    return channel


def _parameters(text: str) -> Mapping[str, object]:
    if not text:
        return {}
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgumentError(
            "the parameters are no JSON", field="parameters", suggestion='write {"gb": 2}'
        ) from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(
            "the parameters are no JSON object", field="parameters", suggestion='write {"gb": 2}'
        )
    return found


def _check_source(source: str) -> None:
    if not source.strip():
        raise InvalidArgumentError("the text is empty", field="source", suggestion="write something to say")
    if len(source.encode()) > _MOST_SOURCE:
        raise TooLargeError("the text is longer than 64 kB", field="source", suggestion="write less")


def _page_size(asked: int, most: int, usual: int) -> int:
    if asked < 0:
        raise InvalidArgumentError(
            f"page_size is {asked}", field="page_size", suggestion=f"0 to {most}; 0 means {usual}"
        )
    return min(asked or usual, most)


def _page_start(token: str) -> int:
    if token and (not token.isdecimal() or len(token) > 9):
        raise InvalidArgumentError(
            "the page token is not one that was given out",
            field="page_token",
            suggestion="take it from the answer before",
        )
    return int(token or 0)


def _warnings(warnings: Iterable[TextWarning]) -> list[templates_pb2.TemplateWarning]:
    return [templates_pb2.TemplateWarning(code=one.code, message=one.message) for one in warnings]


def _filled(filled: Filled) -> templates_pb2.FilledText:
    wired = templates_pb2.FilledText(
        locale=filled.key.locale,
        template=f"{filled.key}@{filled.version}",
        cost="" if filled.cost is None else f"{filled.cost.normalize():f}",
        currency="" if filled.cost is None else filled.currency,
        warnings=_warnings(filled.warnings),
    )
    if isinstance(filled.said, MissingTemplate):
        wired.missing = filled.said.detail
        return wired
    wired.text, wired.subject = filled.said.text, filled.said.subject
    wired.html, wired.sender = filled.said.html, filled.said.sender
    if filled.short is not None:
        wired.short_message.CopyFrom(
            templates_pb2.ShortMessage(
                coding=filled.short.coding.value,
                length=filled.short.length,
                left=filled.short.left,
                segments=filled.short.segments,
                forced=[
                    templates_pb2.ForcedCharacter(character=one.character, suggestion=one.instead or "")
                    for one in filled.short.forced
                ],
            )
        )
    return wired


def _version(version: TextVersion) -> templates_pb2.TemplateVersion:
    wired = templates_pb2.TemplateVersion(
        version=version.version,
        source=version.source,
        author=version.author,
        in_force=version.in_force,
    )
    wired.save_time.CopyFrom(wire.timestamp(version.saved_micros))
    return wired
