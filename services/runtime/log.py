"""One log line is one JSON object on standard error, whoever wrote it, and names no customer's address."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog

from services.runtime.tracing import trace_ids


def configure_logging(service: str, role: str, level: str = "info") -> None:
    """Send structlog and the standard library's logging down one chain to standard error."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _drop_exception_text,
                structlog.processors.JSONRenderer(serializer=_dump),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for noisy in ("nats", "asyncio", "alembic", "sqlalchemy"):
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))
    structlog.contextvars.bind_contextvars(service=service, role=role)


def describe_failure(error: BaseException) -> dict[str, Any]:
    """An exception for the log: its class, where it was raised, and for the database its code.

    Not its text: one made elsewhere (a violated key, a value that did not parse) may hold an address or name.
    """
    described: dict[str, Any] = {
        "error": type(error).__name__,
        "frames": [
            f"{_module(frame.filename)}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[-8:]
        ],
    }
    code = getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
    if code:
        described["sqlstate"] = code
    own = getattr(error, "message", None)
    if isinstance(own, str) and hasattr(error, "suggestion"):
        described["message"] = own
    if error.__cause__ is not None:
        described["cause"] = type(error.__cause__).__name__
    return described


def _module(path: str) -> str:
    return path.rsplit("/site-packages/", 1)[-1].rsplit("/services/", 1)[-1]


def _add_trace(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    ids = trace_ids()
    if ids is not None:
        event["trace_id"], event["span_id"] = ids
    return event


def _drop_exception_text(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    failure = event.pop("exc_info", None)
    if failure is True:
        failure = sys.exc_info()
    if isinstance(failure, tuple):
        failure = failure[1]
    if isinstance(failure, BaseException):
        event.update(describe_failure(failure))
    return event


def _dump(value: Any, **_options: Any) -> str:
    return orjson.dumps(value, default=str).decode()
