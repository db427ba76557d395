"""The overlays are in order, and whatever is broken in them is found."""

from copy import deepcopy
from functools import cache

import pytest

from k8s.check import __main__ as command
from k8s.check import network, pods, references, rules, schema, selection, settings, trust
from k8s.check.__main__ import CHECKOUT, OVERLAYS, findings, main
from k8s.check.kustomize import render
from k8s.check.manifests import ManifestError, place
from services.channel.mail_settings import MailSettings
from services.channel.settings import ChannelSettings
from services.runtime.settings import Settings

DEV, PROD = (CHECKOUT / overlay for overlay in OVERLAYS)


@cache
def rendered(overlay):
    return render(overlay)


def wrong(manifests, overlay=PROD):
    """What all checks but that of the form find; as text."""
    found = [
        *pods.check(manifests),
        *references.check(manifests, overlay),
        *selection.check(manifests),
        *network.check(manifests),
        *settings.check(manifests),
        *trust.check(manifests),
    ]
    return [str(finding) for finding in found]


class Broken:
    """The objects of an overlay, to be broken."""

    def __init__(self, overlay=PROD):
        self.overlay = overlay
        self.manifests = deepcopy(rendered(overlay))

    def __getitem__(self, name):
        return next(m for m in self.manifests if place(m) == name or place(m).startswith(f"{name}-"))

    def remove(self, name):
        self.manifests.remove(self[name])

    def pod(self, name):
        return self[name]["spec"]["template"]["spec"]

    def container(self, name):
        return self.pod(name)["containers"][0]

    def wrong(self):
        return wrong(self.manifests, self.overlay)


def test_the_overlays_are_in_order(capsys):
    assert main() == 0, capsys.readouterr().out
    assert capsys.readouterr().out.count(", 0 wrong") == 2


def test_the_form_is_checked_first():
    broken = Broken()
    broken["Service/profile"]["spec"]["ports"] = "8443"
    (found,) = findings(broken.manifests, PROD)
    assert str(found).startswith("Service/profile: spec.ports")


def test_the_command_fails_when_something_is_wrong(monkeypatch, capsys):
    def out_of_step():
        return ["rules/Kustomization"]

    def broken(path):
        if path == PROD:
            raise ManifestError("a file is gone")
        b = Broken(DEV)
        root(b)
        return b.manifests

    monkeypatch.setattr(rules, "out_of_step", out_of_step)
    monkeypatch.setattr(command, "render", broken)
    assert main() == 1
    said = capsys.readouterr().out
    assert "rules/Kustomization does not list the rules folder as it is; run: make k8s-rules" in said
    assert "k8s/overlays/prod: a file is gone" in said
    assert "dev: Deployment/profile-server: securityContext.runAsUser must be set and not 0" in said


def no_seccomp(b):
    del b.pod("Deployment/profile-server")["securityContext"]["seccompProfile"]


def root(b):
    b.pod("Deployment/profile-server")["securityContext"]["runAsUser"] = 0


def writable(b):
    b.container("Deployment/profile-server")["securityContext"]["readOnlyRootFilesystem"] = False


def capable(b):
    b.container("StatefulSet/nats")["securityContext"]["capabilities"] = {"drop": ["NET_RAW"]}


def unbounded(b):
    del b.container("Deployment/decision-worker")["resources"]["limits"]


def no_tag(b):
    b.container("StatefulSet/nats")["image"] = "nats"


def latest(b):
    b.container("StatefulSet/nats")["image"] = "nats:latest"


def no_probe(b):
    del b.container("Deployment/channel-worker")["readinessProbe"]


def probe_of_another_port(b):
    b.container("Deployment/channel-worker")["livenessProbe"]["grpc"]["port"] = 8087


def liveness_that_asks_for_readiness(b):
    b.container("Deployment/channel-worker")["livenessProbe"]["grpc"]["service"] = "ready"


def health_elsewhere(b):
    b["ConfigMap/rapport-settings"]["data"]["RAPPORT_HEALTH_LISTEN"] = "0.0.0.0:8087"


