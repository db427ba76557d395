"""Puts together what answers for consents."""

from functools import partial

import orjson

from services.profile.adapters.chaining import still_chaining
from services.profile.adapters.postgres import PostgresStore
from services.profile.app.confirmations import Confirmations
from services.profile.app.consent_questions import ConsentQuestions
from services.profile.app.questions import Questions
from services.profile.app.take_events import EventTaker
from services.profile.entrypoints.consent_servicer import ConsentServicer
from services.profile.entrypoints.errors import PROFILE_ERRORS
from services.runtime.clock import Clock
from services.runtime.errors import SettingError
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.words import Purpose


def check_purposes(catalogue: Catalogue) -> None:
    """Refuse to start where data would be processed for a purpose that rests on nothing; SettingError."""
    missing = [purpose.value for purpose in Purpose if purpose not in catalogue.purposes]
    if missing:
        raise SettingError(
            f"the catalogue names no lawful basis for {', '.join(missing)}",
            field="RAPPORT_RULES",
            suggestion="describe each purpose in catalogue/purposes.yaml, with its basis (GDPR art. 6)",
        )


def make_consents(
    store: PostgresStore, catalogue: Catalogue, taker: EventTaker, questions: Questions, clock: Clock
) -> ConsentServicer:
    """The ConsentService."""
    sign = partial(store.types.sealer.ring.mac, "consent confirmation")
    return ConsentServicer(
        database=store.database,
        store=store,
        questions=ConsentQuestions(catalogue, questions, store.mac),
        confirmations=Confirmations(catalogue, taker, questions, sign, orjson.dumps),
        clock=clock,
        errors=PROFILE_ERRORS,
        chaining=partial(still_chaining, store.database),
    )
