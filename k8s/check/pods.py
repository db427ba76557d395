"""What every pod must be: without needless rights, bounded, asked how it is, of a known image."""

import re
from typing import Any

from k8s.check.manifests import (
    WORKLOADS,
    Finding,
    Manifest,
    containers,
    kind_of,
    of_kind,
    place,
    pod_spec,
)

OWN = "rapport"
_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
_TAG = re.compile(r".+:(?!latest$)[\w][\w.-]*")


def check(manifests: list[Manifest]) -> list[Finding]:
    """What is wrong with the pods of all workloads."""
    found = []
    for workload in of_kind(manifests, *WORKLOADS):
        where = place(workload)
        spec = pod_spec(workload)
        found += [Finding(where, what) for what in _pod(spec)]
        for container in containers(workload):
            name = f"{where} container {container.get('name')}"
            found += [Finding(name, what) for what in _container(container)]
            if kind_of(workload) != "Job":
                found += [Finding(name, what) for what in _probes(container)]
    return found


def _pod(spec: Manifest) -> list[str]:
    context = spec.get("securityContext", {})
    return _unless(
        (spec.get("automountServiceAccountToken") is False, "automountServiceAccountToken must be false"),
        (spec.get("enableServiceLinks") is False, "enableServiceLinks must be false"),
        (bool(spec.get("serviceAccountName")), "serviceAccountName must be set"),
        (context.get("runAsNonRoot") is True, "securityContext.runAsNonRoot must be true"),
        (context.get("runAsUser", 0) > 0, "securityContext.runAsUser must be set and not 0"),
        (
            context.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "securityContext.seccompProfile.type must be RuntimeDefault",
        ),
        (
            not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
            "it must not share the host's",
        ),
        (not any("hostPath" in volume for volume in spec.get("volumes", [])), "hostPath is not allowed"),
    )


def _container(container: Manifest) -> list[str]:
    context = container.get("securityContext", {})
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    image = str(container.get("image", ""))
    return _unless(
        (context.get("allowPrivilegeEscalation") is False, "allowPrivilegeEscalation must be false"),
        (context.get("readOnlyRootFilesystem") is True, "readOnlyRootFilesystem must be true"),
        (context.get("capabilities", {}).get("drop") == ["ALL"], "capabilities.drop must be [ALL]"),
        (not context.get("capabilities", {}).get("add"), "capabilities.add must be empty"),
        (not context.get("privileged"), "privileged is not allowed"),
        (bool(requests.get("cpu")), "resources.requests.cpu must be set"),
        (bool(requests.get("memory")), "resources.requests.memory must be set"),
        (bool(limits.get("memory")), "resources.limits.memory must be set"),
        (
            bool(_DIGEST.fullmatch(image) or _TAG.fullmatch(image)),
            f"image {image!r} must have a digest or a tag (not latest): name it in the overlay's images",
        ),
    )


def _probes(container: Manifest) -> list[str]:
    ports = container.get("ports", [])
    served: set[Any] = {port.get("name") for port in ports} | {port.get("containerPort") for port in ports}
    must = ("livenessProbe", "readinessProbe")
    found = [f"{name} must be set" for name in must if not container.get(name)]
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container.get(name) or {}
        for way in ("grpc", "tcpSocket", "httpGet"):
            port = probe.get(way, {}).get("port")
            if port is not None and port not in served:
                found.append(f"{name} asks port {port}, which the container does not declare")
        asked = probe.get("grpc", {}).get("service")
        wanted = "ready" if name == "readinessProbe" else "live"
        if "grpc" in probe and asked != wanted:
            found.append(f"{name} asks for {asked!r}; it must ask for {wanted!r}")
        if container.get("name") == OWN and "grpc" not in probe and _is_role(container):
            found.append(f"{name} must ask the health port over gRPC")
    return found


def _is_role(container: Manifest) -> bool:
    return list(container.get("args", []))[1:] in (["server"], ["worker"])


def _unless(*rules: tuple[bool, str]) -> list[str]:
    return [what for holds, what in rules if not holds]
