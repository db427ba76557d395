"""The limits of rule sets over all customers of a simulation, in order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.domain.ledger import LimitAccount
from services.decision.domain.limits import Room, Turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.domain.limits import Limits, Turn
    from services.vocabulary.words import RefusalReason


class LimitedTurns:
    """Hands out turns as live decisions do; begins with nothing used."""

    def __init__(self, limits: Mapping[str, Limits]) -> None:
        self._limits = limits
        self._used = {name: LimitAccount() for name in limits}

    def take(
        self, rule_set: str, action_id: str, cost: float, expires_micros: int | None, now_micros: int
    ) -> Turn | tuple[RefusalReason, str] | None:
        """An action's turn, or why it has none; None: its rule set has no limits."""
        account = self._used.get(rule_set)
        if account is None:
            return None
        room = Room(
            self._limits[rule_set], now_micros, account.spent, account.free_micros, dict(account.days)
        )
        turns = Turns(rule_set, room)
        turn = turns.take(action_id, cost, expires_micros)
        if not isinstance(turn, tuple) and turn.use is not None:
            account.spent += turn.use.cost
            account.days[turn.use.day] = account.days.get(turn.use.day, 0) + 1
            account.free_micros = turns.free_micros
        return turn
