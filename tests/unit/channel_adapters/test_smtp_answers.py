"""What a relay's answers mean: who is asked again, who never, and whose address is none."""

import pytest

from services.channel.adapters.smtp_answers import Stage, read_refusal
from services.channel.app.ports import HandOver

LATER, NEVER = HandOver.TRANSIENT, HandOver.PERMANENT


@pytest.mark.parametrize(
    ("code", "text", "stage", "outcome", "lost", "unreachable"),
    [
        (421, "4.3.2 closing", Stage.RECIPIENT, LATER, True, False),
        (450, "4.7.1 Greylisted, come back", Stage.RECIPIENT, LATER, False, False),
        (450, "4.2.1 receiving mail at a rate", Stage.RECIPIENT, LATER, False, False),
        (451, "4.3.0 local error", Stage.CONTENT, LATER, False, False),
        (452, "4.2.2 mailbox full", Stage.RECIPIENT, LATER, False, False),
        (452, "4.5.3 too many recipients", Stage.RECIPIENT, LATER, False, False),
        (552, "too many recipients", Stage.RECIPIENT, LATER, False, False),
        (552, "5.2.2 over quota", Stage.RECIPIENT, NEVER, False, False),
        (552, "message too big", Stage.SENDER, NEVER, False, False),
        (552, "5.3.4 too big", Stage.CONTENT, NEVER, False, False),
        (550, "5.1.1 unknown user", Stage.RECIPIENT, NEVER, False, True),
        (550, "no such user", Stage.RECIPIENT, NEVER, False, False),
        (556, "5.1.10 null MX", Stage.RECIPIENT, NEVER, False, True),
        (550, "5.2.1 disabled", Stage.RECIPIENT, NEVER, False, True),
        (554, "5.7.1 policy", Stage.RECIPIENT, NEVER, False, False),
        (550, "5.1.1 said of the content", Stage.CONTENT, NEVER, False, False),
        (554, "5.6.0 content refused", Stage.CONTENT, NEVER, False, False),
        (550, "5.7.1 sender not yours", Stage.SENDER, LATER, False, False),
        (553, "sender refused", Stage.SENDER, LATER, False, False),
        (553, "5.1.8 sender's domain unknown", Stage.RECIPIENT, LATER, False, False),
        (530, "5.7.0 must issue STARTTLS first", Stage.SENDER, LATER, True, False),
        (535, "5.7.8 wrong password", Stage.SENDER, LATER, True, False),
        (503, "5.5.1 bad sequence", Stage.RECIPIENT, LATER, True, False),
        (250, "what?", Stage.CONTENT, HandOver.UNKNOWN, True, False),
        (354, "what?", Stage.CONTENT, HandOver.UNKNOWN, True, False),
    ],
)
def test_what_an_answer_means(
    code: int, text: str, stage: Stage, outcome: HandOver, *, lost: bool, unreachable: bool
) -> None:
    answer = read_refusal(code, text, stage)
    assert (answer.outcome, answer.lost, answer.unreachable) == (outcome, lost, unreachable)


def test_nothing_of_the_text_is_kept_but_its_code() -> None:
    answer = read_refusal(550, "5.1.1 <ada@example.com> not here, 192.5.1.9", Stage.RECIPIENT)
    assert answer.detail == "SMTP status 550 5.1.1 to RCPT"
    assert read_refusal(550, "at 192.5.1.9", Stage.RECIPIENT).detail == "SMTP status 550 to RCPT"
