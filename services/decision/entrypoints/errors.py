"""How this service's errors are told to callers."""

from __future__ import annotations

import grpc

from services.decision.app.tell_outcomes import AnotherStreamError
from services.decision.domain.errors import (
    CatalogueConditionError,
    DecisionError,
    EngineDiedError,
    EngineNotReadyError,
    EngineRefusedError,
    JobFailedError,
    KillsEngineError,
    NotReplayableError,
    RunawayRulesError,
)
from services.runtime.errors import ErrorKind, ErrorTable

ERRORS: ErrorTable = {
    AnotherStreamError: ErrorKind(grpc.StatusCode.ABORTED, "ANOTHER_STREAM"),
    CatalogueConditionError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "CATALOGUE_CONDITION"),
    DecisionError: ErrorKind(grpc.StatusCode.INTERNAL, "DECISION"),
    EngineRefusedError: ErrorKind(grpc.StatusCode.INTERNAL, "ENGINE_REFUSED"),
    RunawayRulesError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "RUNAWAY_RULES"),
    EngineDiedError: ErrorKind(grpc.StatusCode.UNAVAILABLE, "ENGINE_DIED"),
    EngineNotReadyError: ErrorKind(grpc.StatusCode.UNAVAILABLE, "ENGINE_NOT_READY"),
    KillsEngineError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "KILLS_ENGINE"),
    NotReplayableError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "NOT_REPLAYABLE"),
    JobFailedError: ErrorKind(grpc.StatusCode.INTERNAL, "JOB_FAILED"),
}
