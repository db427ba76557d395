"""How the rules folder gets into pods: three ConfigMaps, and a volume that lays them out as a folder again.

`python -m k8s.check.rules` writes both files anew; the check says when they do not list what is there.
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_LISTING = Path("rules/Kustomization")
_VOLUME = Path("k8s/base/rules-volume.yaml")
_FOLDERS = ("catalogue", "policies", "templates")

_LISTING_HEAD = """\
# What pods see of this folder; written by: make k8s-rules
# A changed catalogue or template is a new ConfigMap, and so new pods; policies change under running ones.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
configMapGenerator:
"""
_VOLUME_HEAD = """\
# The rules as a folder, in every pod of ours; written by: make k8s-rules
apiVersion: apps/v1
kind: Deployment
metadata:
  name: every-role
spec:
  template:
    spec:
      volumes:
        - name: rules
          projected:
            defaultMode: 292  # 0444
            sources:
"""


def texts(checkout: Path = CHECKOUT) -> dict[Path, str]:
    """What the two files have to say, by their place in the checkout."""
    listing, volume = _LISTING_HEAD, _VOLUME_HEAD
    for folder in _FOLDERS:
        files = sorted(
            path.relative_to(checkout / "rules")
            for path in (checkout / "rules" / folder).rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
        listing += f"  - name: rules-{folder}\n"
        if folder == "policies":
            listing += "    options: {disableNameSuffixHash: true}\n"
        listing += "    files:\n"
        listing += "".join(f"      - {_key(path)}={path.as_posix()}\n" for path in files)
        volume += f"              - configMap:\n                  name: rules-{folder}\n"
        volume += "                  items:\n"
        volume += "".join(
            f"                    - {{key: {_key(path)}, path: {path.as_posix()}}}\n" for path in files
        )
    return {_LISTING: listing, _VOLUME: volume}


def out_of_step(checkout: Path = CHECKOUT) -> list[str]:
    """The files that do not list the rules folder as it is."""
    found = []
    for path, text in texts(checkout).items():
        present = (checkout / path).read_text(encoding="utf-8") if (checkout / path).exists() else ""
        if present != text:
            found.append(str(path))
    return found


def _key(path: Path) -> str:
    """A ConfigMap knows no folders."""
    return ".".join(path.parts[1:])


def main() -> int:
    """Write the files; the exit status."""
    for path, text in texts().items():
        (CHECKOUT / path).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
