"""What the channel service alone is told by its environment."""

from dataclasses import dataclass, field
from typing import Final

from services.runtime.errors import SettingError
from services.runtime.settings import Settings

SERVICE: Final = "channel"


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a provider listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Providers: RAPPORT_SMSC (`host:port`; unset: text messages wait); mail's are in mail_settings.py.

    With it _SYSTEM_ID, _PASSWORD_FILE, _FROM; or RAPPORT_PROVIDERS_FILE instead: several SMSCs (docs/sms.md).
    RAPPORT_SMS_PER_SECOND and RAPPORT_EMAIL_PER_SECOND limit all workers together (0: no limit; a quarter of
    a second's worth may go at once).
    RAPPORT_SMSC_REFERENCE_TAG: vendor parameter that names our message to the SMSC (default 0x1401; 0: none).
    RAPPORT_TEST_RECIPIENTS: numbers and mail addresses of staff, with commas between them, to which tests of
    templates may be sent (unset: none may be).
    """

    smsc: Peer | None = None
    smsc_system_id: str = ""
    smsc_password: str = field(default="", repr=False)
    smsc_from: str = ""
    sms_per_second: int = 0
    email_per_second: int = 0
    smsc_reference_tag: int = 0x1401
    providers_file: str = ""
    test_recipients: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, settings: Settings) -> "ChannelSettings":
        """Read from the settings of the process; SettingError names what is wrong."""
        smsc = _peer(settings, "smsc")
        providers_file = settings.extra.get("providers_file", "")
        if smsc is not None and providers_file:
            raise SettingError(
                "RAPPORT_SMSC and RAPPORT_PROVIDERS_FILE are both set",
                field="RAPPORT_PROVIDERS_FILE",
                suggestion="name the SMSC in the file only",
            )
        return cls(
            smsc=smsc,
            smsc_system_id=settings.need("smsc_system_id") if smsc is not None else "",
            smsc_password=settings.secret("smsc_password"),
            smsc_from=settings.extra.get("smsc_from", ""),
            sms_per_second=_rate(settings, "sms_per_second"),
            email_per_second=_rate(settings, "email_per_second"),
            smsc_reference_tag=_vendor_tag(settings, "smsc_reference_tag"),
            providers_file=providers_file,
            test_recipients=_listed(settings, "test_recipients"),
        )


def _peer(settings: Settings, name: str) -> Peer | None:
    text = settings.extra.get(name, "")
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        variable = f"RAPPORT_{name.upper()}"
        raise SettingError(f"{variable} is {text!r}", field=variable, suggestion="say host:port")
    return Peer(host.strip("[]"), int(port))


def _listed(settings: Settings, name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in settings.extra.get(name, "").split(",") if part.strip())


def _rate(settings: Settings, name: str) -> int:
    text = settings.extra.get(name, "0")
    if not text.isdecimal():
        variable = f"RAPPORT_{name.upper()}"
        raise SettingError(
            f"{variable} is {text!r}", field=variable, suggestion="say a whole number, 0: no limit"
        )
    return int(text)


def _vendor_tag(settings: Settings, name: str) -> int:
    text = settings.extra.get(name, "0x1401")
    try:
        tag = int(text, 0)
    except ValueError:
        tag = -1
    if tag and not 0x1400 <= tag <= 0x3FFF:
        variable = f"RAPPORT_{name.upper()}"
        raise SettingError(
            f"{variable} is {text!r}", field=variable, suggestion="say 0x1400 to 0x3FFF, or 0 for none"
        )
    return tag
