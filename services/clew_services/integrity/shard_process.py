"""The program of a process that verifies some shards; see :mod:`clew_services.checkpoints.shard_processes`."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from typing import Final

import msgspec

from clew_events.errors import ClewError, to_fault
from clew_projections.integrity.verify import Verifier
from clew_services.checkpoints.comparison import Comparison
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.shard_processes import Order, Report
from clew_services.erasure.evidence import StoredEvidence
from clew_services.open_deployment import open_deployment

_ORDER: Final = msgspec.json.Decoder(Order)


async def verify(order: Order) -> Report:
    """Carry out an order; what was read meanwhile is told at once."""
    login = order.login
    try:
        keys = {key.id: key for key in map(VerifierKey.parse, login.keys)}
        async with open_deployment(
            login.url, name="clew-verify", inbox_prefix=login.inbox_prefix, security=login.security
        ) as opened:
            verifier = Verifier(opened.js, opened.shards, StoredEvidence(opened.js, keys))
            comparison = Comparison(opened.js, Ledger(opened.js), verifier, opened.shards)
            return Report(
                verified=await comparison.shards(
                    order.shards,
                    order.marks,
                    order.extents,
                    tenant=order.tenant,
                    progress=lambda read: tell(Report(read=read)),
                )
            )
    except ClewError as error:
        return Report(fault=to_fault(error))


def tell(report: Report) -> None:
    """Write a line on standard output."""
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    gc.freeze()
    logging.getLogger().addHandler(logging.NullHandler())  # what went wrong is in the report
    tell(asyncio.run(verify(_ORDER.decode(sys.stdin.buffer.read()))))
