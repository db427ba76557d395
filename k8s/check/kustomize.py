"""Renders a kustomization: exactly the features of kustomize that are used here, with the same outcome.

So that the manifests can be checked where there is no kustomize. A test compares both where there is one.
"""

import re
from copy import deepcopy
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from k8s.check.config_maps import follow_names, generated_data, suffix
from k8s.check.manifests import (
    Manifest,
    ManifestError,
    kind_of,
    name_of,
    place,
    read_documents,
    read_manifests,
    walk,
)
from k8s.check.patches import change, merge, takes_away

_FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_KNOWN = {
    "apiVersion",
    "kind",
    "namespace",
    "resources",
    "components",
    "configMapGenerator",
    "generatorOptions",
    "patches",
    "images",
}
_OF_NO_NAMESPACE = {"Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding", "StorageClass"}


@dataclass(slots=True)
class _Entry:
    manifest: Manifest
    with_suffix: bool = False


def render(folder: Path) -> list[Manifest]:
    """All objects that the kustomization of this folder stands for; ManifestError names what is wrong."""
    entries = _collect(folder, [])
    names: dict[str, str] = {}
    for entry in entries:
        if entry.with_suffix:
            name = name_of(entry.manifest)
            names[name] = f"{name}-{suffix(entry.manifest)}"
            entry.manifest["metadata"]["name"] = names[name]
    manifests = [entry.manifest for entry in entries]
    follow_names(manifests, names)
    return manifests


def _collect(folder: Path, given: list[_Entry]) -> list[_Entry]:
    """The objects of a folder; a component also changes those `given` by whoever uses it."""
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        raise ManifestError(f"{folder}: holds no kustomization.yaml")
    (told,) = read_documents(path)
    if unknown := set(told) - _KNOWN:
        raise ManifestError(f"{path}: {sorted(unknown)} are features that the check does not know")
    entries = list(given)
    for resource in told.get("resources", []):
        source = folder / resource
        if source.is_dir():
            _add(entries, _collect(source, []), path)
        else:
            _add(entries, [_Entry(manifest) for manifest in read_manifests(source)], path)
    for component in told.get("components", []):
        entries = _collect(folder / component, entries)
    for generator in told.get("configMapGenerator", []):
        _generate(entries, folder, generator, told.get("generatorOptions", {}))
    for patch in told.get("patches", []):
        entries = _patch(entries, folder, patch)
    if "namespace" in told:
        _set_namespace(entries, told["namespace"])
    for image in told.get("images", []):
        _set_image(entries, image)
    return entries


def _add(entries: list[_Entry], fresh: list[_Entry], path: Path) -> None:
    present = {place(entry.manifest) for entry in entries}
    for entry in fresh:
        if place(entry.manifest) in present:
            raise ManifestError(f"{path}: {place(entry.manifest)} comes twice")
        entries.append(entry)


def _generate(entries: list[_Entry], folder: Path, generator: Manifest, shared: Manifest) -> None:
    name = generator["name"]
    data = generated_data(folder, generator)
    behavior = generator.get("behavior", "create")
    present = next((e for e in entries if place(e.manifest) == f"ConfigMap/{name}"), None)
    if behavior == "merge":
        if present is None:
            raise ManifestError(f"{folder}: ConfigMap {name} is to be merged, and nothing makes it")
        present.manifest["data"] = {**present.manifest["data"], **data}
        return
    if present is not None or behavior != "create":
        raise ManifestError(f"{folder}: ConfigMap {name} is made twice; say behavior: merge")
    options = {**shared, **generator.get("options", {})}
    metadata: Manifest = {"name": name}
    if "labels" in options:
        metadata["labels"] = dict(options["labels"])
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    entries.append(_Entry(manifest, with_suffix=not options.get("disableNameSuffixHash", False)))


def _patch(entries: list[_Entry], folder: Path, patch: Manifest) -> list[_Entry]:
    where = f"{folder}: patch {patch.get('path', 'in place')}"
    if "path" in patch:
        documents = read_documents(folder / patch["path"])
    else:
        documents = [YAML(typ="safe").load(StringIO(patch["patch"]))]
    for document in documents:
        aims = patch.get("target") or {
            "kind": re.escape(document["kind"]),
            "name": re.escape(document["metadata"]["name"]),
        }
        hit = [entry for entry in entries if _is_meant(entry.manifest, aims)]
        if not hit:
            raise ManifestError(f"{where}: no object is {aims}")
        gone = []
        for entry in hit:
            if isinstance(document, list):
                entry.manifest = change(entry.manifest, document, where)
            elif takes_away(document):
                gone.append(entry)
            else:
                entry.manifest = _merged(entry.manifest, document)
        entries = [entry for entry in entries if entry not in gone]
    return entries


def _merged(manifest: Manifest, patch: Manifest) -> Manifest:
    """A patch for many objects has a name and a kind of its own, which count for nothing."""
    body = {key: value for key, value in patch.items() if key not in {"apiVersion", "kind", "metadata"}}
    metadata = {key: value for key, value in patch["metadata"].items() if key != "name"}
    merged: Manifest = merge(manifest, {**body, "metadata": metadata})
    return merged


def _is_meant(manifest: Manifest, aims: Manifest) -> bool:
    known = {"kind": kind_of(manifest), "name": name_of(manifest)}
    return all(re.fullmatch(str(pattern), known[key]) for key, pattern in aims.items())


def _set_namespace(entries: list[_Entry], namespace: str) -> None:
    for entry in entries:
        if kind_of(entry.manifest) not in _OF_NO_NAMESPACE:
            entry.manifest["metadata"]["namespace"] = namespace


def _set_image(entries: list[_Entry], image: Manifest) -> None:
    new = image.get("newName", image["name"])
    end = f"@{image['digest']}" if "digest" in image else f":{image['newTag']}" if "newTag" in image else ""
    for entry in entries:
        manifest = deepcopy(entry.manifest)
        for path, mapping in walk(manifest.get("spec", {})):
            if (
                path
                and path[-1] in {"containers", "initContainers"}
                and _image_name(mapping) == image["name"]
            ):
                mapping["image"] = f"{new}{end}"
        entry.manifest = manifest


def _image_name(container: Manifest) -> Any:
    told = str(container.get("image", "")).partition("@")[0]
    head, slash, last = told.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
