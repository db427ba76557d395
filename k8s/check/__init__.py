"""Renders the overlays as kustomize would, and checks what they say: `python -m k8s.check`."""
