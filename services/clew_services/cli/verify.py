"""``clew verify``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from clew_events.subjects import MAX_SHARDS, Address
from clew_projections.generations.record import Alias
from clew_projections.integrity.verify import Verifier
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.key_names import bucket_names
from clew_projections.packs.pack import Pack
from clew_services.checkpoints.chain import walk_chain
from clew_services.checkpoints.comparison import Comparison
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.shard_processes import Login, ShardProcesses
from clew_services.checkpoints.signed_checkpoint import SignedNote, read, read_kept, verify_note
from clew_services.checkpoints.verification import Verification, compose_verifier
from clew_services.cli import check_report, options, output
from clew_services.cli.options import key_from, verifier_keys
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, quantity
from clew_services.erasure.evidence import StoredEvidence
from clew_services.open_deployment import OpenDeployment
from clew_services.packs.check_pack import PackCheck, check_pack
from clew_services.settings import Settings


@click.command("verify")
@options.maybe_thread
@check_report.everything
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint written by 'clew checkpoint export'; verifies everything.",
)
@verifier_keys
@options.pack
@click.option(
    "--processes",
    type=click.IntRange(1, MAX_SHARDS),
    help="How many processes verify shards side by side.  [default: one for each core, for a long log]",
)
@options.index
@options.query_options_with_data
def command(
    *,
    thread: str | None,
    everything: bool,
    against: Path | None,
    keys: tuple[str, ...],
    pack: Path | None,
    processes: int | None,
    data: str,
    index: str,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Verify that no history was altered or lost: of one THREAD, of a tenant, or of all.

    Every commit holds the hash of the one before it, and the deployment's newest checkpoint covers the log as of its
    signing. The views of threads, and this machine's index, must not have more than the log. The exit code is 5 if
    anything does not match: each altered history is then named with the place and the kind of change. It is 6 if the
    thread does not exist and never did.

    With --key, a public key that you trust, there must be a checkpoint, signed with it. Repeat it for each key that was
    in use. With --against, the log must also still hold everything that is covered by a checkpoint that you kept
    elsewhere: that reveals changes made together with the deployment's own checkpoints. With --all or --against these
    are verified from the first to the last.

    With --pack, an audit pack is verified without a server: every byte, every chain, and that both match the pack's
    checkpoint. With --key there must be a checkpoint, signed with that key.
    """
    if processes is not None and (thread is not None or pack is not None):
        raise click.UsageError("--processes is for many shards: omit THREAD and --pack")
    if pack is not None:
        if thread is not None or everything:
            raise click.UsageError("--pack verifies the whole pack: omit THREAD and --all")
        check_report.check_all_tenants("--pack")
        _check_pack(pack, against, keys, as_json=as_json)
        return
    trusted = {key.id: key for key in map(key_from, keys)}
    login = Login(*options.nats_login(nats), options.reply_prefix(), tuple(map(str, trusted.values())))
    helpers = ShardProcesses(login, processes)
    if against is not None:
        if thread is not None:
            raise click.UsageError("--against verifies everything: omit THREAD")
        check_report.check_all_tenants("--against")
        verification = _compare(nats, against, trusted, helpers)
    else:
        root = Settings(data=data, index=index).index_folder
        address = check_report.choose(thread, tenant, everything)
        verification = _verify(
            nats,
            address,
            tenant=None if everything else tenant,
            trusted=trusted,
            root=root,
            processes=helpers,
        )
    verified, walked = verification.verified, verification.walked
    every = everything or against is not None
    summary = {"threads": verified.threads, "commits": verified.commits}
    if every:
        summary["checkpoints"] = walked.checkpoints
    newest = walked.newest.checkpoint.number if walked.newest is not None else None
    more = {"tenant": None if every else tenant, "covered": verified.covered, "checkpoint": newest}
    kept = "the log agrees with the checkpoint that you kept; " if against is not None else ""
    good = f"every chain is intact; {kept}{'; '.join(_checkpoint_verdict(verification, trusted, every=every))}"
    scope = check_report.scope_of(thread, None if every else tenant)
    check_report.report(summary, verification.findings, as_json=as_json, good=good, scope=scope, more=more)


