"""Patches of kustomize: strategic merge, and single operations of JSON Patch (RFC 6902)."""

from copy import deepcopy
from typing import Any

from k8s.check.manifests import Manifest, ManifestError

# The lists of a pod, a Service and a policy that are merged item by item, and the key that tells items apart.
_ITEM_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "topologySpreadConstraints": "topologyKey",
}
_PATCH = "$patch"


def merge(target: Any, patch: Any) -> Any:
    """What is there, changed by a strategic merge patch; None takes a value away."""
    if not isinstance(target, dict) or not isinstance(patch, dict):
        return deepcopy(patch)
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, list) and key in _ITEM_KEYS:
            merged[key] = _merge_items(merged.get(key, []), value, _ITEM_KEYS[key])
        else:
            merged[key] = merge(merged.get(key), value) if isinstance(value, dict) else deepcopy(value)
    return merged


def takes_away(patch: Manifest) -> bool:
    """Whether a patch removes the whole object."""
    return patch.get(_PATCH) == "delete"


def _merge_items(target: list[Any], patch: list[Any], key: str) -> list[Any]:
    """What the patch names comes first, in its order, as kustomize has it."""
    present = {item[key]: item for item in target}
    named = []
    for item in patch:
        before = present.pop(item[key], {})
        if item.get(_PATCH) != "delete":
            named.append(merge(before, item))
    return [*named, *present.values()]


def change(target: Manifest, operations: list[Any], where: str) -> Manifest:
    """What is there, changed by operations of JSON Patch: add, replace, remove."""
    changed = deepcopy(target)
    for operation in operations:
        known = {"add", "replace", "remove"}
        if operation.get("op") not in known:
            raise ManifestError(f"{where}: operation {operation.get('op')!r}; known are {sorted(known)}")
        _operate(changed, operation, where)
    return changed


def _operate(root: Manifest, operation: Manifest, where: str) -> None:
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    holder: Any = root
    for part in parents:
        try:
            holder = holder[int(part) if isinstance(holder, list) else part]
        except (KeyError, IndexError, ValueError) as error:
            raise ManifestError(f"{where}: {operation['path']} leads nowhere") from error
    if isinstance(holder, list):
        position = len(holder) if last == "-" else int(last)
        if operation["op"] == "add":
            holder.insert(position, deepcopy(operation["value"]))
        elif position >= len(holder):
            raise ManifestError(f"{where}: {operation['path']} leads nowhere")
        elif operation["op"] == "replace":
            holder[position] = deepcopy(operation["value"])
        else:
            del holder[position]
        return
    if operation["op"] != "add" and last not in holder:
        raise ManifestError(f"{where}: {operation['path']} leads nowhere")
    if operation["op"] == "remove":
        del holder[last]
    else:
        holder[last] = deepcopy(operation["value"])
