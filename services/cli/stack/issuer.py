"""An issuer of tokens for one machine: a signing key, its key set, and JWTs signed by it (RFC 7517, 7519)."""

import datetime as dt
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm
from jwt.types import Options

ISSUER = "rapport-local"
AUDIENCE = "rapport"
ALGORITHM = "ES256"
_NO_TIMES: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}


@dataclass(frozen=True)
class Issuer:
    """Signs tokens with one key."""

    key: ec.EllipticCurvePrivateKey
    name: str = ISSUER

    @classmethod
    def make(cls) -> "Issuer":
        """With a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: bytes) -> "Issuer":
        """With the key that `pem` gave; ValueError when it is none."""
        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the key of a local issuer is an elliptic curve's")  # noqa: TRY004 - of a file
        return cls(key)

    def pem(self) -> bytes:
        """The key as it is kept in a file."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def key_id(self) -> str:
        """Names the key, by its public half."""
        public = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(public).hexdigest()[:16]

    def key_set(self) -> str:
        """The public half as a JWKS."""
        told = json.loads(ECAlgorithm.to_jwk(self.key.public_key()))
        return json.dumps({"keys": [{**told, "kid": self.key_id, "use": "sig", "alg": ALGORITHM}]})

    def sign(
        self,
        subject: str,
        scopes: Collection[str],
        now: dt.datetime,
        *,
        lasts: dt.timedelta,
        **claims: Any,
    ) -> str:
        """A token for `subject` with these scopes; `claims` come beside or instead of the usual."""
        seconds = int(now.timestamp())
        told = {
            "iss": self.name,
            "aud": AUDIENCE,
            "sub": subject,
            "scope": " ".join(sorted(scopes)),
            "iat": seconds,
            "nbf": seconds,
            "exp": int((now + lasts).timestamp()),
            **claims,
        }
        return jwt.encode(told, self.key, algorithm=ALGORITHM, headers={"kid": self.key_id, "typ": "at+jwt"})

    def read(self, token: str) -> dict[str, Any]:
        """What a token of ours says, whenever it ends; ValueError when it is not signed by this key."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self.key.public_key(), algorithms=[ALGORITHM], options=_NO_TIMES, audience=AUDIENCE
            )
        except jwt.PyJWTError as error:
            raise ValueError("this is no token of this issuer") from error
        return claims
