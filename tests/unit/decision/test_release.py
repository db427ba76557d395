"""Which step a version of a rule set may take."""

import pytest
from rapport.decision.v1 import release_pb2, rule_set_pb2

from services.decision.domain.release import (
    MOST_CANARIES,
    Refused,
    Refusing,
    ReleaseRules,
    Standing,
    State,
    may_canary,
    may_review,
    may_run,
    may_submit,
)
from services.decision.entrypoints.translate import refusal_to_wire, state_to_wire
from services.decision.settings import DecisionSettings
from services.runtime.access_policy import scopes_of
from services.runtime.errors import SettingError
from services.runtime.settings import Settings
from services.vocabulary.catalogue import load_catalogue
from tests.unit.decision.generators import RULES

STRICT, FREE = ReleaseRules(), ReleaseRules(approval=False, canary=False)


def standing(state, **more):
    return Standing("bill-shock", 3, state, **more)


def reason(refused):
    return None if refused is None else refused.reason


@pytest.mark.parametrize("state", State)
def test_what_may_be_submitted(state):
    refused = may_submit(standing(state))
    assert (refused is None) == (state in {State.DRAFT, State.TESTED, State.RETIRED})
    assert refused is None or refused.reason is Refusing.WRONG_STATE


def test_nobody_approves_their_own_work_but_may_reject_it():
    version = standing(State.IN_REVIEW, author="ann", submitter="ben")
    for name in ("ann", "ben"):
        assert reason(may_review(version, name, approve=True)) is Refusing.OWN_WORK
        assert may_review(version, name, approve=False) is None
    assert may_review(version, "cleo", approve=True) is None


def test_the_second_of_two_reviewers_is_told_of_the_first():
    version = standing(State.APPROVED, author="ann", submitter="ann", approver="ben")
    for approve in (True, False):
        refused = may_review(version, "cleo", approve=approve)
        assert reason(refused) is Refusing.ALREADY_REVIEWED
        assert "ben" in refused.detail
    rejected = standing(State.DRAFT, author="ann", submitter="ann")
    assert reason(may_review(rejected, "cleo", approve=True)) is Refusing.ALREADY_REVIEWED
    assert reason(may_review(standing(State.TESTED), "cleo", approve=True)) is Refusing.WRONG_STATE


@pytest.mark.parametrize(
    ("rules", "state", "live", "canary"),
    [
        (STRICT, State.TESTED, Refusing.NOT_APPROVED, Refusing.NOT_APPROVED),
        (STRICT, State.IN_REVIEW, Refusing.NOT_APPROVED, Refusing.NOT_APPROVED),
        (STRICT, State.APPROVED, Refusing.NO_CANARY, None),
        (STRICT, State.CANARY, None, None),
        (STRICT, State.LIVE, None, Refusing.WRONG_STATE),
        (STRICT, State.RETIRED, Refusing.NOT_APPROVED, Refusing.NOT_APPROVED),
        (ReleaseRules(canary=False), State.APPROVED, None, None),
        (ReleaseRules(canary=False), State.TESTED, Refusing.NOT_APPROVED, Refusing.NOT_APPROVED),
        (ReleaseRules(approval=False), State.TESTED, Refusing.NO_CANARY, None),
        (FREE, State.DRAFT, None, None),
        (FREE, State.RETIRED, None, None),
        (FREE, State.IN_REVIEW, Refusing.WRONG_STATE, Refusing.WRONG_STATE),
    ],
)
def test_what_may_run(rules, state, live, canary):
    assert reason(may_run(standing(state), rules, share=False)) is live
    assert reason(may_canary(standing(state), rules, ())) is canary


def test_one_canary_of_a_rule_set_and_not_too_many_in_all():
    version = standing(State.APPROVED)
    same = may_canary(version, STRICT, (("bill-shock", 2),))
    assert reason(same) is Refusing.ANOTHER_CANARY
    assert "version 2" in same.detail
    others = tuple((f"other-{place}", 1) for place in range(MOST_CANARIES))
    many = may_canary(version, STRICT, others)
    assert reason(many) is Refusing.ANOTHER_CANARY
    assert "other-0@1" in many.detail
    assert may_canary(version, STRICT, others[:-1]) is None
    # another share for one that runs is no other canary
    assert may_canary(standing(State.CANARY), STRICT, (("bill-shock", 3), *others[:-1])) is None


def test_what_was_not_asked_for_is_said():
    assert ReleaseRules().waived == ""
    assert FREE.waived == "review and canary not required here"
    assert ReleaseRules(canary=False).waived == "canary not required here"


def test_each_state_and_each_reason_is_told_by_a_word_of_its_own():
    assert len({state_to_wire(state) for state in State} | {state_to_wire("")}) == len(State) + 1
    told = {refusal_to_wire(Refused(reason, "because", "do", 2)).reason for reason in Refusing}
    assert len(told) == len(Refusing) == len(rule_set_pb2.RefusalOfStep.items()) - 1
    assert refusal_to_wire(None).reason == rule_set_pb2.REFUSAL_OF_STEP_NOT_SOUND
    assert refusal_to_wire(Refused(Refusing.OWN_WORK, "because", "do", 2)).offered_version == 2


def test_each_step_is_for_its_role_alone():
    declared = scopes_of(release_pb2.DESCRIPTOR.services_by_name["ReleaseService"])
    rule_sets = scopes_of(rule_set_pb2.DESCRIPTOR.services_by_name["RuleSetService"])
    by_role = {}
    for method, scope in (*declared.items(), *rule_sets.items()):
        by_role.setdefault(scope, set()).add(method.rpartition("/")[2])
    assert by_role["rules.write"] >= {"PutRuleSet", "SubmitForReview"}
    assert by_role["rules.approve"] == {"ReviewRuleSet"}
    activating = {"StartCanary", "ActivateRuleSet", "ScheduleActivation", "RollbackRuleSet", "RetireRuleSet"}
    assert by_role["rules.activate"] == activating


def test_what_is_shipped_is_strict_and_only_the_setting_sets_it_aside():
    shipped = load_catalogue(RULES)

    def rules(**extra):
        settings = Settings(service="decision", extra=extra)
        return DecisionSettings.of(settings).release_rules(shipped)

    assert rules() == STRICT
    assert rules(release="reviewed") == STRICT
    assert rules(release="alone") == FREE
    with pytest.raises(SettingError, match="RAPPORT_RELEASE is 'free'"):
        rules(release="free")