def port_not_declared(b):
    b.container("Deployment/profile-server")["ports"].pop(0)


def port_not_served(b):
    b.container("Deployment/profile-server")["ports"].append({"name": "debug", "containerPort": 5678})


def port_without_policy(b):
    for policy in ("NetworkPolicy/profile-server", "NetworkPolicy/every-role"):
        for rule in b[policy]["spec"]["ingress"]:
            rule["ports"] = [port for port in rule["ports"] if port["port"] != "metrics"]


def no_default_deny(b):
    b.remove("NetworkPolicy/default-deny")


def policy_for_nobody(b):
    b["NetworkPolicy/decision-calls"]["spec"]["podSelector"]["matchLabels"] = {"app.kubernetes.io/name": "x"}


def call_not_let_out(b):
    b["NetworkPolicy/decision-calls"]["spec"]["egress"].pop()


def call_not_let_in(b):
    b["NetworkPolicy/channel-server"]["spec"]["ingress"].pop(0)


def no_way_to_the_database(b):
    b["NetworkPolicy/to-databases"]["spec"]["egress"][0]["ports"] = [{"port": 5433}]


def target_of_no_service(b):
    b["ConfigMap/rapport-settings"]["data"]["RAPPORT_CHANNEL_TARGET"] = "chanel:8443"


def target_of_no_port(b):
    b["ConfigMap/rapport-settings"]["data"]["RAPPORT_CHANNEL_TARGET"] = "channel:8440"


def secret_of_nobody(b):
    b.remove("ExternalSecret/profile-nats")


def secret_without_the_key(b):
    b["ExternalSecret/profile-nats"]["spec"]["data"][0]["secretKey"] = "secret"


def secret_not_mounted(b):
    volumes = b.pod("Deployment/channel-worker")["volumes"]
    for volume in volumes:
        sources = volume.get("projected", {}).get("sources", [])
        sources[:] = [s for s in sources if s.get("secret", {}).get("name") != "channel-providers"]


def secret_in_the_environment(b):
    b.container("Deployment/profile-server")["env"].append(
        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "profile-nats", "key": "password"}}}
    )


def no_such_config_map(b):
    b.remove("ConfigMap/nats-config")


def volume_not_there(b):
    b.pod("Deployment/profile-server")["volumes"].pop()


def volume_not_mounted(b):
    b.pod("Deployment/profile-server")["volumes"].append({"name": "more", "emptyDir": {}})


def no_account(b):
    b.remove("ServiceAccount/channel")


def unknown_setting(b):
    b["ConfigMap/rapport-settings"]["data"]["RAPPORT_PARTITION"] = "64"


def missing_setting(b):
    del b["ConfigMap/rapport-settings"]["data"]["RAPPORT_NATS_CA_FILE"]


def file_not_mounted(b):
    b["ConfigMap/rapport-settings"]["data"]["RAPPORT_TLS_KEY_FILE"] = "/etc/rapport/key.pem"


def too_little_grace(b):
    b.pod("Deployment/profile-worker")["terminationGracePeriodSeconds"] = 30


def no_such_module(b):
    b.container("Deployment/profile-worker")["args"] = ["services.profiles.main", "worker"]


def no_such_role(b):
    b.container("Deployment/profile-worker")["args"] = ["services.profile.main", "works"]


def service_of_no_pod(b):
    b["Service/profile"]["spec"]["selector"] = {"app.kubernetes.io/name": "profiles"}


def service_of_no_port(b):
    b["Service/profile"]["spec"]["ports"][0]["targetPort"] = "grcp"


def selector_of_others(b):
    b["Deployment/profile-worker"]["spec"]["selector"]["matchLabels"] = {"app.kubernetes.io/name": "x"}


def selector_of_two(b):
    b["Deployment/profile-worker"]["spec"]["selector"]["matchLabels"].pop("app.kubernetes.io/component")


def budget_that_lets_nobody_go(b):
    budget = b["PodDisruptionBudget/decision-server"]["spec"]
    del budget["maxUnavailable"]
    budget["minAvailable"] = 2


