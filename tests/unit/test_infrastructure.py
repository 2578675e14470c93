"""What stands in ``infra`` for containers speaks of what there is: our commands, options, settings and files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import kubernetes_validate
import pytest
import yaml

from clew_services.cli import main
from clew_services.embedded import binary
from clew_services.settings import Settings
from support.certificates import Authority
from support.up import ROOT

INFRA = ROOT / "infra"
COMPOSE = ("compose.yaml", "compose-cluster.yaml")
MANIFESTS = [
    (path.name, document)
    for path in sorted((INFRA / "k8s").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
PASSWORDS = set(re.findall(r"\$(\w+_PASSWORD)", "".join(each.read_text() for each in (INFRA / "nats").glob("*.conf"))))
ROUTES = {f"CLEW_ROUTE_{number}" for number in (1, 2, 3)}
SETTINGS = {f"CLEW_{name.upper()}" for name in Settings.__struct_fields__}


def hold_command(words: list[str]) -> None:
    """These words are a command of ours, with options that it has."""
    context = click.Context(main, info_name="clew")
    command = main.get_command(context, words[0])
    assert command is not None, words
    command.make_context(words[0], list(words[1:]), parent=context)


@pytest.mark.parametrize("name", COMPOSE)
def test_the_containers_of_a_host_run_commands_of_ours_with_settings_of_ours(name: str) -> None:
    whole = yaml.safe_load((INFRA / name).read_text())
    volumes = set(whole.get("volumes", {}))
    for service, said in whole["services"].items():
        if said["image"] == "clew":
            hold_command(said["command"])
            assert set(said["environment"]) <= SETTINGS, service
            assert (INFRA / said["build"]["context"] / said["build"]["dockerfile"]).is_file()
        else:
            assert said["image"] == "nats:2.15.1"
            assert set(said["environment"]) == PASSWORDS | ROUTES | {"CLEW_MAX_FILE_STORE"}
            assert (INFRA / "nats" / Path(said["command"][1]).name).is_file()
        for volume in said.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in volumes or (INFRA / source).is_dir()
        for other in said.get("depends_on", ()):
            assert other in whole["services"]
        for setting in re.findall(r"@([\w-]+):\d+", str(said["environment"])):
            assert setting in whole["services"]


@pytest.mark.parametrize("document", [document for _, document in MANIFESTS], ids=lambda each: each["kind"])
def test_a_manifest_is_what_kubernetes_takes(document: dict[str, object]) -> None:
    kubernetes_validate.validate(document, "1.34", strict=True)


def pods_in(documents: list[dict]) -> dict[str, dict]:
    """The pods of manifests by name, each of which says what it takes, may do little, and has what it mounts."""
    pods = {each["metadata"]["name"]: each["spec"]["template"] for each in documents if "template" in each["spec"]}
    budgets = {each["metadata"]["name"] for each in documents if each["kind"] == "PodDisruptionBudget"}
    for name, pod in pods.items():
        assert pod["metadata"]["labels"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        (container,) = pod["spec"]["containers"]
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        volumes = {each["name"] for each in pod["spec"].get("volumes", ())}
        assert {each["name"] for each in container.get("volumeMounts", ())} - {"data"} == volumes
        if "init" not in name:
            assert {"startupProbe", "livenessProbe"} <= set(container), name
            assert name in budgets | {"clew"}
        if container["image"].startswith("clew"):
            hold_command(container["args"])
            assert {each["name"] for each in container["env"]} <= SETTINGS, name
        else:
            assert container["image"] == "nats:2.15.1"
    return pods


def test_the_pods_run_commands_of_ours_with_settings_of_ours() -> None:
    pods = pods_in([document for _, document in MANIFESTS])
    assert set(pods) == {"clew", "init", "api", "requests", "projector", "erasure"}


TLS = ("nats.tlsSecret=nats-tls", "nats.clientCertificate=true", "http.tlsSecret=api-tls")
OUTSIDE = ("http.ingress.host=clew.example", "http.ingress.tlsSecret=api-tls", "settings.CLEW_MAX_FILE_STORE=45GB")


@pytest.mark.skipif(shutil.which("helm") is None, reason="the Helm chart is rendered where helm is installed")
@pytest.mark.parametrize("values", [(), TLS, (*TLS, *OUTSIDE)], ids=["as it is", "with TLS", "with all"])
def test_the_chart_renders_what_kubernetes_takes(values: tuple[str, ...]) -> None:
    chosen = [word for value in values for word in ("--set", value)]
    rendered = subprocess.run(
        ["helm", "template", "own", INFRA / "helm/clew", *chosen], capture_output=True, text=True, check=True
    ).stdout
    documents = [each for each in yaml.safe_load_all(rendered) if each is not None]
    for document in documents:
        kubernetes_validate.validate(document, "1.34", strict=True)
    pods = pods_in(documents)
    assert set(pods) == {"own-init-1", "own-api", "own-requests", "own-projector", "own-erasure"}
    (api,) = pods["own-api"]["spec"]["containers"]
    assert api["livenessProbe"]["httpGet"]["scheme"] == ("HTTPS" if values else "HTTP")
    for name, pod in pods.items():
        named = {each["name"] for each in pod["spec"]["containers"][0]["env"]}
        assert ({"CLEW_NATS_CA", "CLEW_NATS_CERT"} <= named) == bool(values), name
        assert ("CLEW_MAX_FILE_STORE" in named) == ("settings.CLEW_MAX_FILE_STORE=45GB" in values)
    assert any(each["kind"] == "Ingress" for each in documents) == ("http.ingress.host=clew.example" in values)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="units are verified where systemd is installed")
def test_systemd_takes_the_units_which_run_commands_of_ours(tmp_path: Path) -> None:
    units = sorted((INFRA / "systemd").glob("*.service"))
    assert [unit.name for unit in units] == ["clew.service", "clew@.service"]
    for unit in units:
        text = unit.read_text()
        (command,) = re.findall("^ExecStart=/opt/clew/bin/clew (.*)$", text, re.MULTILINE)
        hold_command(command.replace("%i", "projector").split())
        assert set(re.findall(r"^Environment=(CLEW_\w+)=", text, re.MULTILINE)) <= SETTINGS
        (tmp_path / unit.name).write_text(text.replace("/opt/clew/bin/clew", sys.executable))
    names = (tmp_path / "clew.service", tmp_path / "clew@projector.service")
    verified = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_a_cluster_takes_the_block_of_tls_as_it_is_proposed(tmp_path: Path) -> None:
    for file in (INFRA / "nats").glob("*.conf"):
        shutil.copy(file, tmp_path)
    authority = Authority(tmp_path / "tls")
    cert, key = authority.issue("tls", "clew-1.nats")
    text = (tmp_path / "tls.conf").read_text()
    block = re.sub("^# ?", "", text[text.index("# tls {") :], flags=re.MULTILINE)
    for proposed, file in (("tls.crt", cert), ("tls.key", key), ("ca.crt", authority.file)):
        assert f"/etc/nats-tls/{proposed}" in block
        block = block.replace(f"/etc/nats-tls/{proposed}", str(file))
    environment = {**dict.fromkeys(PASSWORDS, "secret"), "CLEW_MAX_FILE_STORE": "1GB"}
    environment |= {name: f"nats://route:secret@{name.lower()}:6222" for name in ROUTES}
    for tls, works in ((text, True), (block, True), (block.replace(str(key), str(authority.file)), False)):
        (tmp_path / "tls.conf").write_text(tls)
        checked = subprocess.run(
            [binary.find(), "-t", "-c", tmp_path / "cluster-1.conf"],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert (checked.returncode == 0) == works, checked.stderr


def test_what_kubernetes_is_given_is_all_there_is() -> None:
    whole = yaml.safe_load((INFRA / "kustomization.yaml").read_text())
    assert {INFRA / each for each in whole["resources"]} == set((INFRA / "k8s").glob("*.yaml"))
    (configuration,) = whole["configMapGenerator"]
    assert {INFRA / each for each in configuration["files"]} == set((INFRA / "nats").glob("*.conf"))


def test_the_servers_of_a_cluster_differ_in_their_names_only() -> None:
    settings = set()
    for number in (1, 2, 3):
        text = (INFRA / "nats" / f"cluster-{number}.conf").read_text()
        name = f"server_name: clew-{number}\n"
        assert name in text
        settings.add(re.sub(r"^#.*$", "", text.replace(name, ""), flags=re.MULTILINE))
    assert len(settings) == 1


def test_the_image_is_made_of_what_is_there() -> None:
    text = (INFRA / "Dockerfile").read_text()
    for copied in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for each in copied.split():
            assert (ROOT / each).exists(), each
    assert set(re.findall(r"(CLEW_\w+)=", text)) <= SETTINGS
