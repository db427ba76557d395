"""The SMPP session without a network: whatever the SMSC says, and however slowly it reads."""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.channel.adapters.smpp_link import Answer, BindAs, BindRefused, LinkLimits, LinkLost, SmppLink
from services.cli.providers.smpp_wire import Command, Frame, FrameReader, Status, write_frame, write_text

LIMITS = LinkLimits(window=3, answer=0.5, bind=0.5, idle=0.5, enquire=0.5)
RESPONSE = 0x8000_0000
SUBMIT = write_frame(Command.SUBMIT_SM, 0, b"body")


class Wire:
    """What the link writes, and whether it reads."""

    def __init__(self) -> None:
        self.octets = bytearray()
        self.closed = False
        self.reading = True

    def write(self, octets: bytes) -> None:
        self.octets += octets

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def frames(self) -> list[Frame]:
        found = list(FrameReader().feed(bytes(self.octets)))
        self.octets.clear()
        return found


class Smsc:
    """A link, and what stands at its other end."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.delivered: list[tuple[bytes, Callable[[int], None]]] = []
        self.answers: list[Answer] = []
        self.rooms = 0
        self.link = SmppLink(LIMITS, self._deliver, self._room)
        self.link.connection_made(cast("asyncio.Transport", self.wire))

    def _deliver(self, link: SmppLink, frame: bytes, answer: Callable[[int], None]) -> None:
        assert link is self.link
        self.delivered.append((frame, answer))

    def _room(self) -> None:
        self.rooms += 1

    def says(self, command: int, sequence: int, body: bytes = b"", status: int = 0) -> None:
        self.link.data_received(write_frame(command, sequence, body, status))

    async def bound(self) -> "Smsc":
        binding = asyncio.ensure_future(self.link.bind(BindAs.TRANSCEIVER, "me", "word", ""))
        await self.said()
        self.says(RESPONSE | Command.BIND_TRANSCEIVER, 1, write_text("smsc"))
        await binding
        return self

    async def said(self) -> list[Frame]:
        for _ in range(3):
            await asyncio.sleep(0)
        return self.wire.frames()

    def submit(self) -> None:
        self.link.submit(SUBMIT, self.answers.append)

    def close(self) -> None:
        self.link.connection_lost(None)


async def test_answers_in_any_order_find_their_submits() -> None:
    smsc = await Smsc().bound()
    for _ in range(3):
        smsc.submit()
    sequences = [frame.sequence for frame in await smsc.said()]
    assert smsc.link.room == 0
    for sequence in (sequences[2], 99, sequences[0], sequences[0], sequences[1]):
        smsc.says(RESPONSE | Command.SUBMIT_SM, sequence, write_text(f"id-{sequence}"))
    assert [answer.message_id for answer in smsc.answers] == [
        f"id-{sequences[2]}",
        f"id-{sequences[0]}",
        f"id-{sequences[1]}",
    ]
    assert smsc.link.room == 3
    assert smsc.rooms == 3
    smsc.close()


@pytest.mark.parametrize("status", [0, 3])
async def test_a_generic_nack_is_no_acceptance(status: int) -> None:
    smsc = await Smsc().bound()
    smsc.submit()
    (frame,) = await smsc.said()
    smsc.says(Command.GENERIC_NACK, frame.sequence, status=status)
    (answer,) = smsc.answers
    assert answer.status == (status or 0xFF)
    smsc.close()


@pytest.mark.parametrize("command", [Command.GENERIC_NACK, RESPONSE | Command.BIND_TRANSCEIVER])
async def test_a_refused_bind_is_told(command: int) -> None:
    smsc = Smsc()
    binding = asyncio.ensure_future(smsc.link.bind(BindAs.TRANSCEIVER, "me", "word", ""))
    await smsc.said()
    smsc.says(command, 1, status=0x0E)
    with pytest.raises(BindRefused):
        await binding
    smsc.close()


async def test_the_answer_to_another_bind_binds_nothing() -> None:
    smsc = Smsc()
    binding = asyncio.ensure_future(smsc.link.bind(BindAs.TRANSMITTER, "me", "word", ""))
    await smsc.said()
    smsc.says(RESPONSE | Command.BIND_TRANSCEIVER, 1)
    assert not smsc.link.bound
    smsc.close()
    with pytest.raises(LinkLost):
        await binding


async def test_what_comes_before_the_bind_is_refused_and_right_behind_its_answer_is_not() -> None:
    smsc = Smsc()
    binding = asyncio.ensure_future(smsc.link.bind(BindAs.TRANSCEIVER, "me", "word", ""))
    await smsc.said()
    smsc.says(Command.DELIVER_SM, 7)
    (refused,) = await smsc.said()
    assert (refused.command, refused.status) == (RESPONSE | Command.DELIVER_SM, Status.WRONG_BIND_STATE)
    smsc.link.data_received(
        write_frame(RESPONSE | Command.BIND_TRANSCEIVER, 1) + write_frame(Command.DELIVER_SM, 8)
    )
    await binding
    ((_, answer),) = smsc.delivered
    answer(0)
    (taken,) = await smsc.said()
    assert (taken.sequence, taken.status) == (8, 0)
    smsc.close()
    answer(0)  # on a lost link it says nothing
    assert await smsc.said() == []


async def test_data_sm_is_answered_as_such() -> None:
    smsc = await Smsc().bound()
    smsc.says(0x103, 9)
    smsc.delivered[0][1](0)
    (frame,) = await smsc.said()
    assert (frame.command, frame.sequence) == (RESPONSE | 0x103, 9)
    smsc.close()


@pytest.mark.parametrize("length", [0, 15, 70_001, 0xFFFF_FFFF])
async def test_a_length_that_cannot_be_ends_the_link(length: int) -> None:
    smsc = await Smsc().bound()
    smsc.submit()
    smsc.link.data_received(struct.pack(">IIII", length, Command.ENQUIRE_LINK, 0, 1) + b"x" * 100)
    assert smsc.wire.closed
    assert [answer.status for answer in smsc.answers] == [None]
    with pytest.raises(LinkLost):
        smsc.submit()


async def test_one_octet_at_a_time_is_as_good() -> None:
    smsc = await Smsc().bound()
    smsc.submit()
    (frame,) = await smsc.said()
    for octet in write_frame(RESPONSE | Command.SUBMIT_SM, frame.sequence, write_text("slow")):
        smsc.link.data_received(bytes([octet]))
    assert smsc.answers == [Answer(0, "slow")]
    smsc.close()


async def test_an_smsc_that_does_not_read_is_not_read_from() -> None:
    smsc = await Smsc().bound()
    smsc.link.pause_writing()
    assert (smsc.link.room, smsc.wire.reading) == (0, False)
    rooms = smsc.rooms
    smsc.link.resume_writing()
    assert (smsc.link.room, smsc.wire.reading, smsc.rooms) == (3, True, rooms + 1)
    smsc.close()


async def test_an_unknown_request_is_refused_and_an_unknown_answer_is_not() -> None:
    smsc = await Smsc().bound()
    smsc.says(0x77, 5)
    smsc.says(RESPONSE | 0x77, 6)
    smsc.says(0x102, 7)
    (frame,) = await smsc.said()
    assert (frame.command, frame.sequence, frame.status) == (
        Command.GENERIC_NACK,
        5,
        Status.INVALID_COMMAND,
    )
    smsc.close()


_FRAMES = st.builds(
    write_frame,
    st.sampled_from(
        [*Command, *(RESPONSE | command for command in Command if command < RESPONSE), 0x102, 0x103, 0x21]
    ),
    st.integers(0, 0xFFFF_FFFF),
    st.binary(max_size=40),
    st.integers(0, 0xFFFF_FFFF),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_FRAMES | st.binary(max_size=60), max_size=12), st.integers(1, 40))
@example([write_frame(RESPONSE | Command.SUBMIT_SM, 2)], 7)
def test_nothing_an_smsc_says_escapes(said: list[bytes], cut: int) -> None:
    asyncio.run(_survives(b"".join(said), cut))


async def _survives(octets: bytes, cut: int) -> None:
    smsc = await Smsc().bound()
    for _ in range(3):
        smsc.submit()
    for start in range(0, len(octets), cut):
        smsc.link.data_received(octets[start : start + cut])
    await smsc.said()
    held: Any = smsc.link._buffer
    assert len(held) <= 70_000 + cut
    if smsc.link.lost.done():
        assert smsc.wire.closed
    smsc.close()
    assert len(smsc.answers) == 3  # each submit was answered once, one way or another
