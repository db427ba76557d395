"""Our renderer comes to what kustomize comes to, and says what it cannot do."""

import shutil
import subprocess
from io import StringIO

import pytest
from ruamel.yaml import YAML

from k8s.check.__main__ import CHECKOUT, OVERLAYS
from k8s.check.kustomize import render
from k8s.check.manifests import ManifestError, place

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: one, labels: {app: one}}
spec:
  template:
    spec:
      containers:
        - name: c
          image: thing
          env: [{name: A, value: "1"}, {name: B, value: "2"}]
          envFrom: [{configMapRef: {name: told}}]
      volumes: [{name: v, emptyDir: {}}]
"""
PATCHED = "resources: [one.yaml]\npatches:\n"
GENERATOR = "configMapGenerator:\n  - {name: told, literals: [X=1]}\n"


@pytest.fixture
def folder(tmp_path):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        return tmp_path

    write("one.yaml", DEPLOYMENT)
    return write


def container(manifests):
    (deployment,) = (m for m in manifests if m["kind"] == "Deployment")
    return deployment["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlays_come_out_as_with_kubectl(overlay):
    done = subprocess.run(["kubectl", "kustomize", str(CHECKOUT / overlay)], capture_output=True, check=True)
    assert done.stderr == b""  # nothing is deprecated
    theirs = [found for found in YAML(typ="safe").load_all(StringIO(done.stdout.decode())) if found]
    ours = render(CHECKOUT / overlay)
    assert {place(found): found for found in ours} == {place(found): found for found in theirs}
    assert len(ours) == len(theirs)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_patches_come_out_as_with_kubectl(folder):
    path = folder(
        "kustomization.yaml",
        "namespace: there\nresources: [one.yaml]\n" + GENERATOR + "images: [{name: thing, newTag: '2'}]\n"
        "patches:\n"
        "  - target: {kind: Deployment}\n"
        "    patch: |-\n"
        "      - {op: add, path: /spec/replicas, value: 2}\n"
        "      - {op: remove, path: /spec/template/spec/containers/0/env/0}\n"
        "  - patch: |-\n"
        "      apiVersion: apps/v1\n"
        "      kind: Deployment\n"
        "      metadata: {name: one, labels: {app: null, more: 'yes'}}\n"
        "      spec:\n"
        "        template:\n"
        "          spec:\n"
        "            volumes: [{name: v, $patch: delete}, {name: w, emptyDir: {}}]\n"
        "            containers: [{name: c, env: [{name: B, value: '3'}, {name: C, value: '<&>'}]}]\n",
    )
    done = subprocess.run(["kubectl", "kustomize", str(path)], capture_output=True, check=True)
    theirs = [found for found in YAML(typ="safe").load_all(StringIO(done.stdout.decode())) if found]
    assert {place(found): found for found in render(path)} == {place(found): found for found in theirs}


def test_a_generated_name_ends_with_what_stands_for_its_content(folder):
    path = folder(
        "kustomization.yaml",
        "resources: [one.yaml]\nconfigMapGenerator:\n  - {name: told, literals: [A=b]}\n",
    )
    # what kustomize 5.5 makes of it
    assert container(render(path))["envFrom"] == [{"configMapRef": {"name": "told-b9t2424hkf"}}]


def test_a_name_stays_where_that_is_asked_for(folder):
    options = "    options: {disableNameSuffixHash: true, labels: {l: m}}\n"
    path = folder(
        "kustomization.yaml",
        "resources: [one.yaml]\nconfigMapGenerator:\n  - name: told\n    literals: [A=b]\n" + options,
    )
    (made,) = (found for found in render(path) if found["kind"] == "ConfigMap")
    assert made["metadata"] == {"name": "told", "labels": {"l": "m"}}


def test_an_overlay_adds_to_what_the_base_generates(folder):
    folder("base/kustomization.yaml", GENERATOR)
    folder("settings.env", "# a comment\n\nY=2=3\n")
    path = folder(
        "kustomization.yaml",
        "resources: [base]\nconfigMapGenerator:\n  - {name: told, behavior: merge, envs: [settings.env]}\n",
    )
    (made,) = render(path)
    assert made["data"] == {"X": "1", "Y": "2=3"}


def test_a_component_changes_what_is_there(folder):
    folder("part/two.yaml", DEPLOYMENT.replace("one", "two"))
    folder(
        "part/kustomization.yaml",
        "kind: Component\nresources: [two.yaml]\npatches:\n"
        "  - patch: '{apiVersion: apps/v1, kind: Deployment, metadata: {name: one}, $patch: delete}'\n",
    )
    path = folder("kustomization.yaml", "resources: [one.yaml]\ncomponents: [part]\n")
    assert [place(found) for found in render(path)] == ["Deployment/two"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("replacements: []\n", "features that the check does not know"),
        ("resources: [two.yaml]\n", "two.yaml: No such file"),
        ("resources: [one.yaml, one.yaml]\n", "Deployment/one comes twice"),
        (GENERATOR.replace("literals", "behavior: merge, literals"), "nothing makes it"),
        (GENERATOR + "  - {name: told, literals: [X=2]}\n", "made twice"),
        (GENERATOR.replace("X=1", "X"), "write KEY=VALUE"),
        (
            "resources: [one.yaml]\npatches: [{target: {kind: Job}, patch: '[]'}]\n",
            "no object is {'kind': 'Job'}",
        ),
        (
            PATCHED + "  - {target: {kind: Deployment}, patch: '[{op: replace, path: /spec/x, value: 1}]'}\n",
            "/spec/x leads nowhere",
        ),
        (
            PATCHED + "  - {target: {kind: Deployment}, patch: '[{op: move, path: /spec/x, from: /spec}]'}\n",
            "operation 'move'",
        ),
        ("a: [\n", "not YAML"),
    ],
)
def test_what_cannot_be_rendered_says_why(folder, text, says):
    with pytest.raises(ManifestError) as caught:
        render(folder("kustomization.yaml", text))
    assert says in str(caught.value)


def test_a_folder_without_a_kustomization_says_so(tmp_path):
    with pytest.raises(ManifestError) as caught:
        render(tmp_path)
    assert "holds no kustomization.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["kind: Pod\n", "apiVersion: v1\nkind: Pod\nmetadata: {}\n"])
def test_an_object_without_a_name_or_a_kind_says_so(folder, text):
    folder("one.yaml", text)
    with pytest.raises(ManifestError):
        render(folder("kustomization.yaml", "resources: [one.yaml]\n"))
