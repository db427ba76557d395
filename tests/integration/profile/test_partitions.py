"""A role refuses another number of partitions while anything of the old one waits, and takes it then."""

import pytest

from services.runtime.errors import SettingError
from services.runtime.streams import EVENTS, connect_bus
from tests.integration.profile.asking import event, ingest
from tests.integration.profile.conftest import running_profile, until
from tests.integration.profile.test_consents import rows


async def refused(settings) -> SettingError:
    with pytest.raises(SettingError) as caught:
        async with running_profile(settings):
            pass
    return caught.value


async def test_drained_stopped_changed_and_started_again(profile_settings):
    four, eight = profile_settings(partitions=4), profile_settings(partitions=8)
    async with running_profile(four) as profile:
        await profile.profile.IngestEvents(ingest(event("e1")))
    assert "1 messages of 4 partitions wait in the outbox" in (await refused(eight)).message
    bus = await connect_bus(four)

    async with running_profile(four, worker=True) as profile:

        async def handed_on() -> bool:
            on_the_stream = (await bus.jetstream.stream_info(EVENTS)).state.messages
            return on_the_stream == 1 and not await rows(profile, "SELECT 1 FROM outbox")

        await until(handed_on)
    error = await refused(eight)
    assert "1 messages of 4 partitions wait on EVENTS" in error.message
    assert (error.field, error.suggestion.split(",")[0]) == ("RAPPORT_PARTITIONS", "start with 4 again")
    await bus.jetstream.purge_stream(EVENTS)  # as if the decision service had taken it

    async with running_profile(eight) as profile:
        await profile.profile.IngestEvents(
            ingest(*(event(f"n{number}", subject=f"crm:{number}") for number in range(8)))
        )
        partitions = await rows(profile, "SELECT DISTINCT partition FROM outbox")
        assert max(partition for (partition,) in partitions) > 3
    await bus.close()