def budget_that_lets_all_go(b):
    b["PodDisruptionBudget/decision-server"]["spec"]["maxUnavailable"] = 2


def no_budget(b):
    b.remove("PodDisruptionBudget/nats")


def scaled_twice(b):
    scaler = deepcopy(b["HorizontalPodAutoscaler/profile-server"])
    scaler["metadata"]["name"] = "again"
    b.manifests.append(scaler)


def scaled_and_counted(b):
    b["Deployment/profile-server"]["spec"]["replicas"] = 3


def scales_nothing(b):
    b["ScaledObject/profile-worker"]["spec"]["scaleTargetRef"]["name"] = "profile-workers"


def metrics_in_the_open(b):
    b["ServiceMonitor/profile"]["spec"]["endpoints"][0]["scheme"] = "http"


def certificate_of_another(b):
    b["Certificate/profile"]["spec"]["uris"] = ["spiffe://rapport.local/channel"]


def certificate_of_a_stranger(b):
    b["Certificate/profile"]["spec"]["uris"].append("spiffe://rapport.local/reporting")


def certificate_for_another_host(b):
    b["Certificate/profile"]["spec"]["dnsNames"] = ["profiles"]


def another_user_of_nats(b):
    b.container("Deployment/profile-worker")["env"] = [
        entry if entry["name"] != "RAPPORT_NATS_USER" else {**entry, "value": "channel"}
        for entry in b.container("Deployment/profile-worker")["env"]
    ]


BREAKS = {
    no_seccomp: "Deployment/profile-server: securityContext.seccompProfile.type",
    root: "securityContext.runAsUser must be set and not 0",
    writable: "readOnlyRootFilesystem must be true",
    capable: "StatefulSet/nats container nats: capabilities.drop",
    unbounded: "resources.limits.memory must be set",
    no_tag: "image 'nats' must have a digest",
    latest: "image 'nats:latest' must have a digest",
    no_probe: "readinessProbe must be set",
    probe_of_another_port: "livenessProbe asks port 8087; health is served on 8086",
    liveness_that_asks_for_readiness: "livenessProbe asks for 'ready'; it must ask for 'live'",
    health_elsewhere: "serves health on 8087, and declares 8086",
    port_not_declared: "serves grpc on 8443, and declares None",
    port_not_served: "declares port debug, and does not serve it",
    port_without_policy: "port 9443 (metrics) has no network policy",
    no_default_deny: "none denies everything",
    policy_for_nobody: "NetworkPolicy/decision-calls: selects no pod",
    call_not_let_out: "TARGET: no network policy lets it out to Deployment/channel-server:8443",
    call_not_let_in: "TARGET: no network policy lets it in at Deployment/channel-server:8443",
    no_way_to_the_database: "RAPPORT_DATABASE_URL: no network policy lets it out to port 5432",
    target_of_no_service: "RAPPORT_CHANNEL_TARGET names chanel, and there is no such Service",
    target_of_no_port: "RAPPORT_CHANNEL_TARGET names port 8440, which Service channel has not",
    secret_of_nobody: "Secret profile-nats is named, and nothing makes it",
    secret_without_the_key: "Secret profile-nats has no key password",
    secret_not_mounted: "Secret/channel-providers: nothing mounts it",
    secret_in_the_environment: "X comes from a secret; mount it as a file",
    no_such_config_map: "is named, and nothing makes it",
    volume_not_there: "is mounted, and there is none",
    volume_not_mounted: "volume more is there, and nothing mounts it",
    no_account: "ServiceAccount channel is named, and there is none",
    unknown_setting: "RAPPORT_PARTITION is no setting that any service reads",
    missing_setting: "RAPPORT_NATS_CA_FILE must be set",
    file_not_mounted: "RAPPORT_TLS_KEY_FILE is /etc/rapport/key.pem, which is in no mounted volume",
    too_little_grace: "is ended after 30 s, too soon for a drain of 25 s",
    no_such_module: "runs services.profiles.main, and there is no such module",
    no_such_role: "it must be server, worker or migrate",
    service_of_no_pod: "Service/profile: selects no pod",
    service_of_no_port: "port grcp is not served by Deployment/profile-server",
    selector_of_others: "its selector does not match its own pods' labels",
    selector_of_two: "its selector also matches the pods of Deployment/profile-server",
    budget_that_lets_nobody_go: "lets no pod of 2 go",
    budget_that_lets_all_go: "lets all 2 pods go at once",
    no_budget: "StatefulSet/nats: has no PodDisruptionBudget",
    scaled_twice: "is scaled by HorizontalPodAutoscaler/profile-server, HorizontalPodAutoscaler/again",
    scaled_and_counted: "says replicas, which a scaler decides",
    scales_nothing: "scales Deployment profile-workers, and there is none",
    metrics_in_the_open: "metrics are asked for over https with a certificate",
    certificate_of_another: "mounts no certificate with the URI spiffe://rapport.local/profile",
    certificate_of_a_stranger: "knows no caller reporting",
    certificate_for_another_host: "calls profile, for which no certificate stands",
    another_user_of_nats: "must be user profile of NATS",
}


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda break_it: break_it.__name__)
def test_a_break_is_found(break_it):
    broken = Broken()
    break_it(broken)
    found = broken.wrong()
    assert any(BREAKS[break_it] in text for text in found), found


