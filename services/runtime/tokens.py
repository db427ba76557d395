"""Checks the tokens of callers: JWTs signed by a key of a key set (RFC 7515, 7517, 7519, 9068)."""

import asyncio
import json
import ssl
import urllib.request
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from services.runtime.caller import Caller
from services.runtime.clock import MICROS, Clock
from services.runtime.credentials import file_stamp
from services.runtime.errors import SettingError, UnauthenticatedError, UnavailableError
from services.runtime.settings import Settings

ALGORITHMS = ("RS256", "ES256", "EdDSA")
LEEWAY_SECONDS = 5
"""By how much the clocks of issuer and server may differ."""
_MOST_OCTETS = 8192
_MOST_KEPT = 10_000
_MOST_KEYS_OCTETS = 1 << 20
_FETCH_AGAIN_SECONDS = 300.0
_UNKNOWN_KEY_SECONDS = 10.0
_FETCH_TIMEOUT_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_CLAIMS = ("exp", "iss", "aud", "sub")
_log = structlog.get_logger(__name__)

Fetch = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who brought a token that counts, and the second (since 1970, UTC) in which it ends."""

    caller: Caller
    expires: float


class KeySet:
    """The keys that tokens are signed by, from a file or an https address, by their key id.

    A file is read again when it changes. An address is asked every five minutes, and for a key id that is
    not known at most every ten seconds. When it cannot be read the keys known before stay in force.
    """

    def __init__(
        self, location: str, clock: Clock, *, authority: str = "", fetch: Fetch | None = None
    ) -> None:
        self._clock = clock
        self._file = None if "://" in location else Path(location)
        if fetch is not None:
            self._fetch = fetch
        else:
            self._fetch = self._read_file if self._file else _https(location, authority)
        self._seen: object = None
        self._text: str | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked = float("-inf")
        self._asking = asyncio.Lock()
        self.generation = 0
        """Another number after the keys changed."""

    async def look(self) -> None:
        """Asks again when it is time to; costs nothing when it is not."""
        age = self._clock.monotonic() - self._asked
        if age < _LOOK_SECONDS:
            return
        if self._file is not None:
            if file_stamp(self._file) != self._seen or self._text is None:
                await self._refresh()
            else:
                self._asked = self._clock.monotonic()
        elif age >= (_FETCH_AGAIN_SECONDS if self._text is not None else _UNKNOWN_KEY_SECONDS):
            await self._refresh()

    async def key(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key of this id; without an id the only one there is. None: there is no such key.

        UnavailableError: the keys could never be read.
        """
        await self.look()
        found = self._find(key_id)
        if found is None and self._clock.monotonic() - self._asked >= _UNKNOWN_KEY_SECONDS:
            await self._refresh()
            found = self._find(key_id)
        if found is None and self._text is None:
            raise UnavailableError(
                "the keys that tokens are signed by cannot be had just now", suggestion="try again later"
            )
        return found

    def _find(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        asked = self._asked
        async with self._asking:
            if self._asked != asked:
                return  # another call has just asked
            self._asked = self._clock.monotonic()
            self._seen = file_stamp(self._file) if self._file else None
            try:
                text = await self._fetch()
                if text == self._text:
                    return
                keys = usable_keys(json.loads(text))
            except (OSError, ValueError, jwt.PyJWTError) as error:
                _log.warning("signing_keys_not_read", error=type(error).__name__, known=len(self._keys))
                return
        self._text, self._keys = text, keys
        self.generation += 1
        _log.info("signing_keys_read", keys=len(keys))

    async def _read_file(self) -> str:
        assert self._file is not None
        return self._file.read_text(encoding="utf-8")


class TokenVerifier:
    """Tells who brought a token; one that was found good is known again until it ends or keys change."""

    def __init__(self, keys: KeySet, *, issuer: str, audience: str, clock: Clock) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._verified: OrderedDict[str, Bearer] = OrderedDict()
        self._generation = 0

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> "TokenVerifier":
        """As a role was told; SettingError names what is missing."""
        for name, value in (("RAPPORT_JWKS", settings.jwks), ("RAPPORT_JWT_ISSUER", settings.jwt_issuer)):
            if not value:
                raise SettingError(
                    f"{name} is not set, and RAPPORT_TOKEN_LISTEN is",
                    field=name,
                    suggestion="set it, or take tokens from nobody and leave RAPPORT_TOKEN_LISTEN out",
                )
        keys = KeySet(settings.jwks, clock, authority=settings.tls_ca_file)
        return cls(keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience, clock=clock)

    async def verify(self, token: str) -> Bearer:
        """Who brought it; UnauthenticatedError says why it does not count, and never shows it."""
        await self._keys.look()
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._verified.clear()
        bearer = self._verified.get(token)
        if bearer is None:
            bearer = await self._check(token)
            self._verified[token] = bearer
            if len(self._verified) > _MOST_KEPT:
                self._verified.popitem(last=False)
        if self._now() >= bearer.expires:
            raise UnauthenticatedError("the token has ended (exp)", suggestion="get a new one")
        return bearer

    def _now(self) -> float:
        return self._clock.wall_micros() / MICROS

    async def _check(self, token: str) -> Bearer:
        claims = await self._signed(token)
        begins = claims.get("nbf", 0)
        ends = claims["exp"]
        if not _is_time(begins) or not _is_time(ends):
            raise UnauthenticatedError("the token's exp or nbf is no number of seconds since 1970")
        if self._now() + LEEWAY_SECONDS < begins:
            raise UnauthenticatedError(
                "the token does not count yet (nbf)", suggestion="set the clocks right"
            )
        subject = claims["sub"]
        scope = claims.get("scope", "")
        if not isinstance(subject, str) or not subject or not isinstance(scope, str):
            raise UnauthenticatedError(
                "the token's sub is no text, or its scope is no text",
                suggestion="write the scopes into one text with spaces between (RFC 8693)",
            )
        caller = Caller(f"{self._issuer}#{subject}", frozenset(scope.split()))
        return Bearer(caller, ends + LEEWAY_SECONDS)

    async def _signed(self, token: str) -> dict[str, Any]:
        if len(token) > _MOST_OCTETS:
            raise UnauthenticatedError(f"the token is longer than {_MOST_OCTETS} octets")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError) as error:
            raise UnauthenticatedError(
                "the token is no JWT", suggestion="send one signed by our issuer"
            ) from error
        if header.get("alg") not in ALGORITHMS:
            raise UnauthenticatedError(
                "the token is signed in a way that is not taken (alg)",
                suggestion="sign with one of " + ", ".join(ALGORITHMS),
            )
        key_id = header.get("kid")
        key = await self._keys.key(key_id if isinstance(key_id, str) else None)
        if key is None:
            raise UnauthenticatedError("the token is signed by a key that is not known (kid)")
        if key.algorithm_name != header["alg"]:
            raise UnauthenticatedError("the token's alg is not that of its key")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                # times are judged by the clock that we were given
                options={
                    "require": list(_CLAIMS),
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidAudienceError as error:
            raise UnauthenticatedError(f"the token is not for {self._audience} (aud)") from error
        except jwt.InvalidIssuerError as error:
            raise UnauthenticatedError("the token is by another issuer (iss)") from error
        except jwt.MissingRequiredClaimError as error:
            raise UnauthenticatedError(f"the token lacks one of {', '.join(_CLAIMS)}") from error
        except (jwt.PyJWTError, ValueError) as error:
            raise UnauthenticatedError("the token's signature is wrong") from error
        return claims


def usable_keys(told: Any) -> dict[str, jwt.PyJWK]:
    """The keys of a JWKS that signatures may be checked with, by key id; ValueError: it is no JWKS.

    Left out are secrets (oct), encryption keys, RSA keys under 2,048 bits, and what is not known.
    """
    if not isinstance(told, dict) or not isinstance(told.get("keys"), list):
        raise ValueError("a key set is an object with a list of keys")  # noqa: TRY004 - of a file, not of a call
    found = {}
    for entry in told["keys"]:
        if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK.from_dict(entry)
        except jwt.PyJWTError:
            continue
        too_short = isinstance(key.key, RSAPublicKey) and key.key.key_size < 2048
        if key.algorithm_name in ALGORITHMS and not too_short:
            found[str(entry.get("kid", ""))] = key
    return found


def _is_time(value: object) -> bool:
    # the last: NaN and Infinity, which JSON does not have and Python's reader takes, would never end
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


def _https(location: str, authority: str) -> Fetch:
    if urlsplit(location).scheme != "https":
        raise SettingError(
            f"RAPPORT_JWKS is {location!r}",
            field="RAPPORT_JWKS",
            suggestion="name a file or an https address",
        )
    context = ssl.create_default_context()
    if authority:
        context.load_verify_locations(cafile=authority)

    def read() -> str:
        with urllib.request.urlopen(  # noqa: S310 - https only, see above
            location, timeout=_FETCH_TIMEOUT_SECONDS, context=context
        ) as answer:
            return str(answer.read(_MOST_KEYS_OCTETS).decode("utf-8"))

    async def fetch() -> str:
        return await asyncio.to_thread(read)

    return fetch
