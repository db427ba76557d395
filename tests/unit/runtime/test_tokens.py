"""Which tokens count, for how long, and by which keys."""

import datetime as dt
import json
import math
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from services.cli.stack.issuer import AUDIENCE, ISSUER, Issuer
from services.runtime.caller import Caller
from services.runtime.errors import SettingError, UnauthenticatedError, UnavailableError
from services.runtime.settings import Settings
from services.runtime.tokens import LEEWAY_SECONDS, KeySet, TokenVerifier, usable_keys
from tests.fakes.hand_clock import HandClock

HOUR = dt.timedelta(hours=1)


class Source:
    """Where keys come from: what it gives, how often it was asked."""

    def __init__(self, text: str):
        self.text = text
        self.asked = 0
        self.fails = False

    async def fetch(self) -> str:
        self.asked += 1
        if self.fails:
            raise OSError
        return self.text


class Checked:
    """A verifier, with the issuer whose keys it knows and the clock it goes by."""

    def __init__(self):
        self.clock = HandClock()
        self.issuer = Issuer.make()
        self.source = Source(self.issuer.key_set())
        keys = KeySet("https://issuer.example/jwks", self.clock, fetch=self.source.fetch)
        self.verifier = TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, clock=self.clock)

    def sign(self, *, issuer: Issuer | None = None, lasts: dt.timedelta = HOUR, **claims) -> str:
        now = dt.datetime.fromtimestamp(self.clock.seconds, dt.UTC)
        return (issuer or self.issuer).sign("bss", ["events.write"], now, lasts=lasts, **claims)

    async def refuses(self, token: str) -> str:
        with pytest.raises(UnauthenticatedError) as raised:
            await self.verifier.verify(token)
        assert token not in raised.value.message
        return raised.value.message


@pytest.fixture
def checked() -> Checked:
    return Checked()


async def test_a_token_names_its_caller_and_scopes(checked: Checked):
    bearer = await checked.verifier.verify(checked.sign())
    assert bearer.caller == Caller(f"{ISSUER}#bss", frozenset({"events.write"}))


async def test_a_token_counts_until_it_ends_also_when_it_is_known(checked: Checked):
    token = checked.sign()
    checked.clock.pass_by(3600 + LEEWAY_SECONDS - 1)
    await checked.verifier.verify(token)
    checked.clock.pass_by(2)
    assert "ended" in await checked.refuses(token)


async def test_a_token_does_not_count_before_its_time(checked: Checked):
    begins = int(checked.clock.seconds) + 60
    token = checked.sign(nbf=begins)
    assert "nbf" in await checked.refuses(token)
    checked.clock.pass_by(60)
    await checked.verifier.verify(token)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://elsewhere.example"}, "iss"),
        ({"aud": "billing"}, "aud"),
        ({"aud": ["billing"]}, "aud"),
        ({"exp": "tomorrow"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": math.nan}, "exp"),
        ({"exp": math.inf}, "exp"),
        ({"nbf": math.nan}, "nbf"),
        ({"nbf": "now"}, "nbf"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, ""),
        ({"scope": ["events.write"]}, "scope"),
        ({"exp": None}, "exp"),
    ],
)
async def test_a_claim_that_is_wrong_is_named(checked: Checked, claims: dict, why: str):
    assert why in await checked.refuses(checked.sign(**claims))


@pytest.mark.parametrize("lacks", ["exp", "iss", "aud", "sub"])
async def test_a_token_without_a_claim_is_refused(checked: Checked, lacks: str):
    claims = jwt.decode(checked.sign(), options={"verify_signature": False})
    del claims[lacks]
    token = jwt.encode(claims, checked.issuer.key, algorithm="ES256", headers={"kid": checked.issuer.key_id})
    assert lacks in await checked.refuses(token)


async def test_one_audience_of_several_is_enough(checked: Checked):
    await checked.verifier.verify(checked.sign(aud=["billing", AUDIENCE]))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é" * 10, "." * 2, "x" * 9000])
async def test_what_is_no_token_is_refused(checked: Checked, token: str):
    with pytest.raises(UnauthenticatedError):
        await checked.verifier.verify(token)


async def test_a_known_token_is_not_checked_again(checked: Checked, monkeypatch: pytest.MonkeyPatch):
    token = checked.sign()
    first = await checked.verifier.verify(token)
    monkeypatch.setattr(jwt, "decode", None)
    assert await checked.verifier.verify(token) is first
    assert checked.source.asked == 1


