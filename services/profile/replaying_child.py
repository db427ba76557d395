"""Tells one replay of the past to the server that started it (python -m services.profile.replaying_child)."""

import asyncio
import gc
import os
import pickle
import sys
from contextlib import suppress
from typing import BinaryIO, Final

import orjson
import uvloop

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.past_packing import PastSnapshots
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.replaying_process import HEADER, Over, Question
from services.profile.app.replaying import Page, Replaying
from services.runtime.data_keys import DataKeys
from services.runtime.database import Database
from services.runtime.errors import UnavailableError
from services.runtime.keys import Keyring, Sealer
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue

_BEHIND: Final = 5
"""So much nicer than the server: what is live goes before what is past."""
_PAGE_EVENTS: Final = 20_000


def command() -> list[str]:
    """How the server starts this program."""
    return [sys.executable, "-m", "services.profile.replaying_child"]


async def tell(question: Question, answers: BinaryIO) -> None:
    """Everything that was asked for, then that it is over."""
    settings = question.settings
    database = Database(settings.database_url, 2)
    following: asyncio.Task[None] | None = None
    over = Over()
    try:
        sealer = Sealer(Keyring.read(settings.keys_file))
        keys = DataKeys(database, sealer, settings.service, settings.keys_file)
        await keys.begin()
        following = asyncio.create_task(keys.run())
        catalogue = load_catalogue(settings.rules_folder)
        types = Types(catalogue, sealer)
        store = PostgresStore(
            database, Outbox(database, partitions=settings.partitions), types, partitions=settings.partitions
        )
        replaying = Replaying(store, catalogue, PastSnapshots(types), orjson.loads, page_events=_PAGE_EVENTS)
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)  # what a page makes is gone by counting
        async for page in replaying.pages(question.share, question.wanted):
            _write(answers, page)
    except UnavailableError:
        over = Over(away=True)
    except BrokenPipeError:
        return  # nobody listens any more
    except Exception as error:  # noqa: BLE001  told to the server, whose error it is; its text may hold data
        over = Over(type(error).__name__)
    finally:
        if following is not None:
            following.cancel()
        await database.close()
    with suppress(BrokenPipeError):
        _write(answers, over)


def _write(answers: BinaryIO, answer: Page | Over) -> None:
    frame = pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)
    answers.write(HEADER.pack(len(frame)))
    answers.write(frame)
    answers.flush()


def main() -> None:
    """Standard output belongs to the answers alone: whatever else prints goes to standard error."""
    os.nice(_BEHIND)
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    question = pickle.loads(questions.read(*HEADER.unpack(questions.read(HEADER.size))))  # noqa: S301  our server's
    uvloop.run(tell(question, answers))


if __name__ == "__main__":
    main()
