"""What tests of the profile share."""

from pathlib import Path

import pytest

from services.profile.adapters.catalogue_types import Types
from services.vocabulary.catalogue import load_catalogue
from tests.fakes.keys import sealer


@pytest.fixture(scope="session")
def catalogue_types() -> Types:
    return Types(load_catalogue(Path(__file__).parents[3] / "rules"), sealer())
