"""``clew rebuild`` on a server with everything running."""

from __future__ import annotations

import json
from pathlib import Path

from support.up import clew, running_up


def test_a_rebuild_by_command_under_running_services_and_the_way_back(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as up:
        env = {"CLEW_NATS": up.nats_url}

        def asked(*words: str) -> dict[str, object]:
            ran = clew(*words, "--json", env=env)
            assert ran.returncode == 0, ran.stderr
            answer = json.loads(ran.stdout)
            assert isinstance(answer, dict)
            return answer

        for n in range(5):
            assert clew("thread", "create", "--id", f"thread_{n}", env=env).returncode == 0
        rebuilt = asked("rebuild", "threads")
        assert (rebuilt["generation"], rebuilt["live"], rebuilt["threads"]) == (2, True, 5)
        assert clew("thread", "update", "thread_0", "--set", "a=1", env=env).returncode == 0
        asked("thread", "get", "thread_0")
        generations = asked("rebuild", "list")["generations"]
        assert isinstance(generations, list)
        assert [(each["generation"], each["live"]) for each in generations] == [(1, False), (2, True)]
        assert "live" in clew("rebuild", "list", env=env).stdout
        assert asked("rebuild", "back") == {"live": 1, "fold": 1}
        metadata = asked("thread", "get", "thread_0")
        assert '"a": "1"' in json.dumps(metadata)
        refused = clew("rebuild", "remove", "1", env=env)
        assert refused.returncode == 1
        assert "generation 1 is live" in refused.stderr
        assert asked("rebuild", "remove", "2") == {"removed": 2}
        assert clew("prove", "--all", env=env).returncode == 0
