"""What a local stack trusts: made once, renewed before it ends, for its owner's eyes only."""

import datetime as dt
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from services.cli.main import main
from services.cli.stack.authority import Authority
from services.cli.stack.issuer import AUDIENCE, ISSUER
from services.cli.stack.layout import Layout
from services.cli.stack.options import SERVICES
from services.cli.stack.trust import CERTIFICATES, TOKENS, ensure_trust, issuer_of, trust_environment
from services.cli.stack.trust_files import OPERATOR, authority_file, token_file
from services.runtime.access_policy import all_scopes, declared_scopes
from services.runtime.settings import Settings

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "var")
    layout.prepare()
    ensure_trust(layout, NOW)
    return layout


def contents(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.secret("x").parent.iterdir()}


def changed(layout: Layout, days: float) -> set[str]:
    """Which files another start so many days later makes anew."""
    before = contents(layout)
    ensure_trust(layout, NOW + dt.timedelta(days=days))
    after = contents(layout)
    return {name for name in after if before.get(name) != after[name]}


def test_everything_is_made_once_for_its_owner_only(layout: Layout):
    names = {"ca.crt", "ca.key", "signing.key", "jwks.json", "keys.json"}
    names |= {f"{name}.{kind}" for name in CERTIFICATES for kind in ("crt", "key")}
    names |= {f"{subject}.token" for subject in (OPERATOR, *TOKENS)}
    assert set(contents(layout)) == names
    for name in names:
        assert stat.S_IMODE(layout.secret(name).stat().st_mode) == 0o600
    assert changed(layout, 1) == set()


def test_what_ends_soon_is_renewed(layout: Layout):
    ending = {f"{name}.{kind}" for name in CERTIFICATES for kind in ("crt", "key")}
    ending |= {f"{subject}.token" for subject in (OPERATOR, *TOKENS)}
    assert changed(layout, 59) == set()
    assert changed(layout, 61) == ending


def test_an_authority_that_ends_takes_its_certificates_along(layout: Layout):
    anew = changed(layout, 3650 - 29)
    assert {"ca.crt", "ca.key", *(f"{name}.crt" for name in CERTIFICATES)} <= anew
    authority = x509.load_pem_x509_certificate(authority_file(layout).read_bytes())
    for service in SERVICES:
        certificate = x509.load_pem_x509_certificate(layout.secret(f"{service}.crt").read_bytes())
        certificate.verify_directly_issued_by(authority)


def test_the_authority_before_is_trusted_until_it_ends(layout: Layout):
    first = authority_file(layout).read_bytes()
    layout.secret("ca.key").unlink()
    changed(layout, 1)
    second = authority_file(layout).read_bytes()
    assert second.endswith(first)
    assert changed(layout, 1) == set()
    layout.secret("ca.key").unlink()
    changed(layout, 2)
    third = authority_file(layout).read_bytes()
    assert third.endswith(second.removesuffix(first))  # only the last one: certificates are of no other
    layout.secret("ca.key").unlink()
    changed(layout, 2 * 3650)
    assert len(x509.load_pem_x509_certificates(authority_file(layout).read_bytes())) == 1


@pytest.mark.parametrize("gone", ["profile.key", "decision.crt", "care.token", "jwks.json"])
def test_what_is_missing_is_made_again(layout: Layout, gone: str):
    layout.secret(gone).unlink()
    stem = gone.partition(".")[0]
    assert changed(layout, 0) == {name for name in contents(layout) if name.startswith(f"{stem}.")} & (
        {gone, f"{stem}.crt", f"{stem}.key"}
    )


def test_damaged_files_are_made_anew(layout: Layout):
    for name in ("ca.crt", "signing.key", "bss.token"):
        layout.secret(name).write_text("damaged")
    changed(layout, 0)
    assert issuer_of(layout).read(token_file(layout, "bss").read_text().strip())["sub"] == "bss"
    assert changed(layout, 0) == set()


def test_another_signing_key_signs_every_token_anew(layout: Layout):
    layout.secret("signing.key").unlink()
    anew = changed(layout, 0)
    assert anew == {"signing.key", "jwks.json", *(f"{subject}.token" for subject in (OPERATOR, *TOKENS))}


