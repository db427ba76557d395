"""Reads of arbitration.yaml what the gates judge: the share of sales."""

from pathlib import Path

from services.channel.domain.caps import SalesShare
from services.channel.domain.errors import PolicyError
from services.vocabulary.arbitration_policy import ARBITRATION_FILE
from services.vocabulary.arbitration_reader import read_arbitration
from services.vocabulary.yaml_section import Mistakes, read_yaml

ARBITRATION = ARBITRATION_FILE.rpartition("/")[2]


def read_sales_share(file: Path) -> SalesShare | None:
    """None: without the file, or where it says none; raises PolicyError for a file with any mistake.

    Whether offers that it names are known is the decision service's to say.
    """
    mistakes = Mistakes()
    try:
        section = read_yaml(file, ARBITRATION_FILE, mistakes)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PolicyError(f"{ARBITRATION_FILE}:1: cannot be read ({error.strerror}); mend it") from error
    policy = None if section is None else read_arbitration(section, None)
    if policy is None or mistakes.found:
        raise PolicyError("; ".join(map(str, mistakes.found)))
    terms = policy.terms
    return None if terms.most_sales is None else SalesShare(terms.most_sales, terms.share_micros)
