"""``clew checkpoint``: signed Merkle roots of the log, and inclusion proofs under them."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from clew_events.errors import Invalid
from clew_events.subjects import TENANT, Address
from clew_projections.integrity.erasure_check import erasures_of
from clew_services.checkpoints import key_file
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.signed_checkpoint import KeptCheckpoint, KeptProof, SignedNote, read_proof, verify_note
from clew_services.checkpoints.thread_proofs import bodies_between, check, head_proof, temporary_heads
from clew_services.cli import options, output
from clew_services.cli.options import key_file_of, key_from, load_signing_key, verifier_key
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, echo_json, echo_lines, print_json, quantity
from clew_services.erasure.certificate import read_certificate
from clew_services.erasure.evidence import StoredEvidence
from clew_services.open_deployment import OpenDeployment

_TITLE = ("number", "time", "threads", "commits", "key", "hash")

_number = click.argument("number", required=False, type=click.IntRange(min=1))
_new_file = click.Path(dir_okay=False, writable=True, path_type=Path)
_there = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("checkpoint")
def command() -> None:
    """Sign and export checkpoints of the log, and prove threads by them.

    A checkpoint holds, for each shard, a Merkle root over the heads of all its threads. 'clew up' and 'clew serve
    projector' sign one at an interval (CLEW_CHECKPOINTS).
    """


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Show at most this many.")
@click.option("--before", type=click.IntRange(min=1), help="Only those before this number.")
@options.nats
@options.as_json
def list_checkpoints(*, limit: int, before: int | None, nats: str, as_json: bool) -> None:
    """Show checkpoints, the newest first."""

    async def read(opened: OpenDeployment) -> list[SignedNote]:
        return await Ledger(opened.js).before(before, limit)

    checkpoints = look(nats, read)
    if as_json:
        print_json([_checkpoint_fields(checkpoint) for checkpoint in checkpoints])
        return
    output.rows(_TITLE, map(_line, checkpoints), right=frozenset({"number", "threads", "commits"}))


@command.command("show")
@_number
@options.nats
@options.as_json
def show(*, number: int | None, nats: str, as_json: bool) -> None:
    """Show checkpoint NUMBER, or the last, as it was signed. The signature is not checked."""
    signed = _chosen(nats, number)
    if as_json:
        print_json(_checkpoint_fields(signed))
        return
    echo_lines(signed.note.decode())


@command.command("make")
@click.option("--reason", help="Sign even if the log does not match the last checkpoint, and record this reason.")
@options.data_and_nats
@options.signing_key
@options.as_json
def make(*, reason: str | None, nats: str, data: str, signing_key: str, as_json: bool) -> None:
    """Sign a checkpoint now, if anything has changed since the last.

    Reads the whole log first, and compares it with the last checkpoint.
    """
    key = load_signing_key(data, signing_key)

    async def sign(opened: OpenDeployment) -> SignedNote | None:
        async with temporary_heads(opened.js, opened.shards) as heads:
            return await Maker(opened.js, Ledger(opened.js), heads, key).make(reason=reason)

    signed = look(nats, sign)
    if as_json:
        print_json(_checkpoint_fields(signed) if signed is not None else None)
    elif signed is None:
        echo("nothing to sign: nothing has changed since the last checkpoint")
    else:
        echo(f"signed checkpoint {signed.checkpoint.number} with key {key.verifier.id}")


@command.command("keygen")
@options.data
@options.signing_key
def keygen(*, data: str, signing_key: str) -> None:
    """Create the key that signs checkpoints, in the file of --signing-key or in --data, and print its public key."""
    echo(str(key_file.create_key(key_file_of(data, signing_key)).verifier))


@command.command("key")
@options.data
@options.signing_key
def key(*, data: str, signing_key: str) -> None:
    """Print the public key of this machine's signing key, for auditors."""
    echo(str(load_signing_key(data, signing_key).verifier))


@command.command("export")
@click.argument("file", type=_new_file)
@_number
@click.option(
    "--with-heads", is_flag=True, help="Include every thread's head, so that each differing thread can be named."
)
@verifier_key
@options.data_and_nats
@options.signing_key
def export(
    *, file: Path, number: int | None, with_heads: bool, key: str | None, nats: str, data: str, signing_key: str
) -> None:
    """Write checkpoint NUMBER, or the last, with the public key to FILE, for an auditor to keep elsewhere."""
    verifier = key_from(key) if key else load_signing_key(data, signing_key).verifier

    async def read(opened: OpenDeployment) -> KeptCheckpoint:
        signed = verify_note((await Ledger(opened.js).chosen(number)).note, verifier)
        kept = KeptCheckpoint(checkpoint=signed.note.decode(), key=str(verifier))
        if not with_heads:
            return kept
        async with temporary_heads(opened.js, opened.shards) as heads:
            shards = [await heads.agreeing_heads(shard, signed.checkpoint) for shard in range(heads.shards)]
        return msgspec.structs.replace(kept, heads=tuple(shards))

    kept = look(nats, read)
    _write(file, msgspec.json.encode(kept))
    echo(f"wrote {file}")


