"""Whether the environment of each role is one that it understands, and its ports are those it is told of."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from k8s.check.manifests import (
    WORKLOADS,
    Finding,
    Manifest,
    containers,
    name_of,
    of_kind,
    place,
    pod_spec,
)

CHECKOUT = Path(__file__).resolve().parents[2]
PREFIX = "RAPPORT_"
_MODULE = "services."
_SERVED = {
    "RAPPORT_LISTEN": "grpc",
    "RAPPORT_TOKEN_LISTEN": "grpc-tokens",
    "RAPPORT_WEB_LISTEN": "web",
    "RAPPORT_HEALTH_LISTEN": "health",
    "RAPPORT_METRICS_LISTEN": "metrics",
}
_NEEDED = (
    "RAPPORT_DATABASE_URL",
    "RAPPORT_DATABASE_PASSWORD_FILE",
    "RAPPORT_NATS_URL",
    "RAPPORT_NATS_USER",
    "RAPPORT_NATS_PASSWORD_FILE",
    "RAPPORT_NATS_CA_FILE",
    "RAPPORT_TLS_CERT_FILE",
    "RAPPORT_TLS_KEY_FILE",
    "RAPPORT_TLS_CA_FILE",
    "RAPPORT_HEALTH_LISTEN",
    "RAPPORT_METRICS_LISTEN",
    "RAPPORT_RULES_FOLDER",
)


@cache
def known_names(checkout: Path = CHECKOUT) -> frozenset[str]:
    """The names of the environment that services/*/*settings.py read: what they ask for by a literal name."""
    names: set[str] = set()
    for path in sorted((checkout / "services").glob("*/*settings.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            literals = [
                a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
            ]
            asked = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            for literal in literals[:1]:
                end = "_FILE" if asked == "secret" else ""
                names.add(f"{PREFIX}{literal.upper()}{end}")
    return frozenset(names)


def environment(container: Manifest, manifests: list[Manifest]) -> dict[str, str]:
    """What a container is told, ConfigMaps looked up; values that only the cluster knows are left out."""
    maps = {name_of(found): found.get("data", {}) for found in of_kind(manifests, "ConfigMap")}
    told: dict[str, str] = {}
    for source in container.get("envFrom", []):
        told.update(maps.get(source.get("configMapRef", {}).get("name"), {}))
    for entry in container.get("env", []):
        reference = entry.get("valueFrom", {}).get("configMapKeyRef")
        if reference:
            told[entry["name"]] = maps.get(reference["name"], {}).get(reference["key"], "")
        elif "value" in entry:
            told[entry["name"]] = str(entry["value"])
    return told


def roles(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Every container that runs a module of ours, with its workload."""
    for workload in of_kind(manifests, *WORKLOADS):
        for container in containers(workload):
            if str((container.get("args") or [""])[0]).startswith(_MODULE):
                yield workload, container


_NOT_CALLED = frozenset({"RAPPORT_JWT_ISSUER", "RAPPORT_LINK_URL"})
"""Addresses that are only written into something."""


def addresses(workload: Manifest, manifests: list[Manifest]) -> Iterator[tuple[str, str, int]]:
    """What a workload's settings tell it to call: setting, host, port."""
    for container in containers(workload):
        command = list(container.get("args") or [])
        told = environment(container, manifests)
        for name, value in told.items():
            if _calls(command, name) or name in {"RAPPORT_SMSC", "RAPPORT_SMTP"}:
                for peer in value.split(","):
                    host, _, port = peer.strip().rpartition(":")
                    yield name, host, int(port)
            elif name == "RAPPORT_JWKS" and "RAPPORT_TOKEN_LISTEN" not in told:
                continue  # only servers check tokens
            elif "://" in value:
                found = urlsplit(value)
                if found.hostname and name not in _NOT_CALLED:
                    yield name, found.hostname, found.port or {"https": 443, "http": 80}.get(found.scheme, 0)


_CALLED = {"profile": (), "decision": ("profile", "channel"), "channel": ("profile",)}
"""Whom each service calls; its settings name every service."""


def _calls(command: list[str], name: str) -> bool:
    if not name.endswith("_TARGET"):
        return False
    service = command[0].split(".")[1] if command else ""
    return name.removeprefix(PREFIX).removesuffix("_TARGET").lower() in _CALLED.get(service, ())


def check(manifests: list[Manifest], checkout: Path = CHECKOUT) -> list[Finding]:
    """Unknown settings, missing ones, files that nothing mounts, ports that differ from the settings."""
    known = known_names(checkout)
    found = []
    for workload, container in roles(manifests):
        where = place(workload)
        told = environment(container, manifests)
        found += [
            Finding(where, f"{name} is no setting that any service reads")
            for name in sorted(told)
            if name not in known
        ]
        found += [Finding(where, what) for what in _command(container, checkout)]
        found += [Finding(where, what) for what in _files(container, told)]
        if list(container["args"])[1] != "migrate":
            found += [Finding(where, f"{name} must be set") for name in _NEEDED if not told.get(name)]
            found += [Finding(where, what) for what in _ports(container, told)]
            found += [Finding(where, what) for what in _drain(workload, told)]
    return found


def _command(container: Manifest, checkout: Path) -> list[str]:
    module = str(container["args"][0])
    if not (checkout / (module.replace(".", "/") + ".py")).exists():
        return [f"runs {module}, and there is no such module"]
    if len(container["args"]) != 2 or container["args"][1] not in {"server", "worker", "migrate"}:
        return [f"runs {module} as {container['args'][1:]}; it must be server, worker or migrate"]
    return []


def _files(container: Manifest, told: dict[str, str]) -> list[str]:
    mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
    named = {name: value for name, value in told.items() if name.endswith("_FILE") and value}
    if told.get("RAPPORT_JWKS", "").startswith("/") and told.get("RAPPORT_TOKEN_LISTEN"):
        named["RAPPORT_JWKS"] = told["RAPPORT_JWKS"]
    return [
        f"{name} is {value}, which is in no mounted volume"
        for name, value in named.items()
        if not any(value.startswith(f"{mount}/") for mount in mounts)
    ]


def _ports(container: Manifest, told: dict[str, str]) -> list[str]:
    declared = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
    served = {port: int(told[name].rpartition(":")[2]) for name, port in _SERVED.items() if told.get(name)}
    found = []
    for name, port in served.items():
        if declared.get(name) != port:
            found.append(f"serves {name} on {port}, and declares {declared.get(name)}")
    found += [f"declares port {name}, and does not serve it" for name in declared if name not in served]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container.get(probe, {}).get("grpc", {}).get("port")
        if asked is not None and asked != served.get("health"):
            found.append(f"{probe} asks port {asked}; health is served on {served.get('health')}")
    return found


def _drain(workload: Manifest, told: dict[str, str]) -> list[str]:
    drain = int(told.get("RAPPORT_DRAIN_SECONDS") or 0)
    grace = int(pod_spec(workload).get("terminationGracePeriodSeconds", 30))
    if not drain:
        return ["RAPPORT_DRAIN_SECONDS must be set"]
    if grace < drain + 10:
        return [f"is ended after {grace} s, too soon for a drain of {drain} s; leave 10 s more"]
    return []
