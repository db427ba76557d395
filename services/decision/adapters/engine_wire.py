"""What engine_process and its child say to each other; light, for each check of a draft starts a child."""

import struct

HEADER = struct.Struct("<I")
ITEM = struct.Struct("<q")
NO_ITEM = -1
PING = "ping"
"""A job that every child knows and that does nothing."""
