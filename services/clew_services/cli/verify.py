"""``clew verify``."""

from __future__ import annotations

from pathlib import Path

import click

from clew_projections.packs.reading import Pack
from clew_projections.proof.verifying import Verified
from clew_services import compose
from clew_services.checkpoints.against import Comparison
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed import read_kept, verified
from clew_services.cli import checking, options
from clew_services.cli.checkpoint_options import key_from, verifier_key
from clew_services.cli.session import look
from clew_services.packs.checking import Checked, checked


@click.command("verify")
@options.maybe_thread
@checking.everything
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that 'clew checkpoint export' wrote; checks everything.",
)
@verifier_key
@options.pack
@options.asking
def command(
    *,
    thread: str | None,
    everything: bool,
    against: Path | None,
    key: str | None,
    pack: Path | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Check from the log alone that no history was altered: of one THREAD, of a tenant, or of all.

    Every commit names the hash of the one before it. With --against, the log must also still hold everything that a
    signed checkpoint speaks of, which no chain computed anew and no history cut off does. The exit code is 5 if
    anything does not fit, and each history that was touched is named with the place and what was done to it.

    With --pack, all that is in an audit pack is checked, with no server: every byte of it, every chain, and that it is
    what the checkpoint in it says. With --key, that must be signed with a key that you trust.
    """
    if pack is not None:
        if thread is not None or everything:
            raise click.UsageError("--pack checks all that is in the pack: leave THREAD and --all out")
        _check_pack(pack, against, key, as_json=as_json)
        return
    if against is not None:
        if thread is not None:
            raise click.UsageError("--against checks everything: leave THREAD out")
        found, good = _compared(nats, against, key), "every chain is whole, and the log is what the checkpoint says"
    else:
        if key is not None:
            raise click.UsageError("--key is for checking a checkpoint: say which with --against")
        found, good = _verified(nats, thread, tenant, everything=everything), "every chain is whole"
    summary = {"threads": found.threads, "commits": found.commits}
    checking.report(summary, found.findings, as_json=as_json, good=good)


def _verified(nats: str, thread: str | None, tenant: str, *, everything: bool) -> Verified:
    address = checking.chosen(thread, tenant, everything)

    async def check(clew: compose.Clew) -> Verified:
        verifier = clew.verifier()
        if address is not None:
            return await verifier.thread(address)
        extents = await verifier.extents()
        with checking.counted("verifying", sum(each.last_seq for each in extents)) as progress:
            return await verifier.all(None if everything else tenant, progress=progress, extents=extents)

    return look(nats, check)


def _compared(nats: str, file: Path, key: str | None) -> Verified:
    kept = read_kept(file.read_bytes())
    signed = verified(kept.checkpoint.encode(), key_from(key) if key else VerifierKey.parse(kept.key))

    async def check(clew: compose.Clew) -> Verified:
        verifier = clew.verifier()
        extents = await verifier.extents()
        comparison = Comparison(clew.js, clew.ledger, verifier, clew.deployment.shards)
        with checking.counted("verifying", sum(each.last_seq for each in extents)) as progress:
            return await comparison.compare(signed, kept.heads, extents, progress=progress)

    return look(nats, check)


def _check_pack(file: Path, against: Path | None, key: str | None, *, as_json: bool) -> None:
    pack = Pack(file)
    trusted = key_from(key) if key else None
    kept = read_kept(against.read_bytes()) if against is not None else None
    with checking.counted("verifying", pack.manifest.commits) as progress:
        found = checked(pack, key=trusted, kept=kept, progress=progress)
    summary = {"threads": found.verified.threads, "commits": found.verified.commits}
    checking.report(summary, found.verified.findings, as_json=as_json, good=_good(found))


def _good(found: Checked) -> str:
    good = "every byte is as it was written, every chain is whole"
    if not found.checkpoints:
        return f"{good}; no checkpoint covers them"
    numbers = " and ".join(map(str, found.checkpoints))
    if found.key_id is None:
        return f"{good}, and they are what checkpoint {numbers} says, whose signature was not checked: give its --key"
    whose = "" if found.given else " that the pack itself names: give one that you trust with --key"
    return f"{good}, and they are what checkpoint {numbers} says, signed with the key {found.key_id}{whose}"