def test_a_certificate_names_its_service_and_where_it_serves(layout: Layout):
    certificate = x509.load_pem_x509_certificate(layout.secret("decision.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://rapport.local/decision"]
    assert {"localhost", "decision"} <= set(names.get_values_for_type(x509.DNSName))
    assert {str(address) for address in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1"}


def test_the_operator_may_everything_and_others_what_they_need(layout: Layout):
    def scopes(subject: str) -> set[str]:
        claims = issuer_of(layout).read(token_file(layout, subject).read_text().strip())
        assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, AUDIENCE, subject)
        return set(claims["scope"].split())

    assert scopes(OPERATOR) == set(all_scopes())
    for subject, allowed in TOKENS.items():
        assert scopes(subject) == set(allowed) < set(all_scopes())
    assert not scopes("marketer") & {"rules.activate", "consent.write", "operations.write"}
    steps = {"rules.write", "rules.approve", "rules.activate"}
    assert {subject: scopes(subject) & steps for subject in ("marketer", "approver", "care")} == {
        "marketer": {"rules.write"},
        "approver": {"rules.approve"},
        "care": set(),
    }
    assert "decisions.make" in scopes("care")


def test_services_are_told_where_everything_is(layout: Layout):
    told = {f"RAPPORT_{name}": value for name, value in trust_environment(layout, "channel").items()}
    settings = Settings.from_environment("channel", "server", told)
    assert settings.tls_cert_file == str(layout.secret("channel.crt"))
    assert settings.extra == {}
    keys = json.loads(Path(settings.jwks).read_text())["keys"]
    assert [key["kid"] for key in keys] == [issuer_of(layout).key_id]
    assert "d" not in keys[0]  # the private half stays where it is


def run(layout: Layout, *arguments: str):
    return CliRunner().invoke(main, ["token", "--folder", str(layout.folder), *arguments])


def test_a_token_is_signed_for_whoever_is_named(layout: Layout):
    done = run(layout, "--for", "crm-import", "--scope", "events.write", "--like", "care", "--days", "7")
    assert done.exit_code == 0, done.output
    claims = issuer_of(layout).read(done.stdout.strip())
    assert claims["sub"] == "crm-import"
    assert set(claims["scope"].split()) == {"events.write", *TOKENS["care"]}
    assert claims["exp"] - claims["iat"] == 7 * 86_400


def test_a_token_can_go_to_a_file_of_its_owner(layout: Layout, tmp_path: Path):
    file = tmp_path / "crm.token"
    done = run(layout, "--for", "crm", "--scope", "events.write", "--to", str(file))
    assert done.exit_code == 0, done.output
    assert file.read_text() not in done.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert issuer_of(layout).read(file.read_text().strip())["sub"] == "crm"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--for", "x", "--scope", "event.write"], "did you mean events.write?"),
        (["--for", "x"], "--scope or --like"),
        (["--for", "two words", "--scope", "events.write"], "one word"),
        (["--scope", "events.write"], "--for"),
        (["--for", "x", "--scope", "events.write", "--days", "0"], "--days"),
    ],
)
def test_wrong_wishes_are_told(layout: Layout, arguments: list[str], told: str):
    done = run(layout, *arguments)
    assert done.exit_code == 2
    assert told in done.output


def test_without_a_stack_there_is_nothing_to_sign_with(tmp_path: Path):
    done = run(Layout(tmp_path / "nothing"), "--for", "x", "--scope", "events.write")
    assert done.exit_code == 1
    assert "rapport up" in done.output


def test_an_authority_is_read_as_it_was_written():
    made = Authority.make("rapport.local", NOW)
    assert Authority.read(made.pair(), "rapport.local").certificate == made.certificate


def test_the_token_of_care_reads_all_that_a_care_agent_looks_at():
    """Every answer about one customer and their household; an export of everything is not among them."""
    looked_at = (
        *("profile.v1.ProfileService/GetProfile", "profile.v1.TimelineService/ListTimeline"),
        *("profile.v1.AccountService/GetAccount", "profile.v1.AccountService/GetHousehold"),
        *("profile.v1.ConsentService/CheckConsent", "profile.v1.ConsentService/ListConsentLines"),
        *("channel.v1.ChannelService/ListMessages", "decision.v1.DecisionService/ExplainDecision"),
    )
    for method in looked_at:
        scope = declared_scopes(f"rapport.{method.partition('/')[0]}")[f"/rapport.{method}"]
        assert scope in TOKENS["care"], method
    assert "privacy.export" not in TOKENS["care"]
