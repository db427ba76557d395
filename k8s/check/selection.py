"""Whether Services, disruption budgets and scalers find the pods that they are for."""

from k8s.check.manifests import (
    WORKLOADS,
    Finding,
    Manifest,
    containers,
    kind_of,
    name_of,
    of_kind,
    place,
    pod_labels,
    pod_template,
    selects,
)

_LASTING = ("Deployment", "StatefulSet")


def check(manifests: list[Manifest]) -> list[Finding]:
    """What selects nothing, too much, or contradicts what it is for."""
    workloads = of_kind(manifests, *WORKLOADS)
    return [
        *_own_labels(of_kind(manifests, *_LASTING)),
        *_services(of_kind(manifests, "Service"), workloads),
        *_monitors(manifests),
        *_scalers(manifests),
        *_budgets(manifests),
    ]


def lowest_replicas(workload: Manifest, manifests: list[Manifest]) -> int:
    """How many pods there are when there are fewest."""
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        if _scaled(scaler) == name_of(workload):
            spec = scaler["spec"]
            return int(spec.get("minReplicas", spec.get("minReplicaCount", 1)))
    return int(workload["spec"].get("replicas", 1))


def _scaled(scaler: Manifest) -> str:
    return str(scaler["spec"]["scaleTargetRef"]["name"])


def _own_labels(workloads: list[Manifest]) -> list[Finding]:
    found = []
    for workload in workloads:
        selector = workload["spec"].get("selector", {})
        if not selector.get("matchLabels") or not selects(selector, pod_labels(workload)):
            found.append(Finding(place(workload), "its selector does not match its own pods' labels"))
        constraints = pod_template(workload)["spec"].get("topologySpreadConstraints", [])
        found += [
            Finding(place(workload), "a topologySpreadConstraint counts other pods than its own")
            for constraint in constraints
            if not selects(constraint.get("labelSelector", {}), pod_labels(workload))
        ]
        found += [
            Finding(place(workload), f"its selector also matches the pods of {place(other)}")
            for other in workloads
            if other is not workload and selects(selector, pod_labels(other))
        ]
    return found


def _services(services: list[Manifest], workloads: list[Manifest]) -> list[Finding]:
    found = []
    for service in services:
        selector = {"matchLabels": service["spec"].get("selector", {})}
        behind = [workload for workload in workloads if selects(selector, pod_labels(workload))]
        if not behind or not selector["matchLabels"]:
            found.append(Finding(place(service), "selects no pod"))
            continue
        for port in service["spec"].get("ports", []):
            target = port.get("targetPort", port["port"])
            found += [
                Finding(place(service), f"port {target} is not served by {place(workload)}")
                for workload in behind
                if not any(target in ports_of(container) for container in containers(workload))
            ]
    return found


def ports_of(container: Manifest) -> set[int | str]:
    """The ports a container declares, by number and by name."""
    ports = container.get("ports", [])
    return {port["containerPort"] for port in ports} | {port["name"] for port in ports if "name" in port}


def _monitors(manifests: list[Manifest]) -> list[Finding]:
    found = []
    for monitor in of_kind(manifests, "ServiceMonitor"):
        services = [
            service
            for service in of_kind(manifests, "Service")
            if selects(monitor["spec"]["selector"], service["metadata"].get("labels", {}))
        ]
        if not services:
            found.append(Finding(place(monitor), "selects no Service"))
        named = {port.get("name") for service in services for port in service["spec"].get("ports", [])}
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint.get("port") not in named:
                found.append(Finding(place(monitor), f"no Service has a port named {endpoint.get('port')}"))
            if endpoint.get("scheme") != "https" or "keySecret" not in endpoint.get("tlsConfig", {}):
                found.append(Finding(place(monitor), "metrics are asked for over https with a certificate"))
    return found


def _scalers(manifests: list[Manifest]) -> list[Finding]:
    found = []
    by_target: dict[str, list[Manifest]] = {}
    deployments = {name_of(workload): workload for workload in of_kind(manifests, "Deployment")}
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        by_target.setdefault(_scaled(scaler), []).append(scaler)
        spec = scaler["spec"]
        least = spec.get("minReplicas", spec.get("minReplicaCount", 1))
        most = spec.get("maxReplicas", spec.get("maxReplicaCount", 0))
        if most < least:
            found.append(Finding(place(scaler), f"scales from {least} to {most}"))
    for target, scalers in by_target.items():
        if target not in deployments:
            found.append(Finding(place(scalers[0]), f"scales Deployment {target}, and there is none"))
        elif "replicas" in deployments[target]["spec"]:
            found.append(Finding(f"Deployment/{target}", "says replicas, which a scaler decides"))
        if len(scalers) > 1:
            found.append(Finding(f"Deployment/{target}", f"is scaled by {', '.join(map(place, scalers))}"))
    return found


def _budgets(manifests: list[Manifest]) -> list[Finding]:
    found = []
    lasting = of_kind(manifests, *_LASTING)
    covered = set()
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        spec = budget["spec"]
        behind = [workload for workload in lasting if selects(spec.get("selector", {}), pod_labels(workload))]
        if len(behind) != 1:
            found.append(
                Finding(place(budget), f"selects the pods of {len(behind)} workloads; it must be one")
            )
            continue
        covered.add(place(behind[0]))
        least = lowest_replicas(behind[0], manifests)
        kept, given = spec.get("minAvailable"), spec.get("maxUnavailable")
        if given in {0, "0%"} or kept == "100%" or (isinstance(kept, int) and kept >= least):
            found.append(Finding(place(budget), f"lets no pod of {least} go: no node could ever be emptied"))
        elif isinstance(given, int) and given >= least > 1:
            found.append(Finding(place(budget), f"lets all {least} pods go at once"))
    for workload in lasting:
        alone = kind_of(workload) == "StatefulSet" or "replicas" in workload["spec"]
        if place(workload) not in covered and not (alone and lowest_replicas(workload, manifests) == 1):
            found.append(Finding(place(workload), "has no PodDisruptionBudget"))
    return found
