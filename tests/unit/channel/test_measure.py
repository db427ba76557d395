"""What the metrics count of messages, and that nothing is counted of what was rolled back."""

from services.channel.adapters.storage.measure import measure
from services.channel.domain.messages import Message
from services.vocabulary.words import ActionKind, Category, Channel, RefusalReason
from tests.fakes.counting import counted, grown


class Commit:
    """A transaction that is committed when the test says so."""

    def __init__(self):
        self._callbacks = []

    def after_commit(self, callback):
        self._callbacks.append(callback)

    def come(self):
        for callback in self._callbacks:
            callback()


def message(category, number):
    made = Message(f"m{number}", f"a{number}", 7, category, ActionKind.MESSAGE, "x")
    made.plan(1, Channel.SMS, 1, "UTC")
    return made


def test_states_refusals_and_doubtful_hand_overs_are_counted_once_committed():
    refused = Message("m1", "a1", 7, Category.SALES, ActionKind.MESSAGE, "x")
    refused.refuse(1, Channel.SMS, RefusalReason.CAPPED, "")
    expired = Message("m2", "a2", 7, Category.SERVICE, ActionKind.MESSAGE, "x")
    expired.refuse(1, None, RefusalReason.EXPIRED, "")
    service, sales, late = (
        message(Category.SERVICE, 3),
        message(Category.SALES, 4),
        message(Category.SALES, 5),
    )
    for one in (service, sales, late):
        one.start_hand_over(2, 2, 1)
    service.lost_sight(3, 0, "")
    sales.lost_sight(3, 0, "")
    late.taken_by_provider(3)
    before = counted()
    commit = Commit()
    measure(commit, [refused, expired, service, sales, late])
    assert grown(before) == {}
    commit.come()
    assert grown(before) == {
        ("rapport_messages_total", "none", "expired"): 1,
        ("rapport_messages_total", "sms", "refused"): 1,
        ("rapport_messages_total", "sms", "planned"): 4,
        ("rapport_messages_total", "sms", "sending"): 3,
        ("rapport_messages_total", "sms", "failed"): 1,
        ("rapport_messages_total", "sms", "sent"): 1,
        ("rapport_refusals_total", "sales", "CAPPED"): 1,
        ("rapport_refusals_total", "service", "EXPIRED"): 1,
        ("rapport_handover_again_total", "service"): 1,
        ("rapport_handover_unknown_total", "sales"): 1,
    }
