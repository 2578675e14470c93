"""``clew verify``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from clew_events.subjects import Address
from clew_projections.generations.alias import Alias
from clew_projections.integrity.verify import Verifier
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.key_names import bucket_names
from clew_projections.packs.pack import Pack
from clew_services.checkpoints.chain import walk_chain
from clew_services.checkpoints.comparison import Comparison
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed_checkpoint import SignedNote, read, read_kept, verify_note
from clew_services.checkpoints.verification import Verification, compose_verifier
from clew_services.cli import check_report, options, output
from clew_services.cli.options import key_from, verifier_keys
from clew_services.cli.session import look
from clew_services.open_deployment import OpenDeployment
from clew_services.packs.check_pack import PackCheck, check_pack
from clew_services.settings import Settings


@click.command("verify")
@options.maybe_thread
@check_report.everything
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that 'clew checkpoint export' wrote; checks everything.",
)
@verifier_keys
@options.pack
@options.index
@options.asking_with_data
def command(
    *,
    thread: str | None,
    everything: bool,
    against: Path | None,
    keys: tuple[str, ...],
    pack: Path | None,
    data: str,
    index: str,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Check that no history was altered or lost: of one THREAD, of a tenant, or of all.

    Every commit names the hash of the one before it, and the deployment's newest checkpoint says what all of the log
    was. Nor may the views of threads, or this machine's index, know more than the log has. The exit code is 5 if
    anything does not fit, and each history that was touched is named with the place and what was done to it; it is 6
    if there is no such thread, and never was.

    With --key, a public key that you trust, checkpoints must be signed with it, and there must be one. Say it again for
    each key that was in use. With --against, the log must also still hold everything that a checkpoint speaks of which
    you kept elsewhere: that shows what was done together with the deployment's own checkpoints. With --all or
    --against these are checked from the first to the last.

    With --pack, all that is in an audit pack is checked, with no server: every byte of it, every chain, and that it is
    what the checkpoint in it says. With --key there must be one, signed with a key that you trust.
    """
    if pack is not None:
        if thread is not None or everything:
            raise click.UsageError("--pack checks all that is in the pack: leave THREAD and --all out")
        _check_pack(pack, against, keys, as_json=as_json)
        return
    trusted = {key.id: key for key in map(key_from, keys)}
    if against is not None:
        if thread is not None:
            raise click.UsageError("--against checks everything: leave THREAD out")
        found = _compare(nats, against, trusted)
    else:
        root = Settings(data=data, index=index).index_folder
        address = check_report.chosen(thread, tenant, everything)
        found = _verify(nats, address, None if everything else tenant, trusted, root)
    verified, walked = found.verified, found.walked
    summary = {"threads": verified.threads, "commits": verified.commits}
    if everything or against is not None:
        summary["checkpoints"] = walked.checkpoints
    newest = walked.newest.checkpoint.number if walked.newest is not None else None
    more = {"covered": verified.covered, "checkpoint": newest}
    kept = "the log is what the checkpoint says that you kept; " if against is not None else ""
    every = everything or against is not None
    good = f"every chain is whole; {kept}{'; '.join(_checkpoint_verdict(found, trusted, every=every))}"
    check_report.report(summary, found.findings, as_json=as_json, good=good, more=more)


def _checkpoint_verdict(found: Verification, trusted: Mapping[str, VerifierKey], *, every: bool) -> Iterator[str]:
    """What checkpoints with which nothing is wrong say of what was verified, and what they do not."""
    verified, walked = found.verified, found.walked
    if walked.newest is None:
        yield "no checkpoint says what it was: what was cut off at the end, or all of it rewritten, does not show"
        return
    newest = walked.newest.checkpoint
    of = f"checkpoint {newest.number} of {output.when(newest.at)}"
    after = verified.commits - verified.covered
    if verified.covered or not after:
        yield f"it is what {of} says" + (f", but for {after} commits after that" if after else "")
    else:
        yield f"{of} says nothing of it yet"
    signers = ", ".join(walked.key_ids)
    follows = "every checkpoint follows from the one before it, and " if every else ""
    yield (
        f"{follows}is signed with {signers}"
        if trusted
        else f"{follows}signatures, by {signers}, were not checked: give --key"
    )
    for number, reason in walked.accepted:
        yield f"checkpoint {number} accepted another history than the one before it had: {reason}"


