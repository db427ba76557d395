"""`python -m k8s.check`: renders both overlays and says what is wrong with them; 1 if anything is."""

import sys
from pathlib import Path

from k8s.check import network, pods, references, rules, schema, selection, settings, trust
from k8s.check.kustomize import render
from k8s.check.manifests import Finding, Manifest, ManifestError

CHECKOUT = Path(__file__).resolve().parents[2]
OVERLAYS = ("k8s/overlays/dev", "k8s/overlays/prod")


def findings(manifests: list[Manifest], overlay: Path) -> list[Finding]:
    """Everything that is wrong with the objects of an overlay."""
    found = schema.check(manifests)
    if found:
        return sorted(set(found))  # the other checks read what is of its form
    return sorted(
        {
            *pods.check(manifests),
            *references.check(manifests, overlay),
            *selection.check(manifests),
            *network.check(manifests),
            *settings.check(manifests),
            *trust.check(manifests),
        }
    )


def main() -> int:
    """The exit status."""
    wrong = 0
    for path in rules.out_of_step():
        print(f"{path} does not list the rules folder as it is; run: make k8s-rules")
        wrong += 1
    for name in OVERLAYS:
        overlay = CHECKOUT / name
        try:
            manifests = render(overlay)
        except ManifestError as error:
            print(f"{name}: {error}")
            wrong += 1
            continue
        found = findings(manifests, overlay)
        for finding in found:
            print(f"{name}: {finding}")
        wrong += len(found)
        print(f"{name}: {len(manifests)} objects, {len(found)} wrong (Kubernetes {schema.KUBERNETES})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
