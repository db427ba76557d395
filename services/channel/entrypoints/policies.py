"""The calls of the ControlService about versions of policies."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from rapport.channel.v1 import controls_pb2

from services.channel.app.controls import ControlTransaction, Documents, PolicySource, PolicyVersion
from services.channel.domain.controls import Controls
from services.channel.domain.errors import PolicyError
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.channel.entrypoints.told import checked_comment, page_size, page_start
from services.runtime.audit import Change, write_audit
from services.runtime.caller import current_caller
from services.runtime.database import Database, Transaction
from services.runtime.digests import digest_text
from services.runtime.errors import InvalidArgumentError, NotFoundError, TooLargeError
from services.runtime.requests import answer_once
from services.vocabulary import wire

_SERVICE = "rapport.channel.v1.ControlService"
_LONGEST_TEXT = 64 * 1024
Context = grpc.aio.ServicerContext[Any, Any]


class PolicyCalls:
    """Puts policies into force, goes back, lists and shows them."""

    def __init__(
        self,
        database: Database,
        within: Callable[[Transaction], ControlTransaction],
        policies: PolicySource,
        tell: Callable[[], None],
    ) -> None:
        self._database = database
        self._within = within
        self._policies = policies
        self._tell = tell

    async def ApplyPolicies(  # noqa: N802 - the proto's name
        self, request: controls_pb2.ApplyPoliciesRequest, context: Context
    ) -> controls_pb2.ApplyPoliciesResponse:
        """Puts documents into force, beside those that are."""
        del context

        async def act(raw: Transaction) -> controls_pb2.ApplyPoliciesResponse:
            given = self._given(request)
            comment = checked_comment(request.comment, "comment")
            if not request.validate_only:
                await self._begin(raw)
            newest = await self._newest(raw)
            documents = {**newest.documents, **given}
            await self._check(documents)
            if request.validate_only:
                version = PolicyVersion(0, documents, comment, current_caller().name)
            else:
                version = await self._put(raw, newest, documents, comment, None)
            return controls_pb2.ApplyPoliciesResponse(version=_version_to_wire(version))

        return await answer_once(
            self._database,
            f"{_SERVICE}/ApplyPolicies",
            request,
            controls_pb2.ApplyPoliciesResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def RevertPolicies(  # noqa: N802 - the proto's name
        self, request: controls_pb2.RevertPoliciesRequest, context: Context
    ) -> controls_pb2.RevertPoliciesResponse:
        """Puts an earlier version, or the files, into force again."""
        del context

        async def act(raw: Transaction) -> controls_pb2.RevertPoliciesResponse:
            comment = checked_comment(request.comment, "comment")
            await self._begin(raw)
            documents = await self._documents_of(raw, request.version)
            await self._check(documents)
            newest = await self._newest(raw)
            version = await self._put(raw, newest, documents, comment, request.version)
            return controls_pb2.RevertPoliciesResponse(version=_version_to_wire(version))

        return await answer_once(
            self._database,
            f"{_SERVICE}/RevertPolicies",
            request,
            controls_pb2.RevertPoliciesResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def ListPolicyVersions(  # noqa: N802 - the proto's name
        self, request: controls_pb2.ListPolicyVersionsRequest, context: Context
    ) -> controls_pb2.ListPolicyVersionsResponse:
        """Versions, newest first."""
        del context
        size, before = page_size(request.page_size), page_start(request.page_token)
        async with self._database.transaction() as raw:
            found = await self._within(raw).versions(before, size + 1)
        return controls_pb2.ListPolicyVersionsResponse(
            versions=[_version_to_wire(version) for version in found[:size]],
            next_page_token=str(found[size - 1].version) if len(found) > size else "",
        )

    async def GetPolicies(  # noqa: N802 - the proto's name
        self, request: controls_pb2.GetPoliciesRequest, context: Context
    ) -> controls_pb2.GetPoliciesResponse:
        """Texts: all that is in force, or what one version brought."""
        del context
        async with self._database.transaction() as raw:
            newest = await self._newest(raw)
            number = request.version or newest.version
            own = await self._documents_of(raw, number)
        texts = own if request.version else self._policies.texts(own)
        return controls_pb2.GetPoliciesResponse(
            version=number,
            documents=[
                controls_pb2.PolicyDocument(name=name, text=text, from_file=name not in own)
                for name, text in sorted(texts.items())
            ],
        )

    async def _begin(self, raw: Transaction) -> Controls:
        """Waits for others who change something, and tells every process when this is committed."""
        tx = self._within(raw)
        await tx.change()
        raw.after_commit(self._tell)
        return await tx.controls()

    async def _controls(self) -> Controls:
        async with self._database.transaction() as raw:
            return await self._within(raw).controls()

    async def _newest(self, raw: Transaction) -> PolicyVersion:
        found = await self._within(raw).versions(0, 1)
        return found[0] if found else PolicyVersion(0, {}, "", "")

    async def _documents_of(self, raw: Transaction, number: int) -> Documents:
        if number == 0:
            return {}
        found = await self._within(raw).versions(number + 1, 1) if number > 0 else []
        if not found or found[0].version != number:
            raise NotFoundError(
                f"there is no version {number} of the policies",
                field="version",
                suggestion="take one from the listing, or 0 for the files",
            )
        return found[0].documents

    async def _put(
        self,
        raw: Transaction,
        newest: PolicyVersion,
        documents: Documents,
        comment: str,
        reverts_to: int | None,
    ) -> PolicyVersion:
        version = await self._within(raw).add_version(
            PolicyVersion(newest.version + 1, documents, comment, current_caller().name, reverts_to)
        )
        action = "policies.apply" if reverts_to is None else "policies.revert"
        await write_audit(raw, Change(action, "policies", _noted(newest), _noted(version)))
        return version

    async def _check(self, documents: Documents) -> None:
        try:
            await asyncio.to_thread(self._policies.check, documents)
        except PolicyError as error:
            raise InvalidArgumentError(str(error), field="documents") from error

    def _given(self, request: controls_pb2.ApplyPoliciesRequest) -> dict[str, str]:
        known = self._policies.names()
        if not request.documents:
            raise InvalidArgumentError(
                "no document is given",
                field="documents",
                suggestion=f"give one or more of {', '.join(known)}",
            )
        if len(request.documents) > len(known):
            raise TooLargeError(
                f"{len(request.documents)} documents are given",
                field="documents",
                suggestion=f"each of {', '.join(known)} once at most",
            )
        found: dict[str, str] = {}
        for place, document in enumerate(request.documents):
            field = f"documents[{place}]"
            if document.name in self._policies.only_files():
                raise InvalidArgumentError(
                    f"{document.name} is read from its file alone, by the decision service too",
                    field=f"{field}.name",
                    suggestion=f"change rules/policies/{document.name}; it is in force within two seconds",
                )
            if document.name not in known or document.name in found:
                raise InvalidArgumentError(
                    f"{document.name!r} is no policy of the channel, or comes twice",
                    field=f"{field}.name",
                    suggestion=f"each of {', '.join(known)} once at most",
                )
            if len(document.text.encode()) > _LONGEST_TEXT:
                raise TooLargeError(
                    f"{document.name} has {len(document.text.encode())} bytes",
                    field=f"{field}.text",
                    suggestion=f"at most {_LONGEST_TEXT}",
                )
            if "\0" in document.text:
                raise InvalidArgumentError(
                    f"{document.name} has a NUL character", field=f"{field}.text", suggestion="leave it out"
                )
            found[document.name] = document.text
        return found


def _version_to_wire(version: PolicyVersion) -> controls_pb2.PolicyVersion:
    told = controls_pb2.PolicyVersion(
        version=version.version,
        author=version.author,
        comment=version.comment,
        documents=sorted(version.documents),
        reverts_to=version.reverts_to,
    )
    if version.applied_micros:
        told.apply_time.CopyFrom(wire.timestamp(version.applied_micros))
    return told


def _noted(version: PolicyVersion) -> Mapping[str, Any] | None:
    if not version.version:
        return None
    return {
        "version": version.version,
        "comment": version.comment,
        "reverts_to": version.reverts_to,
        "documents": {name: digest_text(text) for name, text in sorted(version.documents.items())},
    }
