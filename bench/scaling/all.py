"""All there is to measure about size, in a folder that keeps the deployments for the next time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from bench.scaling.deployments import Made, made
from bench.scaling.lag import Lag, lag
from bench.scaling.lanes import Comparison, compared
from bench.scaling.starting import Start, starts

SIZES: Final = (1_000, 1_000_000)


class Scaled(Struct, frozen=True, kw_only=True):
    """What was found out."""

    made: list[Made]
    compared: Comparison
    starts: dict[str, list[Start]]
    lag: Lag


async def scaled(folder: Path, seconds: float, sizes: tuple[int, int] = SIZES) -> Scaled:
    """Make what is missing, which takes minutes for a million threads, and measure."""
    folders = [folder / str(threads) for threads in sizes]
    found = [await made(each, threads) for each, threads in zip(folders, sizes, strict=True)]
    few, many = ((each, threads) for each, threads in zip(folders, sizes, strict=True))
    return Scaled(
        made=found,
        compared=await compared(few, many, seconds),
        starts={f"{threads:,} threads": await starts(each) for each, threads in zip(folders, sizes, strict=True)},
        lag=await lag(folders[1], seconds),
    )
