"""Whether certificates carry the names that callers are known by, and hosts are called by."""

from pathlib import Path

from k8s.check.manifests import Finding, Manifest, of_kind, place, read_documents
from k8s.check.settings import CHECKOUT, addresses, environment, roles

_ACCESS = Path("rules/policies/access.yaml")


def check(manifests: list[Manifest], checkout: Path = CHECKOUT) -> list[Finding]:
    """Certificates that name nobody known, roles without one, hosts that no certificate stands for."""
    certificates = {c["spec"]["secretName"]: c for c in of_kind(manifests, "Certificate")}
    found = []
    hosts: dict[str, str] = {}
    for workload, container in roles(manifests):
        if container["args"][1] == "migrate":
            continue
        told = environment(container, manifests)
        service = str(container["args"][0]).split(".")[1]
        wanted = f"spiffe://{told.get('RAPPORT_TRUST_DOMAIN', '')}/{service}"
        volumes = workload["spec"]["template"]["spec"].get("volumes", [])
        secrets = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
        if not any(
            wanted in certificates[name]["spec"].get("uris", []) for name in secrets if name in certificates
        ):
            found.append(Finding(place(workload), f"mounts no certificate with the URI {wanted}"))
        if told.get("RAPPORT_NATS_USER") != service:
            found.append(Finding(place(workload), f"must be user {service} of NATS"))
        hosts |= {
            host: place(workload)
            for name, host, _ in addresses(workload, manifests)
            if name != "RAPPORT_SMSC"
        }
    services = {service["metadata"]["name"] for service in of_kind(manifests, "Service")}
    named = {
        name for certificate in certificates.values() for name in certificate["spec"].get("dnsNames", [])
    }
    found += [
        Finding(hosts[host], f"calls {host}, for which no certificate stands")
        for host in sorted(services & hosts.keys() - named)
    ]
    return found + _strangers(certificates, checkout)


def _strangers(certificates: dict[str, Manifest], checkout: Path) -> list[Finding]:
    """A certificate in the trust domain that may call is one that the access policy knows."""
    (policy,) = read_documents(checkout / _ACCESS)
    known = set(policy["callers"])
    return [
        Finding(place(certificate), f"{_ACCESS} knows no caller {uri.rpartition('/')[2]}")
        for certificate in certificates.values()
        for uri in certificate["spec"].get("uris", [])
        if uri.rpartition("/")[2] not in known | {"nats", "prometheus"}
    ]
