"""Whether the network policies let happen what must, and every port is under one of them."""

from typing import Any

from k8s.check.manifests import (
    WORKLOADS,
    Finding,
    Manifest,
    containers,
    of_kind,
    place,
    pod_labels,
)
from k8s.check.settings import addresses


def check(manifests: list[Manifest]) -> list[Finding]:
    """Ports without a policy, policies for nobody, and calls that no policy lets out."""
    policies = of_kind(manifests, "NetworkPolicy")
    workloads = of_kind(manifests, *WORKLOADS)
    found = []
    if not any(_denies_all(policy) for policy in policies):
        found.append(Finding("NetworkPolicy", "none denies everything that no other allows"))
    for policy in policies:
        hit = [
            workload
            for workload in workloads
            if _selects(policy["spec"]["podSelector"], pod_labels(workload))
        ]
        if not hit:
            found.append(Finding(place(policy), "selects no pod"))
        served = {end for workload in hit for port in _declared(workload) for end in _ends(port)}
        found += [
            Finding(place(policy), f"opens port {port}, which none of its pods serves")
            for port in _ports(policy, "ingress")
            if port not in served
        ]
    for workload in workloads:
        found += _unguarded(workload, policies)
        found += _shut_in(workload, manifests, policies)
    return found


def _denies_all(policy: Manifest) -> bool:
    spec = policy["spec"]
    return (
        spec.get("podSelector") == {}
        and set(spec.get("policyTypes", [])) == {"Ingress", "Egress"}
        and not spec.get("ingress")
        and not spec.get("egress")
    )


def _unguarded(workload: Manifest, policies: list[Manifest]) -> list[Finding]:
    """A port that no policy opens is one that nobody can reach, or one that somebody forgot."""
    mine = [policy for policy in policies if _selects(policy["spec"]["podSelector"], pod_labels(workload))]
    opened = {port for policy in mine for port in _ports(policy, "ingress")}
    return [
        Finding(place(workload), f"port {port['containerPort']} ({port.get('name')}) has no network policy")
        for port in _declared(workload)
        if not opened & _ends(port)
    ]


def _shut_in(workload: Manifest, manifests: list[Manifest], policies: list[Manifest]) -> list[Finding]:
    """What a workload's settings tell it to call, it must be let out to."""
    mine = [policy for policy in policies if _selects(policy["spec"]["podSelector"], pod_labels(workload))]
    services = {service["metadata"]["name"]: service for service in of_kind(manifests, "Service")}
    found = []
    for name, host, port in addresses(workload, manifests):
        service = services.get(host)
        if service is None:
            if "." not in host:
                found.append(Finding(place(workload), f"{name} names {host}, and there is no such Service"))
            elif not any(_lets_out(policy, None, port) for policy in mine):
                found.append(
                    Finding(place(workload), f"{name}: no network policy lets it out to port {port}")
                )
            continue
        entry = next((entry for entry in service["spec"]["ports"] if entry["port"] == port), None)
        if entry is None:
            found.append(Finding(place(workload), f"{name} names port {port}, which Service {host} has not"))
            continue
        selector = service["spec"]["selector"]
        behind = [w for w in of_kind(manifests, *WORKLOADS) if selector.items() <= pod_labels(w).items()]
        target = _number(entry.get("targetPort", port), behind)
        for other in behind:
            if not any(_lets_out(policy, pod_labels(other), target) for policy in mine):
                found.append(
                    Finding(
                        place(workload), f"{name}: no network policy lets it out to {place(other)}:{target}"
                    )
                )
            guards = [p for p in policies if _selects(p["spec"]["podSelector"], pod_labels(other))]
            if not any(_lets_in(guard, pod_labels(workload), target, other) for guard in guards):
                found.append(
                    Finding(
                        place(workload), f"{name}: no network policy lets it in at {place(other)}:{target}"
                    )
                )
    return found


def _number(target: int | str, workloads: list[Manifest]) -> int | str:
    for workload in workloads:
        for port in _declared(workload):
            if port.get("name") == target:
                return int(port["containerPort"])
    return target


def _lets_out(policy: Manifest, labels: dict[str, str] | None, port: int | str) -> bool:
    """Whether a policy lets its pods call that port of pods with these labels, or of addresses outside."""
    for rule in policy["spec"].get("egress", []):
        if rule.get("ports") and port not in {entry.get("port") for entry in rule["ports"]}:
            continue
        for peer in rule.get("to", [{}]):
            if labels is None:
                if "podSelector" not in peer:
                    return True
            elif "podSelector" in peer and _selects(peer["podSelector"], labels):
                return True
    return False


def _lets_in(policy: Manifest, labels: dict[str, str], port: int | str, workload: Manifest) -> bool:
    names = {entry.get("name") for entry in _declared(workload) if entry["containerPort"] == port}
    for rule in policy["spec"].get("ingress", []):
        if not {entry.get("port") for entry in rule.get("ports", [])} & {port, *names}:
            continue
        peers = [peer for peer in rule.get("from", [{}]) if "namespaceSelector" not in peer]  # other places
        if any(_selects(peer.get("podSelector", {}), labels) for peer in peers):
            return True
    return False


def _ports(policy: Manifest, direction: str) -> list[Any]:
    return [port["port"] for rule in policy["spec"].get(direction, []) for port in rule.get("ports", [])]


def _ends(port: Manifest) -> set[Any]:
    return {port.get("name"), port["containerPort"]}


def _declared(workload: Manifest) -> list[Manifest]:
    return [port for container in containers(workload) for port in container.get("ports", [])]


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """A label selector with matchLabels and matchExpressions of operator In."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    return all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )
