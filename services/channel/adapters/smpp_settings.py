"""What is agreed with an SMSC, and how several stand in for each other."""

import ssl
from dataclasses import dataclass, field

from services.channel.adapters.smpp_delivered import Dialect
from services.channel.adapters.smpp_link import LinkLimits
from services.channel.adapters.smpp_pdus import SubmitRules


@dataclass(frozen=True, slots=True)
class SmppSettings:
    """One SMSC and how it is spoken to; times in seconds."""

    host: str
    port: int
    system_id: str
    password: str = field(repr=False)
    """At most 8 characters in SMPP 3.4."""
    name: str = "smsc"
    """What it is called in receipts, logs and figures; not to be changed while messages are under way."""
    system_type: str = ""
    sender: str = ""
    """Default sender: a number, a short code, or up to 11 letters and digits; empty: the SMSC's."""
    reference_tag: int = 0x1401
    """Vendor parameter (0x1400 to 0x3FFF) that carries our message id, so that both ends can be counted; an
    SMSC that does not know it ignores it (SMPP 3.4 §3.3). 0: none is sent."""
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    """Whose certificate it must show; empty: the host's."""
    transceiver: bool = True
    """False: each bind is a transmitter and a receiver beside it."""
    binds: int = 1
    """In each worker process."""
    priority: int = 1
    """Lower goes first; SMSCs of the same priority share the messages."""
    per_second: float = 0.0
    """Submits, all parts counted, by each worker process; 0: no limit."""
    rules: SubmitRules = field(default_factory=SubmitRules)
    dialect: Dialect = field(default_factory=Dialect)
    limits: LinkLimits = field(default_factory=LinkLimits)
    connect: float = 5.0
    shortest_pause: float = 0.2
    longest_pause: float = 10.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the transport waits, in seconds. Sending a batch takes `first_bind + write` and an answer."""

    first_bind: float = 1.5
    """How long a batch waits for a link that is being made for the first time, or again."""
    write: float = 4.0
    """How long a batch waits for room in windows; what is not written by then goes back."""
    close: float = 3.0
    refuses_for: float = 5.0
    """An SMSC that took nothing for so long, though asked, is left alone while another takes messages."""
    return_after: float = 30.0
    """How long an SMSC must be back, or is left alone, before it gets messages again."""
