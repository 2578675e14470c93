"""How long a soak goes on: as many seconds as ``CLEW_SOAK_SECONDS`` says."""

from __future__ import annotations

import os
from typing import Final

SECONDS: Final = float(os.environ.get("CLEW_SOAK_SECONDS", "5"))