def test_a_listed_secret_that_nobody_mounts_is_found():
    broken = Broken(DEV)
    broken.pod("Deployment/smsc")["volumes"] = []
    for name in ("server", "worker"):
        broken.pod(f"Deployment/channel-{name}")["volumes"] = []
    assert "Secret/channel-providers: nothing mounts it" in broken.wrong()


def test_an_object_that_is_not_of_its_form_is_found():
    broken = Broken()
    deployment = broken["Deployment/profile-server"]
    deployment["spec"]["replica"] = 3
    assert "replica" in str(schema.check([deployment])[0])


def test_an_unknown_kind_is_found():
    (finding,) = schema.check([{"apiVersion": "v2", "kind": "Deployment", "metadata": {"name": "x"}}])
    assert "is no kind of Kubernetes" in str(finding)


def test_an_added_kind_without_what_it_needs_is_found():
    broken = Broken()
    certificate = broken["Certificate/profile"]
    del certificate["spec"]["issuerRef"]
    assert [str(found) for found in schema.check([certificate])] == [
        "Certificate/profile: spec.issuerRef.name is missing"
    ]


def test_settings_are_known_by_the_names_that_the_services_read():
    known = settings.known_names()
    assert {"RAPPORT_LISTEN", "RAPPORT_NATS_PASSWORD_FILE", "RAPPORT_SMSC_PASSWORD_FILE"} <= known
    assert {"RAPPORT_SMSC_PASSWORD", "RAPPORT_WALL", "RAPPORT_SERVICE"}.isdisjoint(known)


@pytest.mark.parametrize("overlay", [DEV, PROD], ids=["dev", "prod"])
def test_every_role_understands_what_it_is_told(overlay, tmp_path):
    (tmp_path / "keys").write_text("ab" * 32)
    manifests = rendered(overlay)
    for _, container in settings.roles(manifests):
        service, role = container["args"][0].split(".")[1], container["args"][1]
        told = settings.environment(container, manifests)
        here = {name: value for name, value in told.items() if not name.endswith("PASSWORD_FILE")}
        if "RAPPORT_LINK_KEYS_FILE" in here:
            here["RAPPORT_LINK_KEYS_FILE"] = str(tmp_path / "keys")
        read = Settings.from_environment(service, role, here)
        assert read.database_url.startswith(f"postgresql+psycopg://{service}@")
        if role != "migrate":
            assert read.clock == "wall"
            assert read.stream_replicas == 3
        if role == "worker":
            ChannelSettings.of(read)
        if service == "channel" and role != "migrate":
            assert MailSettings.of(read).web_listen == ("0.0.0.0:8080" if role == "server" else "")
