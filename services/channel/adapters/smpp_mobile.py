"""What subscribers write, made whole and given keys: parts joined in bounded time and memory."""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from hashlib import blake2b

from services.channel.adapters.smpp_delivered import Written
from services.channel.adapters.smpp_texts import Octets, text_of
from services.channel.app.ports import Inbound
from services.vocabulary.words import Channel

_MOST_REMEMBERED = 10_000
_MINUTE_MICROS = 60_000_000
_COMES_AGAIN = 600.0
"""Seconds in which an SMSC sends again what it could not deliver over a lost link."""
_UNSURE = 2.0
"""An answer written so shortly before its link was lost may not have arrived."""
_GAP = Octets(b"...", "ascii")
"""Stands for parts that did not come in time."""


@dataclass(slots=True)
class _Open:
    """A message of which parts are missing."""

    deadline: float
    first: Written
    parts: dict[int, Written] = field(default_factory=dict)
    octets: int = 0


class Joining:
    """Collects the parts of long messages.

    What is not whole in time, or is the oldest when too much is open, comes out with gaps.
    """

    def __init__(self, seconds: float = 60.0, most: int = 1_000, most_octets: int = 1 << 20) -> None:
        self._seconds = seconds
        self._most = most
        self._most_octets = most_octets
        self._octets = 0
        self._open: OrderedDict[Hashable, _Open] = OrderedDict()
        self._done: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def take(self, written: Written, now: float) -> tuple[Written | None, tuple[Written, ...]]:
        """What is whole by this, and what was pushed out by it; `now` is monotonic, in seconds."""
        part = written.part
        if part.total == 1:
            return written, ()
        name = (written.sender, written.recipient, part.reference, part.total)
        if self._done.get((name, part.number, written.octets), now) > now:
            return None, ()  # the SMSC did not hear that it was taken
        entry = self._open.get(name)
        if entry is None:
            entry = self._open[name] = _Open(now + self._seconds, written)
        if part.number not in entry.parts:
            entry.octets += len(written.octets)
            self._octets += len(written.octets)
        entry.parts[part.number] = written
        if len(entry.parts) == part.total:
            for piece in entry.parts.values():
                self._done[(name, piece.part.number, piece.octets)] = now + self._seconds
            while len(self._done) > _MOST_REMEMBERED:
                self._done.popitem(last=False)
            return self._close(name), ()
        pushed: list[Written] = []
        while len(self._open) > self._most or self._octets > self._most_octets:
            pushed.append(self._close(next(iter(self._open))))
        return None, tuple(pushed)

    def overdue(self, now: float) -> tuple[Written, ...]:
        """Those that waited too long for their missing parts."""
        while self._done and next(iter(self._done.values())) <= now:
            self._done.popitem(last=False)
        late = [name for name, entry in self._open.items() if entry.deadline <= now]
        return tuple(self._close(name) for name in late)

    def next_deadline(self) -> float | None:
        """When the oldest open message is overdue."""
        return next(iter(self._open.values())).deadline if self._open else None

    def _close(self, name: Hashable) -> Written:
        entry = self._open.pop(name)
        self._octets -= entry.octets
        first = entry.first
        pieces: list[Octets] = []
        for number in range(1, first.part.total + 1):
            piece = entry.parts.get(number)
            if piece is not None:
                pieces.extend(piece.pieces)
            elif not pieces or pieces[-1] is not _GAP:
                pieces.append(_GAP)
        octets = b"".join(entry.parts[number].octets for number in sorted(entry.parts))
        return Written(first.sender, first.recipient, tuple(pieces), first.part, octets)


class Keys:
    """Names for what subscribers wrote: the same for a message that comes a second time.

    SMPP has no such name (what some SMSCs put into receipted_message_id is the same for all). A message comes
    again only after a link was lost before our answer had surely arrived: then the same words of the same
    sender get the same key. Otherwise they are a new message (STOP, START, STOP are three). Over a restart of
    ours, or between processes, only the minute tells: words repeated within it count as the same.
    """

    def __init__(self, wall_micros: Callable[[], int]) -> None:
        self._wall_micros = wall_micros
        self._given: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._lost: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()
        self._open: dict[str, tuple[Hashable, str]] = {}
        self._answered: deque[tuple[float, Hashable, str, str]] = deque(maxlen=_MOST_REMEMBERED)

    def key(self, written: Written, link: Hashable | None, now: float) -> str:
        """The key of a message that came over a link, if one still waits for its answer; `now` in seconds."""
        said = f"{written.sender}\0{written.recipient}\0".encode() + written.octets
        digest = blake2b(said, digest_size=16).hexdigest()
        key = self._again(digest, now) or self._new(digest)
        if link is not None:
            self._open[key] = (link, digest)
        return key

    def answered(self, key: str, link: Hashable, now: float) -> None:
        """The SMSC was told, over this link, that the message was taken."""
        known = self._open.pop(key, None)
        if known is not None:
            self._answered.append((now, link, known[1], key))

    def link_lost(self, link: Hashable, now: float) -> None:
        """What came over this link and was not surely answered may come again."""
        for key in [key for key, (over, _) in self._open.items() if over == link]:
            self._expect(self._open.pop(key)[1], key, now)
        for moment, over, digest, key in self._answered:
            if over == link and now - moment <= _UNSURE:
                self._expect(digest, key, now)

    def _expect(self, digest: str, key: str, now: float) -> None:
        self._lost.setdefault(digest, deque()).append((now + _COMES_AGAIN, key))
        while len(self._lost) > _MOST_REMEMBERED:
            self._lost.popitem(last=False)

    def _again(self, digest: str, now: float) -> str:
        expected = self._lost.get(digest)
        while expected:
            until, key = expected.popleft()
            if not expected:
                del self._lost[digest]
            if until > now:
                return key
        return ""

    def _new(self, digest: str) -> str:
        minute = self._wall_micros() // _MINUTE_MICROS
        before, count = self._given.pop(digest, (minute, -1))
        count = count + 1 if before == minute else 0
        self._given[digest] = (minute, count)
        while len(self._given) > _MOST_REMEMBERED:
            self._given.popitem(last=False)
        return f"{digest}-{minute}-{count}"


def inbound_of(written: Written, provider: str, key: str) -> Inbound:
    """A whole message as the use case takes it."""
    return Inbound(provider, key, Channel.SMS, written.sender, written.recipient, text_of(written.pieces))
