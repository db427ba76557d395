"""What the benchmark of arbitration arbitrates is what it says: every filter has something to refuse."""

from bench.arbitrate import NAME, REFERENCE, decisions, measure
from services.decision.domain.arbitration import arbitrate
from services.vocabulary.words import RefusalReason


def test_the_mixture_meets_every_filter_and_comes_out_the_same_each_time():
    found = [arbitrate(*each).actions for each in decisions()]
    assert found == [arbitrate(*each).actions for each in decisions()]
    reasons = {action.reason for actions in found for action in actions}
    assert reasons == {
        None,
        RefusalReason.SERVICE_FIRST,
        RefusalReason.CAPPED,
        RefusalReason.ONCE,
        RefusalReason.OUTRANKED,
        RefusalReason.NOT_ELIGIBLE,
        RefusalReason.BUDGET,
    }


def test_the_figure_stands_beside_its_reference(monkeypatch):
    monkeypatch.setattr("bench.arbitrate.ROUNDS", 1)
    (figure,) = measure()
    assert (
        (figure.name, figure.reference)
        == (NAME, REFERENCE)
        == (
            "arbitrate.us_per_candidate",
            "bare_score_and_sort",
        )
    )
    assert figure.ratio is not None
