"""Every RPC that tells of a customer writes down who was told."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runtime.access_policy import our_services

ROOT = Path(__file__).parents[3] / "services"
NOTES = {"note_reads", "note_answer"}
CHANGED = "a change, which the audit log has with its caller; it answers with ids and counts"
NOBODY = "tells of no customer"
NUMBERS = "tells ids and why, nothing of what is known about the customer"
UNNOTED = {
    "channel.v1.ControlService": dict.fromkeys(
        (
            "SetKillSwitch",
            "LiftKillSwitch",
            "ListKillSwitches",
            "ReportCareLoad",
            "ListCareLoads",
            "ListCampaigns",
            "GetCampaignUse",
            "ApplyPolicies",
            "RevertPolicies",
            "ListPolicyVersions",
            "GetPolicies",
            "GetCampaignRoom",
        ),
        NOBODY,
    ),
    "channel.v1.QuarantineService": dict.fromkeys(("ReleaseMessages", "DiscardMessages"), CHANGED),
    "channel.v1.ReconciliationService": {"CompareReport": "names messages that the caller has a report of"},
    "channel.v1.SuppressionService": dict.fromkeys(("Suppress", "LiftSuppression"), CHANGED)
    | {"SendOptInLink": "sends a message, which the customer has and which stands in the list of messages"},
    "channel.v1.TemplateService": dict.fromkeys(
        ("ListTemplates", "PreviewTemplate", "SaveTemplate", "ActivateTemplate", "ListTemplateVersions"),
        NOBODY,
    )
    | dict.fromkeys(("SendTest", "GetTest"), "goes to addresses of staff"),
    "decision.v1.CampaignService": dict.fromkeys(
        ("StartRun", "GetRun", "PauseRun", "ResumeRun", "CancelRun"), NOBODY
    ),
    "decision.v1.ExplanationService": {"VerifyDecisions": NUMBERS},
    "decision.v1.OutcomeService": dict.fromkeys(("RecordOutcome", "CancelPlanned"), CHANGED)
    | {"RemoveOutcomeConsumer": NOBODY}
    | dict.fromkeys(
        ("StreamOutcomes", "ListOutcomeConsumers"),
        "who hears of everybody stands in the list of consumers, once and not for each customer",
    ),
    "decision.v1.ReleaseService": dict.fromkeys(
        (
            "GetRuleSet",
            "SubmitForReview",
            "ReviewRuleSet",
            "StartCanary",
            "ScheduleActivation",
            "RollbackRuleSet",
            "RetireRuleSet",
        ),
        NOBODY,
    ),
    "decision.v1.RuleSetService": dict.fromkeys(
        ("PutRuleSet", "ValidateRuleSet", "ActivateRuleSet", "ListRuleSets", "ListRuns"), NOBODY
    ),
    "decision.v1.SimulationService": {
        "Simulate": "tells what would have been; who asked stands beside the result that is kept",
    }
    | dict.fromkeys(("GetSimulation", "ListSimulations"), NOBODY),
    "operations.v1.OperationsService": dict.fromkeys(("GetProgress", "PreviewPrune", "Prune"), NOBODY)
    | dict.fromkeys(("ListDeadLetters", "ResendDeadLetter", "ListAuditEntries"), NUMBERS),
    "operations.v1.ReadersService": {"ListReaders": "tells of who looked, not of the customer"},
    "operations.v1.RecoveryService": dict.fromkeys(("BeginRecovery", "GetRecovery", "EndRecovery"), NOBODY),
    "privacy.v1.ErasureService": {"RequestErasure": CHANGED}
    | dict.fromkeys(("GetErasure", "ListErasures"), "tells of ids behind which nobody is known any more"),
    "profile.v1.AudienceService": {"ListZones": NOBODY},
    "profile.v1.ConsentService": {
        "VerifyConsents": NUMBERS,
        "ConfirmConsent": "a change by who holds a link; its line in the ledger says so",
    },
    "profile.v1.CorrectionService": {"RetractEvent": CHANGED},
    "profile.v1.IdentityService": dict.fromkeys(
        (
            "MergeCustomers",
            "UndoMerge",
            "SplitCustomer",
            "AssignIdentity",
            "ReleaseIdentity",
            "DecideIdentitySuggestion",
        ),
        CHANGED,
    ),
    "profile.v1.ProfileService": dict.fromkeys(
        ("IngestEvents", "StreamEvents"), "takes what the caller knows, and answers whose it was"
    )
    | dict.fromkeys(("SetListenedTypes", "AdvanceClock"), NOBODY),
}
"""By service, without `rapport.`: what is not noted, and why that is right."""
EVERY = {
    f"{service.full_name.removeprefix('rapport.')}/{method.name}"
    for service in our_services()
    for method in service.methods
}


def noted() -> Iterator[str]:
    """Each `Service/Method` for which a note is written in the class that serves it."""
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text("utf-8")
        if "Servicer)" not in text:
            continue
        tree = ast.parse(text)
        for served in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            service = next((name for base in served.bases if (name := _service(base))), "")
            told = {
                node.targets[0].id: node.value
                for node in (*tree.body, *ast.walk(served))
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            }
            for node in ast.walk(served):
                if name := _named(node, told):
                    yield f"{service}/{name}"


def _service(base: ast.expr) -> str:
    """The service behind `<module>_pb2_grpc.<Service>Servicer`."""
    if not isinstance(base, ast.Attribute) or not base.attr.endswith("Servicer"):
        return ""
    return base.attr.removesuffix("Servicer")


def _named(node: ast.AST, known: dict[str, ast.expr]) -> str:
    """The method under whose name that call notes reads; empty: it is no such call."""
    if not isinstance(node, ast.Call):
        return ""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called not in NOTES:
        return ""
    for arg in node.args:
        text = ast.unparse(known.get(arg.id, arg) if isinstance(arg, ast.Name) else arg).strip("f'\"")
        if text.startswith("/"):
            return text.rpartition("/")[2]
    return ""


@pytest.fixture(scope="module")
def written_down() -> set[str]:
    return set(noted())


def test_every_method_notes_who_was_told_or_says_why_not(written_down):
    spared = {f"{service}/{method}" for service, methods in UNNOTED.items() for method in methods}
    by_class = {rpc: rpc.rsplit(".", 1)[1] for rpc in EVERY}
    silent = {rpc for rpc, short in by_class.items() if short not in written_down}
    assert silent - spared == set(), "an answer about a customer leaves no trace"
    assert spared <= EVERY
    assert spared <= silent, "what is noted needs no excuse"