def _checkpoint_verdict(
    verification: Verification, trusted: Mapping[str, VerifierKey], *, every: bool
) -> Iterator[str]:
    """What valid checkpoints cover of the verified commits, and what they do not, as phrases."""
    verified, walked = verification.verified, verification.walked
    if walked.newest is None:
        yield "there is no checkpoint, so a removed end or a rewritten log cannot be detected"
        return
    newest = walked.newest.checkpoint
    of = f"checkpoint {newest.number} of {output.when(newest.at)}"
    after = verified.commits - verified.covered
    if verified.covered or not after:
        later = f"; {after} later commit{'s are' if after > 1 else ' is'} not covered by it" if after else ""
        yield f"it agrees with {of}{later}"
    else:
        yield f"{of} does not cover it yet"
    signers = ", ".join(walked.key_ids)
    follows = "every checkpoint follows from the one before it, and " if every else ""
    yield (
        f"{follows}is signed with {signers}"
        if trusted
        else f"{follows}the signatures, by {signers}, were not verified: give --key"
    )
    for number, reason in walked.accepted:
        yield f"checkpoint {number} accepted a history that differs from the checkpoint before it: {reason}"


def _verify(
    nats: str,
    address: Address | None,
    *,
    tenant: str | None,
    trusted: Mapping[str, VerifierKey],
    root: Path,
    processes: ShardProcesses,
) -> Verification:
    async def check(opened: OpenDeployment) -> Verification:
        record = (await Alias(opened.js).read_record()).record
        threads = Bucket(opened.js, bucket_names(record.live)[0], replicated=opened.replicated)
        evidence = StoredEvidence(opened.js, trusted)
        verifier = compose_verifier(opened, threads, evidence, check_report.index_of(opened, root), processes)
        with check_report.count_up("verifying") as begin:
            if address is not None:
                return await verifier.thread(address, trusted, begin)
            return await verifier.whole(tenant, trusted, begin)

    return look(nats, check)


def _compare(nats: str, file: Path, trusted: Mapping[str, VerifierKey], processes: ShardProcesses) -> Verification:
    kept = read_kept(file.read_bytes())
    signed = _find_signed(kept.checkpoint.encode(), trusted or {"": VerifierKey.parse(kept.key)})

    async def check(opened: OpenDeployment) -> Verification:
        walked = await walk_chain(opened.js, trusted)
        verifier = Verifier(opened.js, opened.shards, StoredEvidence(opened.js, trusted))
        extents = await verifier.extents()
        with check_report.count_to("verifying", sum(extent.messages for extent in extents)) as progress:
            comparison = Comparison(opened.js, Ledger(opened.js), verifier, opened.shards, processes)
            verified = await comparison.compare(signed, kept.heads, extents, newest=walked.newest, progress=progress)
        return Verification(verified, walked, ())

    return look(nats, check)


def _find_signed(note: bytes, keys: Mapping[str, VerifierKey]) -> SignedNote:
    """A checkpoint, verified with that of the keys that it names."""
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
        checked = check_pack(pack, key=trusted, kept=kept, progress=progress)
    summary = {
        "threads": checked.verified.threads,
        "commits": checked.verified.commits,
        "checkpoints": len(checked.checkpoints),
    }
    newest = max(checked.checkpoints, default=None)
    scope, covered = pack.opening.scope.tenant, checked.verified.covered
    more: dict[str, object] = {"tenant": scope, "covered": covered, "checkpoint": newest}
    if pack.erased is not None:
        more["erased"] = pack.erased
        if not as_json:
            echo(check_report.describe_erased(pack.erased))
    if pack.manifest.missing:
        more["missing"] = pack.manifest.missing
        if not as_json:
            count = quantity(len(pack.manifest.missing), "threads")
            echo(f"{count} that forks in it were forked from are not in it: what these inherit cannot be shown")
    check_report.report(summary, checked.verified.findings, as_json=as_json, good=_good(checked), more=more)


def _good(checked: PackCheck) -> str:
    good = "every byte is unchanged, every chain is intact"
    if not checked.checkpoints:
        return f"{good}; no checkpoint covers them"
    numbers = " and ".join(map(str, checked.checkpoints))
    covered, commits = checked.verified.covered, checked.verified.commits
    they = "they are" if covered == commits else f"{covered} of {commits} commits are"
    rest = "" if covered == commits else "; of those that came after it only the chains speak"
    if checked.key_id is None:
        how = "whose signature was not checked: give its --key"
        return f"{good}, and {they} what checkpoint {numbers} says, {how}{rest}"
    whose = "" if checked.given else " that the pack itself names: give one that you trust with --key"
    return f"{good}, and {they} what checkpoint {numbers} says, signed with the key {checked.key_id}{whose}{rest}"
