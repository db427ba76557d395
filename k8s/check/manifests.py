"""Objects of Kubernetes as they are read from YAML, and what is said of a wrong one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

Manifest = dict[str, Any]
WORKLOADS = ("Deployment", "StatefulSet", "Job")


class ManifestError(Exception):
    """A file cannot be read or rendered; the text says which, why, and what would be right."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong: the object it is wrong in, and what it should say."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def read_documents(path: Path) -> list[Any]:
    """The documents of a YAML file, without empty ones."""
    try:
        with path.open(encoding="utf-8") as file:
            return [document for document in YAML(typ="safe").load_all(file) if document is not None]
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    except YAMLError as error:
        raise ManifestError(f"{path}: not YAML: {error}") from error


def read_manifests(path: Path) -> list[Manifest]:
    """The objects of a file; each must say its apiVersion, kind and name."""
    found = read_documents(path)
    for document in found:
        if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
            raise ManifestError(f"{path}: an object lacks apiVersion or kind")
        if not document.get("metadata", {}).get("name"):
            raise ManifestError(f"{path}: a {document['kind']} has no metadata.name")
    return found


def kind_of(manifest: Manifest) -> str:
    """For example Deployment."""
    return str(manifest["kind"])


def name_of(manifest: Manifest) -> str:
    """The object's name."""
    return str(manifest["metadata"]["name"])


def place(manifest: Manifest) -> str:
    """How a finding names an object: Kind/name."""
    return f"{kind_of(manifest)}/{name_of(manifest)}"


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Those of these kinds."""
    return [manifest for manifest in manifests if kind_of(manifest) in kinds]


def pod_template(workload: Manifest) -> Manifest:
    """The template of a workload's pods."""
    template: Manifest = workload.get("spec", {}).get("template", {})
    return template


def pod_spec(workload: Manifest) -> Manifest:
    """What a workload's pods are."""
    spec: Manifest = pod_template(workload).get("spec", {})
    return spec


def pod_labels(workload: Manifest) -> dict[str, str]:
    """The labels of a workload's pods."""
    labels: dict[str, str] = pod_template(workload).get("metadata", {}).get("labels", {})
    return labels


def containers(workload: Manifest) -> list[Manifest]:
    """A workload's containers, those that only start the others included."""
    spec = pod_spec(workload)
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector (matchLabels form; empty: everything) matches these labels."""
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Manifest]]:
    """Every mapping inside a value, with the keys that lead to it (those of lists left out)."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from walk(inner, (*path, str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner, path)
