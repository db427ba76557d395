"""Actions from outside: what no database takes is refused by itself, with its field."""

import pytest

from services.channel.domain.errors import InvalidActionError
from services.channel.entrypoints.translate import action_from_wire
from tests.fakes.channel import make_action
from tests.integration.channel.conftest import wired


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            (field, "a\0b")
            for field in ("decision_id", "rule_set", "rule", "name", "topic", "line", "template")
        ),
        *(
            (field, value)
            for field in ("decided_micros", "event_micros", "expires_micros")
            for value in (-1, 2**62)
        ),
    ],
)
def test_what_cannot_be_stored_is_named(field, value):
    action = wired(make_action(1))
    assert action_from_wire(action).name == "hello"
    setattr(action, field, value)
    with pytest.raises(InvalidActionError) as raised:
        action_from_wire(action)
    assert raised.value.field == field


@pytest.mark.parametrize("after", [-1, 2**62])
def test_a_wait_that_is_none_is_named(after):
    action = wired(make_action(1))
    action.channels[0].after_micros = after
    with pytest.raises(InvalidActionError, match=r"channels\.after_micros"):
        action_from_wire(action)