def _verify(
    nats: str, address: Address | None, tenant: str | None, trusted: Mapping[str, VerifierKey], root: Path
) -> Verification:
    async def check(opened: OpenDeployment) -> Verification:
        record = (await Alias(opened.js).read_record()).record
        threads = Bucket(opened.js, bucket_names(record.live)[0], replicated=opened.replicated)
        verifier = compose_verifier(opened, threads, check_report.index_of(opened, root))
        with check_report.count_up("verifying") as begin:
            if address is not None:
                return await verifier.thread(address, trusted, begin)
            return await verifier.whole(tenant, trusted, begin)

    return look(nats, check)


def _compare(nats: str, file: Path, trusted: Mapping[str, VerifierKey]) -> Verification:
    kept = read_kept(file.read_bytes())
    signed = _find_signed(kept.checkpoint.encode(), trusted or {"": VerifierKey.parse(kept.key)})

    async def check(opened: OpenDeployment) -> Verification:
        walked = await walk_chain(opened.js, trusted)
        verifier = Verifier(opened.js, opened.shards)
        extents = await verifier.extents()
        with check_report.count_to("verifying", sum(each.messages for each in extents)) as progress:
            comparison = Comparison(opened.js, Ledger(opened.js), verifier, opened.shards)
            found = await comparison.compare(signed, kept.heads, extents, newest=walked.newest, progress=progress)
        return Verification(found, walked, ())

    return look(nats, check)


def _find_signed(note: bytes, keys: Mapping[str, VerifierKey]) -> SignedNote:
    """A checkpoint that one of the keys has signed; which, it says itself."""
    key_ids = read(note).key_ids
    named = [keys[key_id] for key_id in key_ids if key_id in keys]
    return verify_note(note, next(iter(named or keys.values())))


def _check_pack(file: Path, against: Path | None, keys: tuple[str, ...], *, as_json: bool) -> None:
    if len(keys) > 1:
        raise click.UsageError("a pack is checked with one --key")
    pack = Pack(file)
    trusted = key_from(keys[0]) if keys else None
    kept = read_kept(against.read_bytes()) if against is not None else None
    with check_report.count_to("verifying", pack.manifest.commits) as progress:
        found = check_pack(pack, key=trusted, kept=kept, progress=progress)
    summary = {
        "threads": found.verified.threads,
        "commits": found.verified.commits,
        "checkpoints": len(found.checkpoints),
    }
    more = {"covered": found.verified.covered, "checkpoint": max(found.checkpoints, default=None)}
    check_report.report(summary, found.verified.findings, as_json=as_json, good=_good(found), more=more)


def _good(found: PackCheck) -> str:
    good = "every byte is as it was written, every chain is whole"
    if not found.checkpoints:
        return f"{good}; no checkpoint covers them"
    numbers = " and ".join(map(str, found.checkpoints))
    covered, commits = found.verified.covered, found.verified.commits
    they = "they are" if covered == commits else f"{covered} of {commits} commits are"
    rest = "" if covered == commits else "; of those that came after it only the chains speak"
    if found.key_id is None:
        how = "whose signature was not checked: give its --key"
        return f"{good}, and {they} what checkpoint {numbers} says, {how}{rest}"
    whose = "" if found.given else " that the pack itself names: give one that you trust with --key"
    return f"{good}, and {they} what checkpoint {numbers} says, signed with the key {found.key_id}{whose}{rest}"
