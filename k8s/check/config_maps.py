"""Generated ConfigMaps: what goes into them, and the suffix that changes with it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from k8s.check.manifests import Manifest, ManifestError, walk

_SUFFIX_LETTERS = str.maketrans({"0": "g", "1": "h", "3": "k", "a": "m", "e": "t"})


def generated_data(folder: Path, entry: Manifest) -> dict[str, str]:
    """What a generator puts in: files (`key=path` or `path`), files of settings, literals."""
    data: dict[str, str] = {}
    for file in entry.get("files", []):
        key, equals, path = file.partition("=")
        source = folder / (path if equals else key)
        data[key if equals else source.name] = _read(source)
    for file in entry.get("envs", []):
        data.update(_settings(folder / file))
    for literal in entry.get("literals", []):
        key, equals, value = literal.partition("=")
        if not equals:
            raise ManifestError(f"{folder}: literal {literal!r}; write KEY=VALUE")
        data[key] = value.strip("'\"")
    return data


def suffix(config_map: Manifest) -> str:
    """The end of a generated name: ten letters that stand for the content, as kustomize makes them."""
    told = {"data": config_map.get("data", ""), "kind": "ConfigMap", "name": ""}  # it finds no name there
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":  # kustomize's JSON is fit for a web page
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(_SUFFIX_LETTERS)


def follow_names(manifests: list[Manifest], names: dict[str, str]) -> None:
    """Let everything that names a ConfigMap name it with its suffix."""
    for manifest in manifests:
        for path, mapping in walk(manifest.get("spec", {})):
            if path and path[-1] in {"configMap", "configMapRef", "configMapKeyRef"}:
                name: Any = mapping.get("name")
                mapping["name"] = names.get(name, name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error


def _settings(path: Path) -> dict[str, str]:
    found = {}
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.lstrip().partition("=")
        if not equals:
            raise ManifestError(f"{path}:{number}: write KEY=VALUE")
        found[key] = value
    return found
