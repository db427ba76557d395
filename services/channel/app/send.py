"""Hands planned messages over to a provider: committed as `sending` before, with their outcome after."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from services.channel.app.campaigns import care_before_hand_over
from services.channel.app.handing import (
    goes_to_another,
    lines_up,
    outgoing_of,
    person_of,
    reach_as_stored,
    readdress,
    stop_at_gate,
    take_outcome,
    too_late,
    unanswered,
)
from services.channel.app.ports import Handed, HandOver, Outgoing, Receipt, Transport
from services.channel.app.profile import ProfilePort, ask_profile, question_of
from services.channel.app.receipts import RECEIPT_STATES
from services.channel.app.store import MessageStore, MessageTransaction
from services.channel.app.suppression import suppress_all
from services.channel.app.upkeep import LEASE_MICROS, tell_all
from services.channel.domain.contact import Reach, SuppressedFor
from services.channel.domain.gates.order import HAND_OVER_GATES, pass_gates
from services.channel.domain.gates.verdict import GateState, Refused
from services.channel.domain.messages import Message, action_of
from services.channel.domain.policies import Policies
from services.channel.domain.rate import Pace, Wish
from services.channel.domain.suppression import LiftedBy, Suppression, suppressed_for
from services.runtime.clock import Clock
from services.runtime.tracing import PRODUCER, spans
from services.vocabulary.words import Channel, MessageState, RefusalReason

FRESH_MICROS = 2_000_000
"""A permission older than this, on the wall's clock, is asked for again before the hand-over."""
BATCH = 128
"""How many are handed over at once to begin with; also so many a crash leaves with an unknown outcome."""
SMALLEST = 16
"""At once to a provider that is slow or away."""
LARGEST = 512
"""At once to a provider that keeps up."""
SLOW_SECONDS = 2.0
"""A batch that takes longer was too large."""
ANSWER_SECONDS = 20.0
"""How long a transport may take for a batch; what it has not answered by then is unknown."""
_log = structlog.get_logger(__name__)
_PROBE_FIRST_MICROS = 200_000
_PROBE_LONGEST_MICROS = 5_000_000
_REST_MICROS = 2_000_000


