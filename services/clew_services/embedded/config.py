"""The embedded server's configuration, with the settings that Clew's guarantees need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from clew_services.embedded.storage import UNLIMITED

HOST: Final = "127.0.0.1"
MAX_PAYLOAD: Final = 8 * 1024 * 1024


def configuration(data: Path, *, port: int, sync: str, base: str) -> str:
    """The server's configuration file.

    ``port`` 0 lets the server choose, ``sync`` is ``always`` or an interval such as ``2m``. ``base`` is the secret base
    path of the server's monitoring over HTTP, on a port of its choice. The feature flag keeps the acknowledgement
    subjects in the form that nats-py can parse.
    """
    return f"""\
http: "{HOST}:-1"
http_base_path: {_quote(base)}
listen: "{HOST}:{port or -1}"
server_name: clew
ports_file_dir: {_quote(data)}
log_file: {_quote(data / "nats-server.log")}
logfile_size_limit: 16MB
logfile_max_num: 3
max_payload: {MAX_PAYLOAD}
max_pending: 64MB
write_deadline: "10s"
feature_flags {{ js_ack_fc_v2: false }}
jetstream {{ store_dir: {_quote(data / "nats")}, sync_interval: {_quote(sync)}, max_file_store: {UNLIMITED} }}
"""


def _quote(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)
