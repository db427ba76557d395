"""Whether the ConfigMaps, secrets, accounts and volumes that objects name are there, and each is used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from k8s.check.manifests import (
    WORKLOADS,
    Finding,
    Manifest,
    containers,
    kind_of,
    name_of,
    of_kind,
    place,
    pod_spec,
    read_documents,
)

_CERTIFICATE_KEYS = {"tls.crt", "tls.key", "ca.crt"}
_LISTED = "secrets.yaml"
Wanted = tuple[str, str, str | None]
"""ConfigMap or Secret, its name, the key; None: the whole of it."""


def listed_secrets(overlay: Path) -> dict[str, dict[str, Any]]:
    """The secrets that an overlay says are made by its own tool: name, keys, how each is made."""
    path = overlay / _LISTED
    if not path.exists():
        return {}
    (told,) = read_documents(path)
    listed: dict[str, dict[str, Any]] = told["secrets"]
    return listed


def check(manifests: list[Manifest], overlay: Path) -> list[Finding]:
    """What is named and not there, and which secrets nobody uses."""
    there = _there(manifests, overlay)
    found = []
    used: set[str] = set()
    for manifest in manifests:
        for kind, name, key in _named(manifest):
            if kind == "Secret":
                used.add(name)
            if (kind, name) not in there:
                found.append(Finding(place(manifest), f"{kind} {name} is named, and nothing makes it"))
            elif key is not None and key not in there[kind, name]:
                found.append(Finding(place(manifest), f"{kind} {name} has no key {key}"))
    for kind, name in sorted(there):
        if kind == "Secret" and name not in used:
            found.append(Finding(f"Secret/{name}", "nothing mounts it"))
    return found + _volumes(manifests) + _accounts(manifests)


def _there(manifests: list[Manifest], overlay: Path) -> dict[tuple[str, str], set[str]]:
    there: dict[tuple[str, str], set[str]] = {
        ("Secret", name): set(keys) for name, keys in listed_secrets(overlay).items()
    }
    for manifest in manifests:
        spec = manifest.get("spec", {})
        match kind_of(manifest):
            case "ConfigMap" | "Secret" as kind:
                there[kind, name_of(manifest)] = {*manifest.get("data", {}), *manifest.get("stringData", {})}
            case "Certificate":
                there["Secret", spec.get("secretName", "")] = _CERTIFICATE_KEYS
            case "ExternalSecret":
                shaped = spec["target"].get("template", {}).get("data")
                keys = set(shaped) if shaped else {entry["secretKey"] for entry in spec.get("data", [])}
                there["Secret", spec["target"]["name"]] = keys
    return there


def _named(manifest: Manifest) -> Iterator[Wanted]:
    if kind_of(manifest) in WORKLOADS:
        for volume in pod_spec(manifest).get("volumes", []):
            yield from _of_volume(volume)
            for source in volume.get("projected", {}).get("sources", []):
                yield from _of_volume(source)
        for container in containers(manifest):
            yield from _of_environment(container)
    if kind_of(manifest) == "ServiceMonitor":
        for endpoint in manifest["spec"].get("endpoints", []):
            told = endpoint.get("tlsConfig", {})
            for part in (
                told.get("ca", {}).get("secret"),
                told.get("cert", {}).get("secret"),
                told.get("keySecret"),
            ):
                if part:
                    yield "Secret", part["name"], part["key"]
    if kind_of(manifest) == "Issuer" and "ca" in manifest["spec"]:
        yield "Secret", manifest["spec"]["ca"]["secretName"], "tls.key"


def _of_volume(source: Manifest) -> Iterator[Wanted]:
    for kind, field in (("ConfigMap", "configMap"), ("Secret", "secret")):
        told = source.get(field)
        if told is None:
            continue
        name = told.get("name") or told.get("secretName")
        items = told.get("items")
        if items is None:
            yield kind, name, None
        for item in items or []:
            yield kind, name, item["key"]


def _of_environment(container: Manifest) -> Iterator[Wanted]:
    for source in container.get("envFrom", []):
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if field in source:
                yield kind, source[field]["name"], None
    for entry in container.get("env", []):
        for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            told = entry.get("valueFrom", {}).get(field)
            if told:
                yield kind, told["name"], told["key"]


def _volumes(manifests: list[Manifest]) -> list[Finding]:
    found = []
    for workload in of_kind(manifests, *WORKLOADS):
        where = place(workload)
        declared = {volume["name"] for volume in pod_spec(workload).get("volumes", [])}
        claims = workload["spec"].get("volumeClaimTemplates", [])
        declared |= {claim["metadata"]["name"] for claim in claims}
        mounted = {
            mount["name"] for container in containers(workload) for mount in container.get("volumeMounts", [])
        }
        found += [
            Finding(where, f"volume {name} is mounted, and there is none")
            for name in sorted(mounted - declared)
        ]
        found += [
            Finding(where, f"volume {name} is there, and nothing mounts it")
            for name in sorted(declared - mounted)
        ]
        for container in containers(workload):
            secret = [
                entry["name"]
                for entry in container.get("env", [])
                if "secretKeyRef" in entry.get("valueFrom", {})
            ]
            found += [Finding(where, f"{name} comes from a secret; mount it as a file") for name in secret]
    return found


def _accounts(manifests: list[Manifest]) -> list[Finding]:
    accounts = {name_of(account) for account in of_kind(manifests, "ServiceAccount")}
    return [
        Finding(place(workload), f"ServiceAccount {name} is named, and there is none")
        for workload in of_kind(manifests, *WORKLOADS)
        if (name := pod_spec(workload).get("serviceAccountName")) and name not in accounts
    ]
