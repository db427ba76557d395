"""A CSV of those who are not to be contacted: lines that are wrong are named, the others taken."""

import io

import click
import pytest
from rapport.channel.v1 import suppression_pb2
from rapport.types.v1 import vocabulary_pb2

from services.cli.commands import suppression
from services.cli.commands.suppression import _batches


def read(text: str) -> list[tuple[int, object]]:
    file = io.StringIO(text)
    file.name = "list.csv"
    return [line for batch in _batches(file, "manual") for line in batch]


def test_each_line_is_an_item_or_what_is_wrong_with_it() -> None:
    lines = read(
        "subject,channel,reason,evidence\n"
        "msisdn:+33612345678,sms,unsubscribed,old list\n"
        "crm:7,email,,\n"
        ",sms,,\n"
        "crm:8,fax,,\n"
        "crm:9,sms,bored,\n"
        "crm:10,sms,manual,one,two\n"
    )
    assert lines[0] == (
        2,
        suppression_pb2.SuppressionItem(
            subject="msisdn:+33612345678",
            channel=vocabulary_pb2.CHANNEL_SMS,
            reason=suppression_pb2.SUPPRESSION_REASON_UNSUBSCRIBED,
            evidence="old list",
        ),
    )
    second = lines[1][1]
    assert isinstance(second, suppression_pb2.SuppressionItem)
    assert second.reason == suppression_pb2.SUPPRESSION_REASON_MANUAL
    told = [(line, str(wrong).partition(";")[0]) for line, wrong in lines[2:]]
    assert told == [
        (4, "the subject is empty"),
        (5, "the channel is 'fax'"),
        (6, "the reason is 'bored'"),
        (7, "the line has more fields than the first"),
    ]


@pytest.mark.parametrize("header", ["subject,reason", "subject,channel,colour", ""])
def test_a_file_with_other_columns_is_refused(header: str) -> None:
    with pytest.raises(click.ClickException, match=r"list\.csv:1: the columns are .*use subject, channel"):
        read(f"{header}\ncrm:1,sms\n")


def test_a_long_file_goes_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "BATCH", 2)
    file = io.StringIO("subject,channel\n" + "crm:1,sms\n" * 5)
    assert [len(batch) for batch in _batches(file, "manual")] == [2, 2, 1]
