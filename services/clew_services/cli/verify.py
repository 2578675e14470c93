"""``clew verify``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from clew_projections.packs.reading import Pack
from clew_projections.proof.verifying import Verified
from clew_services import compose
from clew_services.checkpoints.against import Comparison
from clew_services.checkpoints.chain import Walked, walk
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed import Signed, read, read_kept, verified
from clew_services.cli import checking, options
from clew_services.cli.checkpoint_options import key_from, verifier_keys
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
@verifier_keys
@options.pack
@options.asking
def command(
    *,
    thread: str | None,
    everything: bool,
    against: Path | None,
    keys: tuple[str, ...],
    pack: Path | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Check from the log alone that no history was altered: of one THREAD, of a tenant, or of all.

    Every commit names the hash of the one before it. With --against, the log must also still hold everything that a
    signed checkpoint speaks of, which no chain computed anew and no history cut off does. The exit code is 5 if
    anything does not fit, and each history that was touched is named with the place and what was done to it.

    With --all or --against the deployment's own checkpoints are checked as well, from the first to the last: that each
    names the one before it and, with --key, that it is signed. Say --key again for each key that was in use.

    With --pack, all that is in an audit pack is checked, with no server: every byte of it, every chain, and that it is
    what the checkpoint in it says. With --key, that must be signed with a key that you trust.
    """
    if pack is not None:
        if thread is not None or everything:
            raise click.UsageError("--pack checks all that is in the pack: leave THREAD and --all out")
        _check_pack(pack, against, keys, as_json=as_json)
        return
    if against is not None:
        if thread is not None:
            raise click.UsageError("--against checks everything: leave THREAD out")
        trusted = {key.id: key for key in map(key_from, keys)}
        found, walked = _compared(nats, against, trusted)
        good = f"every chain is whole, and the log is what the checkpoint says; {_vouched(walked, trusted)}"
    elif everything:
        checking.chosen(thread, tenant, everything)
        trusted = {key.id: key for key in map(key_from, keys)}
        found, walked = _whole(nats, trusted)
        good = f"every chain is whole; {_vouched(walked, trusted)}"
    else:
        if keys:
            raise click.UsageError("--key is for checking checkpoints: with --all, --against or --pack")
        found, walked, good = _verified(nats, thread, tenant), None, "every chain is whole"
    summary = {"threads": found.threads, "commits": found.commits}
    if walked is None:
        checking.report(summary, found.findings, as_json=as_json, good=good)
    else:
        findings = (*found.findings, *walked.findings)
        checking.report({**summary, "checkpoints": walked.checkpoints}, findings, as_json=as_json, good=good)


def _vouched(walked: Walked, trusted: Mapping[str, VerifierKey]) -> str:
    """What a walk without findings says of the checkpoints."""
    if not walked.checkpoints:
        return "there are no checkpoints"
    signers = ", ".join(walked.key_ids)
    if trusted:
        return f"every checkpoint follows from the one before it, and is signed with {signers}"
    return f"every checkpoint follows from the one before it; signatures, by {signers}, were not checked: give --key"


def _whole(nats: str, trusted: Mapping[str, VerifierKey]) -> tuple[Verified, Walked]:
    async def check(clew: compose.Clew) -> tuple[Verified, Walked]:
        verifier = clew.verifier()
        extents = await verifier.extents()
        walked = await walk(clew.js, trusted)
        with checking.counted("verifying", sum(each.last_seq for each in extents)) as progress:
            return await verifier.all(progress=progress, extents=extents), walked

    return look(nats, check)


def _verified(nats: str, thread: str | None, tenant: str) -> Verified:
    address = checking.chosen(thread, tenant, everything=False)

    async def check(clew: compose.Clew) -> Verified:
        verifier = clew.verifier()
        if address is not None:
            return await verifier.thread(address)
        extents = await verifier.extents()
        with checking.counted("verifying", sum(each.last_seq for each in extents)) as progress:
            return await verifier.all(tenant, progress=progress, extents=extents)

    return look(nats, check)


def _compared(nats: str, file: Path, trusted: Mapping[str, VerifierKey]) -> tuple[Verified, Walked]:
    kept = read_kept(file.read_bytes())
    signed = _signed(kept.checkpoint.encode(), trusted or {"": VerifierKey.parse(kept.key)})

    async def check(clew: compose.Clew) -> tuple[Verified, Walked]:
        verifier = clew.verifier()
        extents = await verifier.extents()
        comparison = Comparison(clew.js, clew.ledger, verifier, clew.deployment.shards)
        with checking.counted("verifying", sum(each.last_seq for each in extents)) as progress:
            found = await comparison.compare(signed, kept.heads, extents, progress=progress)
        return found, await walk(clew.js, trusted)

    return look(nats, check)


def _signed(note: bytes, keys: Mapping[str, VerifierKey]) -> Signed:
    """A checkpoint that one of the keys has signed; which, it says itself."""
    key_ids = read(note).key_ids
    named = [keys[key_id] for key_id in key_ids if key_id in keys]
    return verified(note, next(iter(named or keys.values())))


def _check_pack(file: Path, against: Path | None, keys: tuple[str, ...], *, as_json: bool) -> None:
    if len(keys) > 1:
        raise click.UsageError("a pack is checked with one --key")
    pack = Pack(file)
    trusted = key_from(keys[0]) if keys else None
    kept = read_kept(against.read_bytes()) if against is not None else None
    with checking.counted("verifying", pack.manifest.commits) as progress:
        found = checked(pack, key=trusted, kept=kept, progress=progress)
    summary = {
        "threads": found.verified.threads,
        "commits": found.verified.commits,
        "checkpoints": len(found.checkpoints),
    }
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
