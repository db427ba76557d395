"""The rules folder as pods see it is the rules folder."""

import shutil

import pytest
from ruamel.yaml import YAML

from k8s.check.__main__ import CHECKOUT
from k8s.check.kustomize import render
from k8s.check.rules import out_of_step, texts
from services.channel.adapters.policies.folder import PolicyFolder
from services.channel.adapters.templates import JinjaRenderer
from services.vocabulary.catalogue import load_catalogue


@pytest.fixture
def mounted(tmp_path):
    """The projected volume as a kubelet lays it out: what is seen are links into a folder of one moment."""
    maps = {found["metadata"]["name"]: found["data"] for found in render(CHECKOUT / "rules")}
    plain = {name.removesuffix(f"-{name[-10:]}"): data for name, data in maps.items()}
    (patch,) = YAML(typ="safe").load_all((CHECKOUT / "k8s/base/rules-volume.yaml").read_text())
    (volume,) = patch["spec"]["template"]["spec"]["volumes"]
    folder = tmp_path / "rules"
    moment = folder / "..2026_11_22"
    for source in volume["projected"]["sources"]:
        data = maps.get(source["configMap"]["name"]) or plain[source["configMap"]["name"]]
        for item in source["configMap"]["items"]:
            path = moment / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(data[item["key"]])
    (folder / "..data").symlink_to(moment.name)
    for path in moment.iterdir():
        (folder / path.name).symlink_to(f"..data/{path.name}")
    return folder


def test_both_files_list_the_rules_folder():
    assert out_of_step() == []


def test_a_new_file_must_be_listed(tmp_path):
    shutil.copytree(CHECKOUT / "rules", tmp_path / "rules")
    (tmp_path / "k8s/base").mkdir(parents=True)
    for path, text in texts(tmp_path).items():
        (tmp_path / path).write_text(text)
    assert out_of_step(tmp_path) == []
    (tmp_path / "rules/templates/plan-upgrade/de.sms.j2").write_text("Hallo")
    assert out_of_step(tmp_path) == ["rules/Kustomization", "k8s/base/rules-volume.yaml"]


def test_a_pod_sees_all_of_it(mounted):
    def files(folder):
        return {
            str(path.relative_to(folder)): path.read_text()
            for part in ("catalogue", "policies", "templates")
            for path in (folder / part).rglob("*")
            if path.is_file()
        }

    assert files(mounted) == files(CHECKOUT / "rules")


def test_the_services_read_it_there(mounted):
    catalogue = load_catalogue(mounted)
    assert catalogue.version == load_catalogue(CHECKOUT / "rules").version
    assert PolicyFolder(mounted / "policies", catalogue.default_zone).current().caps
    JinjaRenderer(mounted / "templates", catalogue.default_locale, catalogue.default_zone)
