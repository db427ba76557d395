"""What recorded decisions are measured by: the bare engine on their events, snapshots prepared."""

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rapport.types.v1 import stream_pb2

from bench.engine.bare import BareShard
from bench.engine.levels import compiled
from services.decision.adapters.material import unpack_material
from services.decision.adapters.situations import situation_of, trigger_key
from services.decision.app.jobs import Source
from services.vocabulary.catalogue import load_catalogue

if TYPE_CHECKING:
    import psycopg

SAMPLE = 3_000
ROUNDS = 3
_SAMPLE = "SELECT material FROM decision ORDER BY decision_id LIMIT %s"


def bare_micros(connection: "psycopg.Connection[Any]", rules: Path, files: Sequence[Path]) -> float:
    """Microseconds of processor time a decision, of the fastest of some rounds."""
    catalogue = load_catalogue(rules)
    sources = [Source(file.stem, 1, file.name, file.read_text(encoding="utf-8")) for file in files]
    program = compiled(sources, catalogue)
    bare: dict[str, BareShard] = {}
    ready: list[tuple[BareShard, str, tuple[str, ...]]] = []
    with connection:
        rows = connection.execute(_SAMPLE, (SAMPLE,)).fetchall()
    for number, (material,) in enumerate(rows):
        told, seen = unpack_material(bytes(material))
        event = stream_pb2.TakenEvent.FromString(told)
        situation = situation_of(event, stream_pb2.Snapshot.FromString(seen), catalogue, arms={})
        for shard in (*program.shared, *program.shards.get(trigger_key(event), ())):
            if shard.key not in bare:
                bare[shard.key] = BareShard(shard)
            session = f"{number:x}-{len(ready):x}"
            prepared = bare[shard.key].prepared(session, dict(shard.properties_of(situation)), ())
            ready.append((bare[shard.key], session, prepared))
    gc.collect()
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for engine, session, prepared in ready:
            engine.run(session, prepared)
        best = min(best, time.process_time() - began)
    for engine in bare.values():
        engine.close()
    return best * 1e6 / max(1, len(rows))
