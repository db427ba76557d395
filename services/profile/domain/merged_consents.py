"""What a person agreed to who was known as two: the stricter word on each channel."""

from dataclasses import replace
from typing import Final

from services.profile.domain.consent import Consent, Consents
from services.vocabulary.words import CONSENT_STRICTNESS, Channel, ConsentBy

_EVERYWHERE: Final[tuple[Channel | None, ...]] = (None, *Channel)


def stricter(one: Consent | None, other: Consent | None) -> Consent | None:
    """Which of two words holds for who said both: a refusal before anything, the person's own before others'.

    What was never said yields to what was. Of equal words the later counts, of equal grants that which ends
    first.
    """
    if one is None or other is None:
        return one or other
    return max(one, other, key=_strictness)


def _strictness(consent: Consent) -> tuple[bool, bool, int, int, int, str, str]:
    ends = -consent.expiry_micros if consent.expiry_micros else -(1 << 62)
    own = consent.refuses and consent.by is ConsentBy.PERSON
    # the last two only make the choice the same from both sides
    return (
        consent.refuses,
        own,
        CONSENT_STRICTNESS[consent.state],
        ends,
        consent.time_micros,
        consent.by.value,
        consent.channel or "",
    )


def merge_consents(one: Consents, other: Consents) -> Consents:
    """What one person agreed to who spoke as two: on each channel the stricter of what either said.

    The words of both are kept. Where the latest of them would say more than the stricter, the stricter is
    put at the latest one's time: it stands until the person says something newer. The ledgers keep the true
    times.
    """
    merged = Consents(dict(one.by_person), dict(one.by_others), dict(one.held))
    for consent in (*other.by_person.values(), *other.by_others.values(), *other.held.values()):
        merged.add(consent)
    keys = {*one.by_person, *one.by_others, *other.by_person, *other.by_others}
    for purpose in sorted({purpose for purpose, _ in keys}):
        for channel in _EVERYWHERE:
            said = [side.prevailing(purpose, channel) for side in (one, other)]
            words = sorted(filter(None, said), key=_strictness)
            if not words or _restate(merged, words[-1], channel):
                continue
            # a refusal for every channel, put at a later time, stands before what the person said of this one
            for word in words:
                _restate(merged, word, channel)
    return merged


def _restate(merged: Consents, wanted: Consent, channel: Channel | None) -> bool:
    """Have `wanted` count on a channel, at the time of what counts there now; whether it does."""
    now = merged.prevailing(wanted.purpose, channel)
    if now is None or _same_word(now, wanted):
        return True
    over = _strictness(wanted)[:4] < _strictness(now)[:4]
    time_micros = max(now.time_micros, wanted.time_micros) + over
    slot = merged.by_person if wanted.by is ConsentBy.PERSON else merged.by_others
    slot[wanted.purpose, channel] = replace(wanted, channel=channel, time_micros=time_micros)
    counts = merged.prevailing(wanted.purpose, channel)
    return counts is not None and _same_word(counts, wanted)


def _same_word(one: Consent, other: Consent) -> bool:
    return _strictness(one)[:4] == _strictness(other)[:4]


def refusals(consents: Consents) -> Consents:
    """Only what refuses: what goes along with somebody who is told apart from another."""
    return Consents(
        {key: consent for key, consent in consents.by_person.items() if consent.refuses},
        {key: consent for key, consent in consents.by_others.items() if consent.refuses},
    )
