"""One customer as people see it."""

from collections.abc import Sequence

from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import stream_pb2

from services.profile.app.ports import Work
from services.profile.app.questions import Questions
from services.profile.domain.customer import Customer
from services.profile.entrypoints.translation import other_word
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.wire import timestamp


async def profile_of(
    questions: Questions, work: Work, customer: Customer, now_micros: int, catalogue: Catalogue
) -> profile_pb2.Profile:
    """The profile as it stands; what the customer does not agree to have used is marked as withheld."""
    (packed,) = await questions.snapshots(work, [f"customer:{customer.id}"], now_micros)
    assert isinstance(packed, bytes)
    snapshot = stream_pb2.Snapshot.FromString(packed)
    direct = [
        other_word(trait, catalogue.traits[trait.name].type, withheld=withheld)
        for trait, withheld in questions.direct_traits(customer, now_micros)
    ]
    profile = profile_pb2.Profile(
        customer=customer.id,
        traits=sorted([*snapshot.traits, *direct], key=lambda trait: (trait.name, trait.line)),
        consents=snapshot.consents,
        things=snapshot.things,
        preferences=customer.record.preferences,
        sequence=customer.sequence,
    )
    profile.other_words.extend(
        other_word(word, catalogue.traits[word.name].type, withheld=withheld)
        for word, withheld in questions.other_words(customer, now_micros)
    )
    for identity, line in customer.record.identities:
        profile.identities.add(kind=identity.kind, value=identity.value, line=line)
    for name in sorted(customer.kept.event_types):
        activity = customer.kept.open_activity(name)
        if activity is not None:
            profile.activity.add(
                type=name,
                entries=len(activity.times),
                days=len(activity.days),
                last_time=timestamp(activity.last_time_micros),
            )
    return profile


def customers_in(snapshots: Sequence[bytes | str]) -> set[int]:
    """Whose snapshots these are; texts say why there is none."""
    return {
        stream_pb2.Snapshot.FromString(packed).customer for packed in snapshots if isinstance(packed, bytes)
    }
