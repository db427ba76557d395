"""What this process has counted for Prometheus, as tests compare it: before and after."""

from prometheus_client.parser import text_string_to_metric_families

from services.runtime.metrics import ENGINE_RESTARTS, ENGINE_SET_ASIDE, exposition, show

Counted = dict[tuple[str, ...], float]


def counted() -> Counted:
    """Every sample by its name and its labels' values, in the order of the labels' names."""
    show(ENGINE_RESTARTS, ENGINE_SET_ASIDE)  # as the decision service does
    return {
        (sample.name, *(v for k, v in sorted(sample.labels.items()) if k not in {"service", "role"})): (
            sample.value
        )
        for family in text_string_to_metric_families(exposition("test", "test").decode())
        for sample in family.samples
    }


def grown(before: Counted, prefix: str = "rapport_") -> Counted:
    """What grew since, of the names that begin so, and by how much."""
    after = counted()
    return {
        key: after[key] - before.get(key, 0)
        for key in after
        if key[0].startswith(prefix) and after[key] != before.get(key, 0)
    }
