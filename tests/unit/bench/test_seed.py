"""Profiles of benchmarks can be read by the service as those of the customers under whom they stand."""

from pathlib import Path

import pytest

from bench.seed import hot_of, make_history
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packing import Kept
from services.profile.domain.customer import Customer
from services.runtime.keys import SealError
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.values import parse_time
from tests.fakes.keys import sealer

NOW = parse_time("2026-12-10T12:00:00Z")


def test_what_names_a_person_is_sealed_for_the_customer_who_gets_the_history():
    catalogue = load_catalogue(Path(__file__).parents[3] / "rules")
    history = make_history(catalogue, Types(catalogue, sealer()), 400, 1, NOW)
    hot = hot_of(history, 7, sealer())
    assert name_of(7, hot) in {"Camille", "Dominique", "Sacha", "Noa"}
    with pytest.raises(SealError):
        name_of(8, hot)


def name_of(customer, hot):
    kept = Kept(hot, b"", customer=customer, sealer=sealer())
    (trait,) = [trait for trait in Customer(customer, 0, kept).traits.values() if trait.name == "name"]
    return trait.value
