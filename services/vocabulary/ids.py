"""Ids (UUIDv5) that derive from what caused a thing: the same cause gives the same id everywhere."""

from hashlib import sha1
from typing import NewType
from uuid import UUID
from zlib import crc32

DecisionId = NewType("DecisionId", str)
ActionId = NewType("ActionId", str)
MessageId = NewType("MessageId", str)
CustomerId = NewType("CustomerId", int)

PARTITIONS = 64
"""Partitions of an installation unless its settings say otherwise."""

_NAMESPACE = UUID("6f1c3a52-6f0e-5d55-9c0b-3d8f0f0d7a11").bytes
_SEPARATOR = "\x1f"


def derived_id(kind: str, *parts: str | int) -> str:
    """UUIDv5 (RFC 9562) of the kind and the parts, in this order, under the namespace of Rapport."""
    name = _SEPARATOR.join([kind, *[str(part) for part in parts]])
    text = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def decision_id(source: str, event_id: str, customer: int) -> DecisionId:
    """The decision about one event for one customer."""
    return DecisionId(derived_id("decision", source, event_id, customer))


def action_id(decision: str, rule_set: str, rule: str, position: int) -> ActionId:
    """The action at that position (from 0) of a rule in a decision."""
    return ActionId(derived_id("action", decision, rule_set, rule, position))


def message_id(action: str) -> MessageId:
    """The message that carries an action."""
    return MessageId(derived_id("message", action))


def later_message_id(action: str, after_micros: int) -> MessageId:
    """The message that carries an action to a channel whose turn came so long after the decision."""
    return MessageId(derived_id("message", action, after_micros))


def own_event_id(*parts: str | int) -> str:
    """An event of our own, named by what caused it, for example ("action.due", action id)."""
    return derived_id("event", *parts)


def partition_of(customer: int, partitions: int = PARTITIONS) -> int:
    """The partition of a customer."""
    return customer % partitions


def thing_partition(kind: str, key: str, partitions: int = PARTITIONS) -> int:
    """The partition of a thing: CRC-32 of ``kind:key``."""
    return crc32(f"{kind}:{key}".encode()) % partitions
