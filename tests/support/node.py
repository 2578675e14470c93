"""Node, and packages of npm that are locked beside the tests which use them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

NODE, NPM = shutil.which("node"), shutil.which("npm")
OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET_TIMEOUT")
needs_node = pytest.mark.skipif(not (NODE and NPM), reason="node or npm is not installed here")


def install(source: Path, folder: Path) -> Path:
    """Copy a folder's files, and install the packages that its lock file names; skip the test without a network."""
    for file in source.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    installed = subprocess.run(
        [str(NPM), "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    if installed.returncode and any(word in installed.stderr for word in OFFLINE):
        pytest.skip(f"npm cannot reach its registry: {installed.stderr.strip().splitlines()[0]}")
    assert installed.returncode == 0, installed.stderr
    return folder


def check_lock(source: Path) -> None:
    """Check that a lock file names no host, and a digest for each package."""
    lock = json.loads((source / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    for package in packages.values():
        assert "resolved" not in package
        assert package["integrity"].startswith("sha512-")