class Sender:
    """The sender of one channel; several processes may each run one, no message goes to two of them.

    `pace` is the provider's, for all senders together; `lane_of` names the pace of what a message is part of
    (a mail domain): one without room there rests, and holds up none of another lane.
    """

    def __init__(
        self,
        store: MessageStore,
        profile: ProfilePort,
        transport: Transport,
        policies: Callable[[], Policies],
        clock: Clock,
        *,
        pace: Pace | None = None,
        lane_of: Callable[[Message], Pace | None] | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        lease_micros: int = LEASE_MICROS,
    ) -> None:
        self._store = store
        self._profile = profile
        self._transport = transport
        self._policies = policies
        self._clock = clock
        self._pace = pace
        self._lane_of = lane_of
        self._answer_seconds = answer_seconds
        self._lease_micros = lease_micros
        self._failures = 0
        self.batch = BATCH
        """How many it hands over at once, by how the provider keeps up."""
        self.rest_micros = 0
        """Wall time to wait before the next turn: the provider is away, or at its rate."""

    @property
    def channel(self) -> Channel:
        """The channel it serves."""
        return self._transport.channel

    async def turn(self) -> int:
        """Takes what is due, up to a batch, and hands it over; how many messages it took up."""
        if self._clock.now_micros() <= 0:
            return 0  # the time is not known yet, and it may be night
        self.rest_micros = 0
        ready: list[Message] = []
        try:
            taken_up, stale = await self._claim(ready)
            if stale:
                await self._ask_again(stale, ready)
        except Exception:
            # some may be committed as `sending`, and nobody but us knows that they were not handed over
            await self._put_back(ready)
            raise
        if ready:
            await self._hand_over(ready)
        return taken_up

    async def _claim(self, ready: list[Message]) -> tuple[int, list[Message]]:
        """Adds those to hand over now, committed as `sending`; how many it claimed, whom to ask for again."""
        wall_micros = self._clock.wall_micros()
        async with self._store.transaction() as tx:
            # before the claim: who takes it first from all senders also takes what goes first
            limit = await self._room(tx)
            claimed = await tx.claim_planned(self.channel, wall_micros, limit) if limit else []
            if not claimed:
                await self._unused(tx, limit)
                return 0, []
            stale: list[Message] = []
            fresh: list[tuple[Message, Reach | None]] = []
            for message in claimed:
                # a clock that was set back makes nothing fresh
                if 0 <= wall_micros - message.asked_wall_micros < FRESH_MICROS:
                    fresh.append((message, reach_as_stored(message)))
                else:
                    message.retry_wall_micros = wall_micros + self._lease_micros  # nobody else takes it up
                    stale.append(message)
            ready += await self._judge(tx, fresh)
            await self._unused(tx, limit - len(ready) - len(stale))
            await tx.save(claimed)
            await tell_all(tx, claimed)
        return len(claimed), stale

    async def _room(self, tx: MessageTransaction) -> int:
        """How many the provider's pace lets go now, up to a batch."""
        if self._pace is None:
            return self.batch
        grant = (await tx.take_rates([Wish(self._pace, self.batch)]))[self._pace.name]
        if not grant.granted:
            self.rest_micros = max(1, grant.wait_micros)
        return grant.granted

    async def _unused(self, tx: MessageTransaction, count: int) -> None:
        """Gives back what the pace granted and nobody needs."""
        if self._pace is not None and count > 0:
            await tx.take_rates([Wish(self._pace, -count)])

    async def _ask_again(self, stale: Sequence[Message], ready: list[Message]) -> None:
        """Asks the profile anew; adds those it still allows, committed as `sending`."""
        answers = await ask_profile(self._profile, stale)
        async with self._store.transaction() as tx:
            stored = await tx.messages(
                [(message.customer, message.message_id) for message in stale], lock=True
            )
            pairs: list[tuple[Message, Reach | None]] = []
            for before in stale:
                message = stored[before.message_id]
                if message.is_ready and message.retry_wall_micros == before.retry_wall_micros:
                    pairs.append((message, answers.get(question_of(message))))
            passed = await self._judge(tx, pairs)
            ready += passed
            await self._unused(tx, len(stale) - len(passed))
            await tx.save([message for message, _ in pairs])
            await tell_all(tx, [message for message, _ in pairs])

    async def _put_back(self, begun: Sequence[Message]) -> None:
        """Plans again what was, perhaps, committed as `sending` and was not handed over."""
        if begun:
            detail = "not handed over: the database was lost before"
            outcomes = {
                message.message_id: Handed(message.message_id, HandOver.TRANSIENT, detail=detail)
                for message in begun
            }
            await self._keep(begun, outcomes, as_stored=True)

    async def _judge(
        self,
        tx: MessageTransaction,
        pairs: Sequence[tuple[Message, Reach | None]],
    ) -> list[Message]:
        """The last gates; what passes is about to be handed over, what does not gives its slot back."""
        persons = {customer for message, reach in pairs for customer in person_of(message, reach)}
        suppressed = await tx.suppressed(sorted(persons)) if pairs else {}
        ready: list[Message] = []
        given_back: list[Message] = []
        now_micros, wall_micros = self._clock.now_micros(), self._clock.wall_micros()
        for message, reach in pairs:
            if goes_to_another(message, reach):
                # the gates choose anew: caps, consent and words are another person's
                message.wait(
                    now_micros, now_micros, message.channel, None, "somebody else pays for the line now"
                )
                given_back.append(message)
                continue
            refused = self._refused(message, reach, suppressed, now_micros)
            if refused is None:
                readdress(message, reach)
                ready.append(message)
            elif refused.reason is RefusalReason.CONSENT_UNKNOWN and refused.next_micros is not None:
                rest = _REST_MICROS * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, no secret
                message.retry_wall_micros = wall_micros + int(rest)
            else:
                stop_at_gate(message, refused, now_micros)
                given_back.append(message)
        await tx.give_back_slots([message.slot for message in given_back])
        ready = await self._with_room(tx, ready, wall_micros)
        for message in ready:
            message.start_hand_over(now_micros, wall_micros, self._lease_micros)
        return ready

    async def _with_room(
        self, tx: MessageTransaction, messages: list[Message], wall_micros: int
    ) -> list[Message]:
        """Those whose lanes have room, the first of each; the others rest, which is no attempt.

        What may not be kept waiting comes again as soon as there could be room; the others line up.
        """
        if self._lane_of is None:
            return messages
        lanes: dict[Pace, list[Message]] = {}
        free: list[Message] = []
        for message in messages:
            lane = self._lane_of(message)
            if lane is None:
                free.append(message)
            else:
                lanes.setdefault(lane, []).append(message)
        grants = await tx.take_rates(
            [Wish(lane, len(found), sum(map(lines_up, found))) for lane, found in lanes.items()]
        )
        for lane, found in lanes.items():
            found.sort(key=lines_up)
            grant = grants[lane.name]
            free += found[: grant.granted]
            places = {False: 0, True: 0}
            for message in found[grant.granted :]:
                queued = lines_up(message)
                message.retry_wall_micros = wall_micros + grant.rests(places[queued], queued=queued)
                places[queued] += 1
        return free

    def _refused(
        self,
        message: Message,
        reach: Reach | None,
        suppressed: Mapping[tuple[int, Channel], frozenset[SuppressedFor]],
        now_micros: int,
    ) -> Refused | None:
        policies, action = self._policies(), action_of(message)
        state = GateState(
            channel=self.channel,
            reach=reach,
            quiet=policies.quiet_hours,
            suppressed=suppressed_for(suppressed, person_of(message, reach), self.channel),
            breaks_quiet_hours=message.any_hour,
            switches=policies.controls.switches,
            care=care_before_hand_over(policies, action, message.campaign),
        )
        verdict, _ = pass_gates(action, state, now_micros, HAND_OVER_GATES)
        if (
            isinstance(verdict, Refused)
            and verdict.reason is RefusalReason.CONSENT_UNKNOWN
            and 0 < message.expires_micros <= now_micros
        ):
            return Refused(RefusalReason.CONSENT_UNKNOWN, verdict.detail)
        return verdict if isinstance(verdict, Refused) else None

    async def _hand_over(self, messages: Sequence[Message]) -> None:
        now_micros = self._clock.now_micros()
        # a process that stood still since its claim must not hand over what another may have taken up
        latest = self._clock.wall_micros() + int(self._answer_seconds * 1_000_000)
        batch = [
            outgoing_of(message, now_micros) for message in messages if message.retry_wall_micros >= latest
        ]
        outcomes = {message.message_id: too_late(message) for message in messages}
        outcomes |= {outgoing.message_id: unanswered(outgoing) for outgoing in batch}
        traces = {message.message_id: message.trace for message in messages}
        about = {"rapport.channel": self.channel.value}
        began = self._clock.monotonic()
        with spans(f"hand over {self.channel.value}", traces, kind=PRODUCER, attributes=about) as own:
            if batch:
                outcomes |= {handed.message_id: handed for handed in await self._send(batch)}
        self._rest_after(list(outcomes.values()), self._clock.monotonic() - began)
        for message in messages:
            message.trace = own.get(message.message_id, "")  # what is told of it comes after the hand-over
        await self._keep(messages, outcomes)

    async def _send(self, batch: Sequence[Outgoing]) -> Sequence[Handed]:
        """The transport's answers; none when it has not answered in time, or broke off."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await self._transport.send(batch)
        except TimeoutError:
            _log.warning("provider_did_not_answer", channel=self.channel.value, messages=len(batch))
        except Exception as error:  # noqa: BLE001 - nobody knows how much of the batch has gone
            _log.error("transport_failed", channel=self.channel.value, error=type(error).__name__)
        return ()

    async def _keep(
        self, messages: Sequence[Message], outcomes: Mapping[str, Handed], *, as_stored: bool = False
    ) -> None:
        """Commits the outcomes; while the lease lasts a database that is away is waited for.

        `as_stored`: nobody knows whether the messages are stored as they are in memory.
        """
        steps = {message.message_id: message.changes for message in messages}
        deadline = self._clock.monotonic() + self._lease_micros / 1_000_000
        failures = 0
        while True:
            try:
                async with self._store.transaction() as tx:
                    if failures or as_stored:
                        # what is in memory may have been changed in vain: begin with what is stored
                        keys = [(message.customer, message.message_id) for message in messages]
                        stored = await tx.messages(keys, lock=True)
                        messages = [
                            message
                            for message in stored.values()
                            if message.state is MessageState.SENDING
                            and message.changes == steps[message.message_id]
                        ]
                    await self._settle(tx, messages, outcomes)
            except Exception as error:
                failures += 1
                if self._clock.monotonic() > deadline:
                    raise
                _log.warning("outcomes_not_kept", failures=failures, error=type(error).__name__)
                await asyncio.sleep(min(5.0, 0.05 * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311
            else:
                return

    async def _settle(
        self,
        tx: MessageTransaction,
        messages: Sequence[Message],
        outcomes: Mapping[str, Handed],
    ) -> None:
        """Applies what came of a hand-over; receipts that came before its answer count now."""
        early = await self._early(tx, messages, outcomes)
        now_micros, wall_micros = self._clock.now_micros(), self._clock.wall_micros()
        for message in messages:
            message.was_stored()
            take_outcome(message, outcomes[message.message_id], now_micros, wall_micros)
            receipt = early.get(message.message_id)
            if receipt is not None:
                message.receipt(now_micros, RECEIPT_STATES[receipt.state], receipt.detail)
        await tx.save(messages)
        await tx.give_back_slots(
            [message.slot for message in messages if message.gives_back_slot],
        )
        unreachable = list(_unreachable(messages, outcomes, now_micros))
        if unreachable:
            await suppress_all(tx, unreachable, LiftedBy.STAFF)
        await tell_all(tx, messages)

    async def _early(
        self,
        tx: MessageTransaction,
        messages: Sequence[Message],
        outcomes: Mapping[str, Handed],
    ) -> dict[str, Receipt]:
        """Remembers under which id a provider took each message; receipts that came before, by message."""
        if self.channel is Channel.APP:  # the inbox has cursors, not receipts
            return {}
        taken: dict[str, dict[str, Message]] = {}
        for message in messages:
            handed = outcomes[message.message_id]
            if handed.outcome is HandOver.ACCEPTED and handed.provider_id:
                provider = handed.provider or self._transport.provider
                taken.setdefault(provider, {})[handed.provider_id] = message
        early: dict[str, Receipt] = {}
        for provider in sorted(taken):
            early |= await tx.handed_over(provider, taken[provider])
        return early

    def _rest_after(self, outcomes: Sequence[Handed], seconds: float) -> None:
        """A provider that takes nothing is tried with a small batch at a time, at growing distances.

        One that keeps up gets more at once.
        """
        refused = sum(handed.outcome is HandOver.TRANSIENT for handed in outcomes)
        if refused < len(outcomes):
            self._failures = 0
            if refused > len(outcomes) // 8 or seconds > SLOW_SECONDS:
                self.batch = max(SMALLEST, self.batch // 2)
            elif len(outcomes) >= self.batch:
                self.batch = min(LARGEST, self.batch * 2)
            return
        self._failures += 1
        self.batch = SMALLEST
        full = min(_PROBE_LONGEST_MICROS, _PROBE_FIRST_MICROS << min(self._failures - 1, 16))
        self.rest_micros = int(full * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, no secret


def _unreachable(
    messages: Sequence[Message], outcomes: Mapping[str, Handed], now_micros: int
) -> Iterator[Suppression]:
    """What the provider itself says nobody has, for the suppression list."""
    for message in messages:
        handed = outcomes[message.message_id]
        if handed.unreachable and message.channel is not None and message.state is MessageState.FAILED:
            yield Suppression(
                message.person,
                message.channel,
                SuppressedFor.BOUNCED,
                now_micros,
                handed.detail,
                message.message_id,
            )