async def test_keys_of_every_kind_that_is_taken(checked: Checked):
    keys = {
        "RS256": (rsa.generate_private_key(65537, 2048), RSAAlgorithm),
        "EdDSA": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
    }
    told = [
        {**json.loads(algorithm.to_jwk(key.public_key())), "kid": name}
        for name, (key, algorithm) in keys.items()
    ]
    checked.source.text = json.dumps({"keys": told})
    claims = jwt.decode(checked.sign(), options={"verify_signature": False})
    for name, (key, _) in keys.items():
        await checked.verifier.verify(jwt.encode(claims, key, algorithm=name, headers={"kid": name}))
    swapped = jwt.encode(claims, keys["RS256"][0], algorithm="RS256", headers={"kid": "EdDSA"})
    assert "alg" in await checked.refuses(swapped)


def test_only_keys_for_checking_signatures_are_kept():
    short = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key()))
    ours = json.loads(Issuer.make().key_set())["keys"][0]
    told = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "password"},
        {**short, "kid": "short"},
        {**ours, "kid": "for-secrets", "use": "enc"},
        {**ours, "kid": "of-other-kind", "alg": "ES512"},
        {"kty": "new", "kid": "new"},
        "none",
        ours,
    ]
    assert list(usable_keys({"keys": told})) == [ours["kid"]]
    for wrong in ([], {}, {"keys": {}}, "keys"):
        with pytest.raises(ValueError, match="key set"):
            usable_keys(wrong)


async def test_an_unknown_key_is_asked_for_but_not_too_often(checked: Checked):
    await checked.verifier.verify(checked.sign())
    new = Issuer.make()
    assert "kid" in await checked.refuses(checked.sign(issuer=new))
    assert checked.source.asked == 1  # asked a moment ago
    checked.clock.pass_by(10)
    for _ in range(50):
        await checked.refuses(checked.sign(issuer=Issuer.make()))
    assert checked.source.asked == 2
    checked.source.text = new.key_set()
    checked.clock.pass_by(10)
    await checked.verifier.verify(checked.sign(issuer=new))
    assert checked.source.asked == 3


async def test_a_key_taken_away_ends_its_tokens(checked: Checked):
    token = checked.sign()
    await checked.verifier.verify(token)
    checked.source.text = Issuer.make().key_set()
    checked.clock.pass_by(301)
    assert "kid" in await checked.refuses(token)


async def test_keys_that_cannot_be_had_leave_the_old_ones_in_force(checked: Checked):
    token = checked.sign()
    await checked.verifier.verify(token)
    for broken in ("", "[]", '{"keys": 1}'):
        checked.source.text = broken
        checked.clock.pass_by(301)
        await checked.verifier.verify(token)
    checked.source.fails = True
    checked.clock.pass_by(301)
    await checked.verifier.verify(checked.sign())
    assert checked.source.asked == 5


async def test_without_any_keys_the_service_is_not_there_yet(checked: Checked):
    checked.source.fails = True
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await checked.verifier.verify(checked.sign())
    assert checked.source.asked == 1
    checked.source.fails = False
    checked.clock.pass_by(10)
    await checked.verifier.verify(checked.sign())


async def test_a_key_set_in_a_file_is_read_again_when_it_changes(tmp_path: Path):
    clock = HandClock()
    first, second = Issuer.make(), Issuer.make()
    file = tmp_path / "jwks.json"
    file.write_text(first.key_set())
    keys = KeySet(str(file), clock)
    assert await keys.key(first.key_id) is not None
    assert await keys.key(None) is not None  # the only one
    file.write_text(json.dumps({"keys": [json.loads(each.key_set())["keys"][0] for each in (first, second)]}))
    clock.pass_by(1)
    assert await keys.key(second.key_id) is not None
    assert await keys.key(None) is None
    assert await keys.key(first.key_id) is not None


@pytest.mark.parametrize("location", ["http://issuer.example/jwks", "ftp://issuer.example/jwks"])
def test_keys_come_over_https_only(location: str):
    with pytest.raises(SettingError, match="RAPPORT_JWKS"):
        KeySet(location, HandClock())


@pytest.mark.parametrize("missing", ["jwks", "jwt_issuer"])
def test_a_port_for_tokens_needs_keys_and_an_issuer(missing: str):
    given = {"jwks": "/keys.json", "jwt_issuer": ISSUER} | {missing: ""}
    with pytest.raises(SettingError) as raised:
        TokenVerifier.of(Settings(service="test", **given), HandClock())
    assert raised.value.field == f"RAPPORT_{missing.upper()}"
