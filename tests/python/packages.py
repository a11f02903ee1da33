"""Looks at packaging/ with the tools that will read it: hadolint at the container file, Helm's own engine at the chart,
Kubernetes' schemas of several versions at all that comes out, the Compose specification at the Compose file.

Prints what it has looked at, one line each; the first fault ends it with exit code 1.
"""

import pathlib
import subprocess
import sys

import compose_spec
import helm_python
import kubernetes_validate
import yaml

PACKAGING = pathlib.Path(__file__).resolve().parents[2] / "packaging"
# The oldest that its makers still mend, and the newest that the validator has.
KUBERNETES = ("1.34", "1.37")
# What each kind of deployment asks of the chart; the first is the chart as it is.
VALUES = (
    {},
    {"migrate": {"enabled": True}},
    {"replicas": 8, "image": {"repository": "registry.example/outbox-relay", "tag": "1.0.0"}},
)


def fail(what):
    print(what, file=sys.stderr)
    sys.exit(1)


def container():
    program = pathlib.Path(sys.executable).parent / "hadolint"
    path = PACKAGING / "container" / "Dockerfile"
    subprocess.run([program, "--failure-threshold", "info", path], check=True)
    broken = subprocess.run([program, "--failure-threshold", "info", "-"], input=b"FROM debian\nRUN cd /x\n", capture_output=True)
    if broken.returncode == 0:
        fail("hadolint finds nothing wrong with a container file that is")
    print("hadolint: container/Dockerfile")


def kubernetes(text, where):
    count = 0
    for resource in yaml.safe_load_all(text):
        if not resource:
            continue
        # The validator wants a name, the server makes one.
        resource["metadata"].setdefault("name", resource["metadata"].pop("generateName", None))
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except Exception as error:
                fail(f"{where}: {resource['kind']}, Kubernetes {version}: {error}")
        count += 1
    return count


def manifests():
    for path in sorted((PACKAGING / "kubernetes").glob("*.yaml")):
        if path.name != "kustomization.yaml":
            print(f"kubernetes: {path.name}, {kubernetes(path.read_text(), path.name)} resources")
    try:
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}, KUBERNETES[0], strict=True)
    except kubernetes_validate.ValidationError:
        return
    fail("the validator finds nothing wrong with a service that is")


def chart():
    place = PACKAGING / "helm" / "outbox-relay"
    findings = helm_python.lint(str(place))
    # 1 is information (no icon), 2 a warning, 3 an error.
    bad = [message for message in findings["messages"] if message["severity"] > 1] + findings["errors"]
    if bad:
        fail(f"helm lint: {bad}")
    print(f"helm lint: {findings['total_charts_linted']} chart")
    with helm_python.Chart.load(str(place)) as loaded:
        for values in VALUES:
            loaded.validate_schema(values)
            kinds = 0
            for name, text in loaded.render(values, name="relay", namespace="outbox").items():
                kinds += kubernetes(text, f"{name} with {values}")
            print(f"helm template with {values}: {kinds} resources")
        try:
            loaded.validate_schema({"replicas": "two"})
        except Exception:
            return
    fail("the chart's schema takes any value")


def compose():
    text = (PACKAGING / "compose" / "compose.yaml").read_text()
    # YAML merges (`<<`) are for whoever parses; the package takes them for extensions.
    file = compose_spec.PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(text)))
    file.validate()
    print(f"compose: {len(file.services)} services")
    try:
        compose_spec.PyCompose.from_yaml(text.replace("services:", "servcies:", 1)).validate()
    except Exception:
        return
    fail("nothing is wrong with a Compose file that is")


if __name__ == "__main__":
    container()
    manifests()
    chart()
    compose()
