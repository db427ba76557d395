"""The simulated SMSC's reading of the wire: frames in any cut, parts in any order."""

import itertools

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st

from services.cli.providers.concatenation import Assembly, part_of
from services.cli.providers.receipts import ReceiptQueue, is_wanted
from services.cli.providers.record import RecordFile
from services.cli.providers.smpp_wire import FrameReader, Submit, WireError, read_submit, write_frame
from services.vocabulary.short_message import encode_ucs2


def submit(octets: bytes, esm_class: int = 0x40, **tlvs: bytes) -> Submit:
    named = {"total": 0x020E, "part": 0x020F, "reference": 0x020C}
    return Submit(
        "src", "336", esm_class, "", 1, 8, octets, {named[key]: value for key, value in tlvs.items()}
    )


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_frames_come_out_whole_however_they_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(write_frame(0x15, number, body) for number, body in enumerate(bodies))
    reader = FrameReader()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found.extend(reader.feed(stream[:size]))
        stream = stream[size:]
    assert [(frame.sequence, frame.body) for frame in found] == list(enumerate(bodies))


@pytest.mark.parametrize("length", [0, 15, 70_001, 0xFFFFFFFF])
def test_a_length_no_pdu_can_have_is_refused(length: int) -> None:
    with pytest.raises(WireError, match=str(length)):
        list(FrameReader().feed(length.to_bytes(4, "big") + b"\0" * 12))


@given(st.binary(max_size=60))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        read_submit(body)
    except WireError:
        return
    assert body.count(b"\0") >= 3


def test_a_payload_parameter_is_the_text() -> None:
    pdu = smpp34.SubmitSm("src", "336", b"", tlvs=[smpp34.Tlv(0x0424, b"long text")]).encode()
    assert read_submit(pdu[16:]).octets == b"long text"


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_parts_join_in_any_order(order: tuple[int, ...]) -> None:
    payloads = {1: "un ", 2: "deux ", 3: "trois"}
    assembly = Assembly()
    whole = [
        assembly.take(one, part_of(one))
        for one in (submit(bytes((5, 0, 3, 9, 3, n)) + encode_ucs2(payloads[n])) for n in order)
    ]
    assert whole == [None, None, "un deux trois"]


@pytest.mark.parametrize(
    "parts",
    [
        [submit(bytes((6, 8, 4, 1, 2, 2, n)) + encode_ucs2("ab"[n - 1])) for n in (1, 2)],
        [
            submit(encode_ucs2("ab"[n - 1]), 0, total=b"\2", part=bytes([n]), reference=b"\0\7")
            for n in (1, 2)
        ],
        [submit(bytes((9, 0x24, 2, 0, 0, 0, 3, 9, 2, n)) + encode_ucs2("ab"[n - 1])) for n in (1, 2)],
    ],
    ids=["16-bit", "sar", "second element"],
)
def test_every_way_to_say_part_of(parts: list[Submit]) -> None:
    assembly = Assembly()
    assert [assembly.take(one, part_of(one)) for one in parts] == [None, "ab"]


@pytest.mark.parametrize(
    "header", [b"", b"\x05\x00\x03\x09\x02\x03", b"\xff\x00\x03", b"\x05\x00\x09\x01\x02"]
)
def test_a_broken_header_makes_a_message_of_its_own(header: bytes) -> None:
    one = submit(header)
    part = part_of(one)
    assert (part.part, part.parts) == (1, 1)
    assert Assembly().take(one, part) is not None


@pytest.mark.parametrize(
    ("asked", "stat", "wanted"),
    [
        (0, "DELIVRD", False),
        (1, "DELIVRD", True),
        (1, "UNDELIV", True),
        (2, "DELIVRD", False),
        (2, "UNDELIV", True),
        (1, "none", False),
    ],
)
def test_who_gets_a_receipt(asked: int, stat: str, wanted: bool) -> None:  # noqa: FBT001
    assert is_wanted(asked, stat) is wanted


def test_receipts_not_taken_are_there_after_a_restart(tmp_path) -> None:
    record = tmp_path / "smsc.jsonl"
    with RecordFile(record) as file:
        file.append(
            {"id": key, "source": "s", "destination": "d", "stat": "DELIVRD", "status": 0, "time_micros": 5}
            for key in ("a", "b")
        )
    first = ReceiptQueue(record, 0)
    (taken,) = first.due(10, 1)
    first.confirm([taken])
    first.close()
    second = ReceiptQueue(record, 0)
    assert [receipt.message_id for receipt in second.due(10, 9)] == ["b"]
    second.close()
