"""Puts the way to the SMSCs together, as the settings or the providers file ask for."""

from pathlib import Path

from services.channel.adapters.providers import read_providers
from services.channel.adapters.smpp import SmppSettings, SmppTransport
from services.channel.domain.errors import PolicyError
from services.channel.settings import ChannelSettings
from services.runtime.errors import SettingError


def sms_transport(own: ChannelSettings) -> SmppTransport | None:
    """The way to the SMSCs; None: none is named. SettingError names what is wrong, and where."""
    if own.providers_file:
        try:
            told = read_providers(Path(own.providers_file))
        except PolicyError as error:
            field = "RAPPORT_PROVIDERS_FILE"
            raise SettingError(str(error), field=field, suggestion="correct that line") from None
        return SmppTransport(*told.smscs, patience=told.patience)
    if own.smsc is None:
        return None
    return SmppTransport(
        SmppSettings(
            host=own.smsc.host,
            port=own.smsc.port,
            system_id=own.smsc_system_id,
            password=own.smsc_password,
            sender=own.smsc_from,
            reference_tag=own.smsc_reference_tag,
        ),
    )
