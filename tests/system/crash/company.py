"""Who else is at work while parts break: somebody who changes rules."""

import datetime as dt
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.system.conftest import Rapport, event, new_number, person, until
from tests.system.crash.disasters import wait_all_run

_RULE_SET = """\
ruleset: roaming-desk
title: Change {number}
owner: customer-care
stage: assist
active: {{from: 2018-01-01}}
trigger: roaming.entered
rules:
  - id: change-{number}
    when: [event.country exists]
    do: {{task: call-back, with: {{queue: roaming, note: abroad}}, category: service, due: 4h}}
tests:
  - name: whoever goes abroad is called
    given: {{profile: {{language: fr}}}}
    when: {{country: ES}}
    then: {{fires: [change-{number}]}}
"""


@dataclass
class RuleDesk:
    """Activates a rule set again and again, each time with another rule in it."""

    rapport: Rapport
    folder: Path
    pause: float = 4.0
    done: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rule-desk", daemon=True)
        self._number = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self, noon: dt.datetime) -> None:
        """Once all is well, the next change is taken and is what decides from then on."""
        wait_all_run(self.rapport)
        assert self._activate(), self.failed[-1]
        subject = f"msisdn:{new_number()}"
        abroad = event("roaming.entered", noon, subject, {"country": "ES"})
        self.rapport.take([*person(noon, subject), abroad])

        def decided() -> list[str]:
            listed = self.rapport.listing("decisions", "list", "--subject", subject)
            return [action["rule"] for decision in listed for action in decision["actions"]]

        until(decided)
        assert decided() == [f"change-{self._number}"]

    def check_explained(self, sample: int = 5) -> None:
        """Of the newest decisions, taken while rules changed, these explain themselves as they were."""
        listed = self.rapport.listing("decisions", "list", "--limit", "500")
        for decision in listed[:: max(1, len(listed) // sample)][:sample]:
            (told,) = self.rapport.listing("decisions", "explain", decision["decision_id"])
            assert told["reproduced"] is True, decision["decision_id"]

    def _run(self) -> None:
        while not self._stop.wait(self.pause):
            self._activate()

    def _activate(self) -> bool:
        self._number += 1
        file = self.folder / "roaming-desk.yaml"
        file.write_text(_RULE_SET.format(number=self._number), encoding="utf-8")
        told = self.rapport("rules", "activate", str(file), seconds=180)
        if told.returncode:
            self.failed.append(told.stderr.strip()[-300:])
        else:
            self.done.append(self._number)
        return told.returncode == 0
