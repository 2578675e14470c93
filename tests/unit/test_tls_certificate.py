"""A listener's certificate with bad dates is presented, and its operator is told, once."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clew_services.host.certificate_dates import Validity
from clew_services.http import tls_certificate
from clew_services.http.tls_certificate import Certificate
from support.certificates import DAY, Authority

START = datetime.now(UTC)
DATES = {
    "expired": (START - 2 * DAY, START - DAY, "expired at {until}, so callers refuse it"),
    "not valid yet": (START + DAY, START + 90 * DAY, "is not valid before {since}, so callers refuse it"),
    "expires within three weeks": (START - 69 * DAY, START + 20 * DAY, "expires at {until}"),
    "expires later": (START - 68 * DAY, START + 22 * DAY, ""),
    "of six days, half is left": (START - 3 * DAY, START + 3 * DAY, ""),
    "of six days, a quarter is left": (START - 4.5 * DAY, START + 1.5 * DAY, "expires at {until}"),
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.mark.parametrize("dates", DATES.values(), ids=DATES)
def test_the_dates_of_a_certificate_are_told_at_the_start_and_of_the_next_one_once(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, dates: tuple[datetime, datetime, str]
) -> None:
    since, until, what = dates
    cert, key = tmp_path / "api.pem", tmp_path / "api.key"

    def present(files: tuple[Path, Path]) -> None:
        for source, file in zip(files, (cert, key), strict=True):
            shutil.copy(source, file)

    said = what.format(since=f"{since:%Y-%m-%d %H:%M} UTC", until=f"{until:%Y-%m-%d %H:%M} UTC")
    warning = [f"the certificate of the HTTP API, {cert}, {said}: renew it, which needs no restart"] if what else []
    present(authority.issue("one", "clew.example", since=since, until=until))
    certificate = Certificate(str(cert), str(key), "the HTTP API")
    for _ in range(3):
        certificate.renew()
    assert told(caplog) == warning
    present(authority.issue("good", "clew.example"))
    certificate.renew()
    assert told(caplog) == warning
    present(authority.issue("two", "clew.example", since=since, until=until))
    for _ in range(3):
        certificate.renew()
    assert told(caplog) == 2 * warning


def test_what_time_does_to_a_certificate_is_told_as_it_happens(
    authority: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = authority.issue("one", "clew.example", since=START - DAY, until=START + 89 * DAY)
    certificate = Certificate(*map(str, files), "the HTTP API")

    class Clock(datetime):
        days = 0

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return START + cls.days * DAY

    monkeypatch.setattr(tls_certificate, "datetime", Clock)
    counts = []
    for Clock.days in (0, 67, 69, 80, 88, 90, 100):
        certificate.renew()
        counts.append(len(told(caplog)))
    assert counts == [0, 0, 1, 1, 1, 2, 2]


def test_of_dates_whose_beginning_is_not_known_the_end_is_judged() -> None:
    assert Validity(START + 22 * DAY).fault(START) is None
    assert Validity(START + timedelta(days=20)).fault(START) is not None


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
