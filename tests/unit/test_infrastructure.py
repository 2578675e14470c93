"""What stands in ``infra`` for containers speaks of what there is: our commands, options, settings and files."""

from __future__ import annotations

import re
from pathlib import Path

import click
import kubernetes_validate
import pytest
import yaml

from clew_services.cli import main
from clew_services.settings import Settings
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


def test_the_pods_run_commands_of_ours_with_settings_of_ours() -> None:
    pods = [
        (document["metadata"]["name"], document["spec"]["template"])
        for _, document in MANIFESTS
        if "template" in document["spec"]
    ]
    assert {name for name, _ in pods} == {"clew", "init", "api", "requests", "projector", "erasure"}
    for name, pod in pods:
        assert pod["metadata"]["labels"]
        for container in pod["spec"]["containers"]:
            if container["image"] != "clew":
                assert container["image"] == "nats:2.15.1"
                continue
            hold_command(container["args"])
            assert {each["name"] for each in container["env"]} <= SETTINGS, name


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
