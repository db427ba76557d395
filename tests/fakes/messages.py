"""The channel service's word on what became of actions, without it."""


class MessagesFake:
    """The Messages port; ``told`` by action."""

    def __init__(self, told=None):
        self.told = dict(told or {})

    async def of(self, candidates):
        ids = {candidate.action_id for candidate in candidates}
        return {action: told for action, told in self.told.items() if action in ids}
