"""Who may do what on the embedded server, in the manner of ``infra/nats/accounts.conf``.

Clew's account has the streams, and takes a password. Whoever connects without one is in another account, which shares
no subject with Clew's but those that it imports: it sends commands and queries of any tenant, leaves commands in the
inbox, hears outcomes and commits, and reads the log and the views message by message. Replies cross from one account to
the other on subjects of the server's own, so none reaches a stream, whatever subject a request names for its reply.
"""

from __future__ import annotations

from string import Template
from typing import Final

USER: Final = "clew"
"""The user with the password, who may do everything."""

_ONE: Final = Template("""\
no_auth_user: clew
accounts { clew { jetstream: { max_file: $limit }, users: [{ user: clew }] } }
""")
# Of those without a password none hears what another sends: who heard a request could answer it in Clew's place.
_TWO: Final = Template("""\
no_auth_user: anonymous
accounts {
  clew {
    jetstream: { max_file: $limit }
    users: [{ user: clew, password: "$password" }]
    exports: [
      { service: "clew.cmd.*.*", accounts: [anonymous] }
      { service: "clew.query.*.*", accounts: [anonymous] }
      { service: "clew.inbox.*.*", accounts: [anonymous] }
      { service: "$$JS.API.DIRECT.GET.*", response_type: stream, accounts: [anonymous] }
      { service: "$$JS.API.DIRECT.GET.*.>", response_type: stream, accounts: [anonymous] }
      { stream: "clew.outcome.*.>", accounts: [anonymous] }
      { stream: "clew.live.evt.*.*.*", accounts: [anonymous] }
    ]
  }
  anonymous {
    imports: [
      { service: { account: clew, subject: "clew.cmd.*.*" } }
      { service: { account: clew, subject: "clew.query.*.*" } }
      { service: { account: clew, subject: "clew.inbox.*.*" } }
      { service: { account: clew, subject: "$$JS.API.DIRECT.GET.*" } }
      { service: { account: clew, subject: "$$JS.API.DIRECT.GET.*.>" } }
      { stream: { account: clew, subject: "clew.outcome.*.>" } }
      { stream: { account: clew, subject: "clew.live.evt.*.*.*" } }
    ]
    users: [{
      user: anonymous
      permissions: {
        publish: {
          allow: ["clew.cmd.*.*", "clew.query.*.*", "clew.inbox.*.*", "$$JS.API.DIRECT.GET.>"]
          deny: ["$$JS.API.DIRECT.GET.KV_clew_keys_v1", "$$JS.API.DIRECT.GET.KV_clew_keys_v1.>"]
        }
        subscribe: { deny: ["clew.cmd.>", "clew.query.>", "clew.inbox.>", "$$JS.>", "$$SYS.>", "_R_.>"] }
      }
    }]
  }
}
""")


def accounts(password: str | None, *, limit: int) -> str:
    """The part of the server's configuration that says who may do what; ``password`` is letters and digits.

    Without a password there is no account but Clew's, and whoever connects may do everything. Clew's account may hold
    ``limit`` bytes on disk. That limit is the account's and not the server's, as only an account's can be changed while
    the server runs.
    """
    return (_ONE if password is None else _TWO).substitute(password=password, limit=limit)
