"""Two customers who are one person, put together; and a part of one taken out again.

What is known of a person does not depend on the order in which they were found to be one, but for what only
tells lines apart: the stricter consent wins, of each trait the latest word, and nothing that happened is
lost or counted twice.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from services.profile.domain.activity import Retention, TypeActivity, entries_of
from services.profile.domain.customer import (
    Customer,
    Record,
    local_day,
    precedence_of,
    retention_of,
    zone_of,
)
from services.profile.domain.merged_consents import merge_consents, refusals
from services.profile.domain.traits import Trait, TraitKey, settled_trait
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.identities import Identity

NUMBERS: Final = "msisdn"
"""The kind of identity that stands for a line."""

_NO_RETENTION: Final = Retention(1 << 62, 1 << 62, 1 << 62)

# --- lines ------------------------------------------------------------------------------------------------

Lines = Mapping[str, str]
"""What the lines of one customer are called with another."""


def lines_with(into: Record, other: Record) -> dict[str, str]:
    """What the lines of `other` are called with `into`; the main one stays where `into` has none."""
    taken = {line for identity, line in into.identities if identity.kind == NUMBERS}
    return _named_anew((line for identity, line in other.identities if identity.kind == NUMBERS), taken)


def _named_anew(lines: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    used = set(taken)
    for line in lines:
        if line in names:
            continue
        name, number = "", 1
        while name in used:
            number += 1
            name = str(number)
        names[line] = name
        used.add(name)
    return names


def line_with(into: Record, other: Record, line: str) -> str:
    """What a line of `other` is called with `into`, who has its number now; its own name if nobody has."""
    there = dict(into.identities)
    for identity, its_line in other.identities:
        if identity.kind == NUMBERS and its_line == line and identity in there:
            return there[identity]
    return line


# --- traits -----------------------------------------------------------------------------------------------


def later_trait(one: Trait, other: Trait) -> Trait:
    """The newer word about one trait; of one time, the same from both sides."""
    return max(
        one,
        other,
        key=lambda trait: (trait.time_micros, trait.value is None, trait.source, repr(trait.value)),
    )


def renamed(traits: Mapping[TraitKey, Trait], lines: Lines, catalogue: Catalogue) -> dict[TraitKey, Trait]:
    """Traits under the names that their lines have with somebody else."""
    found: dict[TraitKey, Trait] = {}
    for trait in traits.values():
        known = catalogue.traits.get(trait.name)
        line = lines.get(trait.line, trait.line) if known is not None and known.line else trait.line
        found[trait.name, line] = on_line(trait, line)
    return found


def on_line(trait: Trait, line: str) -> Trait:
    """The same trait, of a line of that name."""
    return replace(trait, line=line, others=tuple(replace(word, line=line) for word in trait.others))


def merge_traits(
    one: Mapping[TraitKey, Trait], other: Mapping[TraitKey, Trait], catalogue: Catalogue
) -> dict[TraitKey, Trait]:
    """Of each trait the latest word; where sources have an order, the latest of each."""
    merged = dict(one)
    for key, trait in other.items():
        before = merged.get(key)
        merged[key] = trait if before is None else _both(before, trait, catalogue)
    return merged


def _both(one: Trait, other: Trait, catalogue: Catalogue) -> Trait:
    precedence = precedence_of(one.name, catalogue)
    if precedence is None:
        return later_trait(one, other)
    by_rank: dict[int, Trait] = {}
    for word in (*one.words, *other.words):
        rank = precedence.rank(word.source)
        standing = by_rank.get(rank)
        by_rank[rank] = word if standing is None else later_trait(standing, word)
    return settled_trait(by_rank.values(), precedence)


# --- activity ---------------------------------------------------------------------------------------------


def merge_activity(
    one: TypeActivity,
    other: TypeActivity,
    sequences: Mapping[int, int],
    retention: Retention,
    day_of: Callable[[int], int],
) -> TypeActivity:
    """`one` with the entries and days of `other`, whose sequences become those of `sequences`.

    What is older than kept is folded into its day or dropped at the end, as with any entry.
    """
    for time_micros, sequence, kept in entries_of(other):
        one.add(time_micros, sequences[sequence], kept, _NO_RETENTION, day_of)
    _add_days(one, other)
    _fold(one, retention, day_of)
    return one


def _add_days(one: TypeActivity, other: TypeActivity) -> None:
    mine = {day: place for place, day in enumerate(one.days)}
    theirs = {day: place for place, day in enumerate(other.days)}
    days = sorted(mine.keys() | theirs.keys())

    def summed(own: Sequence[float], their: Sequence[float], day: int) -> float:
        return (own[mine[day]] if own and day in mine else 0) + (
            their[theirs[day]] if their and day in theirs else 0
        )

    counts = [int(summed(one.day_counts, other.day_counts, day)) for day in days]
    sums = {
        name: [summed(one.day_sums.get(name, ()), other.day_sums.get(name, ()), day) for day in days]
        for name in (*one.day_sums, *(name for name in other.day_sums if name not in one.day_sums))
    }
    one.days, one.day_counts, one.day_sums = days, counts, sums


def _fold(activity: TypeActivity, retention: Retention, day_of: Callable[[int], int]) -> None:
    """Have what is older than kept leave, by taking the newest entry out and adding it anew."""
    if not activity.times:
        return
    *before, (time_micros, sequence, kept) = entries_of(activity)
    newest = TypeActivity(
        activity.type, days=activity.days, day_counts=activity.day_counts, day_sums=activity.day_sums
    )
    for entry_time, entry_sequence, entry_kept in before:
        newest.add(entry_time, entry_sequence, entry_kept, _NO_RETENTION, day_of)
    newest.add(time_micros, sequence, kept, retention, day_of)
    activity.times, activity.sequences, activity.columns = newest.times, newest.sequences, newest.columns
    activity.days, activity.day_counts, activity.day_sums = newest.days, newest.day_counts, newest.day_sums


def without(activity: TypeActivity, sequences: Collection[int]) -> TypeActivity:
    """The same without some entries; what was folded into days stays there."""
    left = TypeActivity(
        activity.type,
        days=list(activity.days),
        day_counts=list(activity.day_counts),
        day_sums={name: list(sums) for name, sums in activity.day_sums.items()},
    )
    for time_micros, sequence, kept in entries_of(activity):
        if sequence not in sequences:
            left.add(time_micros, sequence, kept, _NO_RETENTION, lambda _: 0)
    return left


# --- customers --------------------------------------------------------------------------------------------


def merge_records(into: Record, other: Record, other_id: int, lines: Lines) -> Record:
    """What changes rarely, of one person who was known as two; where both chose, `into` is asked first."""
    held = dict(into.identities)
    return replace(
        into,
        identities=[
            *into.identities,
            *(
                (identity, lines.get(line, line) if identity.kind == NUMBERS else line)
                for identity, line in other.identities
                if identity not in held
            ),
        ],
        consents=merge_consents(into.consents, other.consents),
        preferences={**other.preferences, **into.preferences},
        preference_times={**other.preference_times, **into.preference_times},
        lines=[
            *into.lines,
            *(replace(line, line=lines.get(line.line, line.line)) for line in other.lines),
        ],
        said_household=into.said_household or other.said_household,
        merged_customers=list(dict.fromkeys((*into.merged_customers, other_id, *other.merged_customers))),
    )


def join(into: Customer, other: Customer, catalogue: Catalogue) -> None:
    """Put what is known of `other` into `into`; `other` stays as it is.

    The entries of `other` come after those of `into` in sequence, in the order of their times.
    """
    lines = lines_with(into.record, other.record)
    _set_traits(into, merge_traits(into.traits, renamed(other.traits, lines, catalogue), catalogue))
    theirs = [
        activity
        for name in sorted({*other.kept.event_types, *other.activity})
        if (activity := opened(other, name)) is not None
    ]
    entries = sorted((time, sequence) for activity in theirs for time, sequence, _ in entries_of(activity))
    sequences = {sequence: into.sequence + place for place, (_, sequence) in enumerate(entries, start=1)}
    zone = zone_of(into.traits) or catalogue.default_zone
    for activity in theirs:
        mine = opened(into, activity.type) or TypeActivity(activity.type)
        known = catalogue.events.get(activity.type)
        retention = _NO_RETENTION if known is None else retention_of(known)
        into.activity[activity.type] = merge_activity(
            mine, activity, sequences, retention, lambda micros: local_day(micros, zone)
        )
    into.sequence += len(entries)
    put_record(into, merge_records(into.record, other.record, other.id, lines))


def opened(customer: Customer, event_type: str) -> TypeActivity | None:
    """The activity of one type, as it stands now."""
    return customer.activity.get(event_type) or customer.kept.open_activity(event_type)


def take_out(customer: Customer, sequences: AbstractSet[int]) -> None:
    """Have some entries of a customer's activity never have been theirs."""
    for name in {*customer.kept.event_types, *customer.activity}:
        activity = opened(customer, name)
        if activity is not None and not sequences.isdisjoint(activity.sequences):
            customer.activity[name] = without(activity, sequences)


