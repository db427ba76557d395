"""Whether objects are of the form that the pinned version of Kubernetes takes."""

from typing import Any

from kubernetes_validate import SchemaNotFoundError, ValidationError, validate

from k8s.check.manifests import Finding, Manifest, place

KUBERNETES = "1.34"
"""The oldest version that the manifests are written for."""

# Kinds that an operator adds to Kubernetes: what must be there for it to do anything.
_ADDED = {
    "cert-manager.io/v1/Issuer": ("spec",),
    "cert-manager.io/v1/Certificate": ("spec.secretName", "spec.issuerRef.name", "spec.privateKey.algorithm"),
    "keda.sh/v1alpha1/ScaledObject": (
        "spec.scaleTargetRef.name",
        "spec.minReplicaCount",
        "spec.maxReplicaCount",
        "spec.triggers",
    ),
    "external-secrets.io/v1/ExternalSecret": ("spec.secretStoreRef.name", "spec.target.name", "spec.data"),
    "monitoring.coreos.com/v1/ServiceMonitor": ("spec.selector.matchLabels", "spec.endpoints"),
    "monitoring.coreos.com/v1/PrometheusRule": ("spec.groups",),
}


def check(manifests: list[Manifest]) -> list[Finding]:
    """One finding for each object that is not of its form."""
    found = []
    for manifest in manifests:
        kind = f"{manifest['apiVersion']}/{manifest['kind']}"
        if kind in _ADDED:
            found += [
                Finding(place(manifest), f"{path} is missing")
                for path in _ADDED[kind]
                if not _at(manifest, path)
            ]
            continue
        try:
            validate(manifest, KUBERNETES, strict=True)
        except SchemaNotFoundError:
            found.append(Finding(place(manifest), f"{kind} is no kind of Kubernetes {KUBERNETES}"))
        except ValidationError as error:
            path = ".".join(map(str, error.path))
            found.append(Finding(place(manifest), f"{path or 'object'}: {error.message}"))
    return found


def _at(manifest: Manifest, path: str) -> Any:
    value: Any = manifest
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