@command.command("proof")
@options.maybe_thread
@click.option("--out", "file", type=_new_file, help="Write the proof to this file instead of standard output.")
@click.option("--number", type=click.IntRange(min=1), help="Under this checkpoint.  [default: the last]")
@click.option(
    "--since",
    type=click.IntRange(min=1),
    help="Also prove that the thread continues its history under this earlier checkpoint.",
)
@click.option("--with-commits", is_flag=True, help="Include all commits of the thread.")
@options.tenant
@options.nats
def proof(
    *,
    thread: str | None,
    file: Path | None,
    number: int | None,
    since: int | None,
    with_commits: bool,
    tenant: str,
    nats: str,
) -> None:
    """Write an inclusion proof of THREAD's head under a checkpoint. Checking it needs no server.

    Without THREAD it is of the tenant's own history.
    """
    if since is not None and with_commits:
        raise click.UsageError("either --since or --with-commits")
    address = Address(tenant, thread or TENANT)

    async def prove(opened: OpenDeployment) -> KeptProof:
        shards = opened.shards
        later = await Ledger(opened.js).chosen(number)
        if since is not None and since >= later.checkpoint.number:
            raise Invalid(f"--since {since} is not before checkpoint {later.checkpoint.number}", param="since")
        async with temporary_heads(opened.js, shards) as heads:
            earlier = (
                await head_proof(opened.js, heads, await Ledger(opened.js).chosen(since), address) if since else None
            )
            head = await head_proof(opened.js, heads, later, address)
        if not with_commits and earlier is None:
            return KeptProof(head=head)
        commits = await bodies_between(opened.js, shards, address, earlier.n if earlier is not None else 0, head.n)
        history = opened.histories().after(address, 0)
        erasures = {erasure: address.tenant async for each in history for erasure in erasures_of(each.commit)}
        packed = await StoredEvidence(opened.js, {}).read_packed(erasures)
        return KeptProof(
            head=head, earlier=earlier, commits=tuple(commits), certificates=tuple(packed.certificates.values())
        )

    raw = msgspec.json.format(msgspec.json.encode(look(nats, prove)), indent=2)
    if file is None:
        echo_json(raw)
        return
    _write(file, raw + b"\n")
    echo(f"wrote {file}")


@command.command("check")
@click.argument("file", type=_there)
@verifier_key
@options.as_json
def check_proof(*, file: Path, key: str | None, as_json: bool) -> None:
    """Check the inclusion proof in FILE; needs no server. The exit code is 5 if it does not hold.

    Without --key, signatures are not checked: anybody may have written the checkpoint under which the proof holds.
    """
    proven = read_proof(file.read_bytes())
    trusted = key_from(key) if key is not None else None
    certificates = [read_certificate(each.encode(), trusted).certificate for each in proven.certificates]
    signed = check(proven, trusted, certificates)
    checkpoint = signed.checkpoint
    head, earlier = proven.head, proven.earlier
    if as_json:
        facts = {"tenant": head.tenant, "thread": head.thread, "n": head.n, "hash": head.hash}
        since = earlier.n if earlier is not None else None
        signer = trusted.id if trusted is not None else None
        print_json({**facts, "checkpoint": checkpoint, "since": since, "key": signer, "certificates": certificates})
        return
    echo(
        f"thread {head.thread} of tenant {head.tenant} had {quantity(head.n, 'commits')}, the last with the hash "
        f"{head.hash}, when checkpoint {checkpoint.number} was signed at {output.when(checkpoint.at)}"
    )
    if earlier is not None:
        echo(f"its commits {earlier.n + 1} to {head.n} continue its history under the earlier checkpoint")
    elif proven.commits:
        echo(f"its whole history is here, unaltered: {quantity(head.n, 'commits')}")
    for certificate in certificates:
        echo(
            f"erased by {certificate.erasure}, and certified at {output.when(certificate.completed_at)}: "
            f"{quantity(certificate.contents, 'contents')} of {quantity(certificate.commits, 'commits')}"
        )
    if trusted is None:
        also = ", nor those of certificates" if certificates else ""
        echo(f"the signature, by {' '.join(signed.key_ids)}, was not verified{also}: give --key")


def _chosen(nats: str, number: int | None) -> SignedNote:
    async def read(opened: OpenDeployment) -> SignedNote:
        return await Ledger(opened.js).chosen(number)

    return look(nats, read)


def _write(file: Path, raw: bytes) -> None:
    try:
        file.write_bytes(raw)
    except OSError as fault:
        raise Invalid(f"{file} cannot be written: {fault.strerror}", code="not_writable") from fault


def _checkpoint_fields(signed: SignedNote) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(signed.checkpoint),
        "hash": signed.hash,
        "keys": signed.key_ids,
        "note": signed.note.decode(),
    }


def _line(signed: SignedNote) -> tuple[object, ...]:
    checkpoint = signed.checkpoint
    threads = sum(shard.threads for shard in checkpoint.shards)
    commits = sum(shard.commits for shard in checkpoint.shards)
    when = output.when(checkpoint.at)
    return checkpoint.number, when, threads, commits, " ".join(signed.key_ids), signed.hash[:12]