def split_record(record: Record, identities: Collection[Identity]) -> tuple[Record, Record, dict[str, str]]:
    """A record without some identities, that of who has them now, and what the lines are called there.

    Refusals go along, grants do not; preferences stay.
    """
    moved = [(identity, line) for identity, line in record.identities if identity in identities]
    lines = _named_anew((line for identity, line in moved if identity.kind == NUMBERS), ())
    left = replace(record, identities=[held for held in record.identities if held[0] not in identities])
    new = Record(
        identities=[
            (identity, lines.get(line, line) if identity.kind == NUMBERS else line)
            for identity, line in moved
        ],
        consents=refusals(record.consents),
    )
    return left, new, lines


def split_traits(
    traits: Mapping[TraitKey, Trait], lines: Lines, catalogue: Catalogue
) -> tuple[dict[TraitKey, Trait], dict[TraitKey, Trait]]:
    """Traits that stay, and those of the lines that go, under the names that these have from now on."""
    stay: dict[TraitKey, Trait] = {}
    go: dict[TraitKey, Trait] = {}
    for key, trait in traits.items():
        known = catalogue.traits.get(trait.name)
        if known is not None and known.line and trait.line in lines:
            line = lines[trait.line]
            go[trait.name, line] = on_line(trait, line)
        else:
            stay[key] = trait
    return stay, go


def put_traits(customer: Customer, traits: Mapping[TraitKey, Trait]) -> None:
    """Give a customer these traits in place of all that were known."""
    customer.traits.clear()
    _set_traits(customer, traits)


def _set_traits(customer: Customer, traits: Mapping[TraitKey, Trait]) -> None:
    customer.traits.update(traits)
    customer.trait_changes += 1
    customer.values_changed = customer.zone_changed = True


def put_record(customer: Customer, record: Record) -> None:
    """Give a customer this record in place of their own."""
    customer.replace_record(record)
