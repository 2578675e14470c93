"""The embedded server's configuration: the settings that Clew's guarantees need, and accounts with their permissions.

Clew's account has the streams, and requires a password. Clients without one are in another account, ``open``, which
shares only the imported subjects: it can publish to the inbox, receive outcomes and commits, and read the log and the
views message by message. Replies cross between the accounts on subjects of the server's own, so none reaches a stream,
whatever reply subject a request names.

The services that answer commands and queries listen in ``open`` themselves, as the user ``service``, and Clew's account
imports them from there. Were they imported the other way, one client could lose the replies of all others: when the
response of a service import goes to a reply subject with wildcards, nats-server (2.15.1) forgets every response that is
due in the requesting account.

Commands that Clew's account imports say who sent them; see :mod:`clew_services.nats_api.caller`. The account ``nobody``
has an nkey without a private half: the SHA-256 of that word. A server that knows no nkey at all believes any that a
client names beside its password, and passes it on as the sender (2.15.1).
"""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import urlsplit

from clew_services.embedded.storage import UNLIMITED

HOST: Final = "127.0.0.1"
MAX_PAYLOAD: Final = 8 * 1024 * 1024
SERVER: Final = "clew-embedded"
"""The name of every embedded server, by which its clients know that it has these accounts."""
USER: Final = "clew"
"""The user with the password, who has all permissions."""
SERVICE: Final = "service"
"""Who answers commands and queries, with the same password."""


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
server_name: {SERVER}
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


_ONE: Final = Template("""\
no_auth_user: clew
accounts { clew { jetstream: { max_file: $limit }, users: [{ user: clew }] } }
""")
# Clients without a password cannot receive each other's requests: otherwise they could answer in Clew's place.
_TWO: Final = Template("""\
no_auth_user: anonymous
accounts {
  clew {
    jetstream: { max_file: $limit }
    users: [{ user: clew, password: "$password" }]
    exports: [
      { service: "clew.inbox.*.*", accounts: [open] }
      { service: "$$JS.API.DIRECT.GET.*", response_type: stream, accounts: [open] }
      { service: "$$JS.API.DIRECT.GET.*.>", response_type: stream, accounts: [open] }
      { stream: "clew.outcome.*.>", accounts: [open] }
      { stream: "clew.live.evt.*.*.*", accounts: [open] }
    ]
    imports: [
      { service: { account: open, subject: "clew.imported.*.*" }, to: "clew.cmd.*.*", share: true }
      { service: { account: open, subject: "clew.query.*.*" } }
      { service: { account: open, subject: "$$SRV.>" } }
    ]
  }
  nobody { users: [{ nkey: UBRYFM6MRAKBFN337SXO2ATAAHAA3HRQEXTGYIHW47US6B4YKFDCURCQ }] }
  open {
    exports: [
      { service: "clew.imported.*.*", accounts: [clew] }
      { service: "clew.query.*.*", accounts: [clew] }
      { service: "$$SRV.>", response_type: stream, accounts: [clew] }
    ]
    imports: [
      { service: { account: clew, subject: "clew.inbox.*.*" } }
      { service: { account: clew, subject: "$$JS.API.DIRECT.GET.*" } }
      { service: { account: clew, subject: "$$JS.API.DIRECT.GET.*.>" } }
      { stream: { account: clew, subject: "clew.outcome.*.>" } }
      { stream: { account: clew, subject: "clew.live.evt.*.*.*" } }
    ]
    users: [{
      user: service, password: "$password"
      permissions: {
        publish: { allow: [">"], deny: ["clew.>", "$$JS.>", "$$KV.>", "$$O.>", "$$SYS.>"] }
        subscribe: {
          allow: [
            "clew.cmd.*.* clew-commands", "clew.imported.*.* clew-commands", "clew.query.*.* clew-queries", "$$SRV.>"
          ]
        }
      }
    }, {
      user: anonymous
      permissions: {
        publish: {
          allow: ["clew.cmd.*.*", "clew.query.*.*", "clew.inbox.*.*", "$$SRV.*", "$$SRV.*.>", "$$JS.API.DIRECT.GET.>"]
          deny: ["$$JS.API.DIRECT.GET.KV_clew_keys_v1", "$$JS.API.DIRECT.GET.KV_clew_keys_v1.>"]
        }
        subscribe: {
          deny: [
            "clew.cmd.>", "clew.imported.>", "clew.query.>", "clew.inbox.>", "$$JS.>", "$$SRV.>", "$$SYS.>", "_R_.>"
          ]
        }
      }
    }]
  }
}
""")


def accounts(password: str | None, *, limit: int) -> str:
    """The accounts section of the server's configuration; ``password`` is letters and digits.

    Without a password there is only Clew's account, and every client has all permissions. ``limit`` is the disk limit
    of Clew's account, in bytes. It is the account's and not the server's, because only an account's can be changed
    while the server runs.
    """
    return (_ONE if password is None else _TWO).substitute(password=password, limit=limit)


def service_url(url: str) -> str:
    """The URL with which services listen where clients without a password ask; ``url`` is that of :data:`USER`."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"{SERVICE}:{parts.password}@{parts.netloc.rpartition('@')[2]}").geturl()
