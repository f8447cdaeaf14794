"""Metrics, read by those who read them: promtool, Prometheus and node_exporter, the programs themselves."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, wait_until

import cobuf

COMMAND = Path(cobuf.__file__).parent / "bin" / "cobuf"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def program(name: str, package: str = "prometheus") -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} not found: install the Debian package {package}")
    return found


@cobuf.producer(arrays={"x": cobuf.Array("float32", (8, 3))})
def rows(message, out):
    if message == 7:
        raise ValueError("no pixels")
    out["x"][:] = message


def loader(count: int = 40, **settings) -> cobuf.Loader:
    return cobuf.Loader(commander=range(count), producer=rows, workers=2, on_failure={"error": "skip"}, **settings)


def fetched(address: str, accept: str = "*/*") -> str:
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


def promtool(*arguments: str, given: str | None = None) -> None:
    """Runs it; it must find nothing wrong."""
    done = subprocess.run(
        [program("promtool"), *arguments], input=given, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@contextlib.contextmanager
def serving(name: str, package: str, *arguments: str) -> Iterator[str]:
    """A program that listens at the address that it is given in the place of ADDRESS; gives the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    command = [program(name, package), *(argument.replace("ADDRESS", address) for argument in arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def listens() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0

    try:
        wait_until(f"{name} listens", listens)
        yield address
    finally:
        process.kill()
        process.communicate()


def blocks_of_guide() -> list[str]:
    """The configuration and the rules of the guide's page."""
    return re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "host/guide/11-metrics.md").read_text(), re.S)


def test_promtool_finds_nothing_wrong_at_an_address_and_in_a_file(tmp_path):
    file = tmp_path / "run.prom"
    with loader(metrics=":0") as running:
        address = running.metrics_address
        assert address is not None and address.startswith("127.0.0.1:")
        promtool("check", "metrics", given=fetched(address))
        assert sum(1 for _ in running) == 39
        running.state_dict()
        promtool("check", "metrics", given=fetched(address))
        assert fetched(address, OPENMETRICS).endswith("# EOF\n")
    with loader(metrics=file) as running:
        assert running.metrics_address is None
        assert sum(1 for _ in running) == 39
    promtool("check", "metrics", given=file.read_text())
    assert re.search(r'^cobuf_batches_total\{run=".*",producer=".*"\} 39$', file.read_text(), re.M)


def test_prometheus_scrapes_a_run(tmp_path):
    program("prometheus")
    with loader(metrics="localhost:0") as running:
        address = running.metrics_address
        assert address is not None
        taken = [next(running)["x"].shape for _ in range(30)]
        assert len(taken) == 30
        config = blocks_of_guide()[0].replace("15s", "1s").replace("127.0.0.1:9400", address)
        (tmp_path / "prometheus.yml").write_text(config)
        with serving(
            "prometheus",
            "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            "--web.listen-address=ADDRESS",
            "--log.level=error",
        ) as prometheus:

            def query(text: str) -> dict[str, float]:
                """The values of a query, by the first label that is not the run's."""
                url = f"http://{prometheus}/api/v1/query?query={urllib.parse.quote(text)}"
                try:
                    with urllib.request.urlopen(url, timeout=60) as answer:
                        found = json.load(answer)["data"]["result"]
                except urllib.error.HTTPError:
                    return {}  # It is not ready.
                own = ("state", "part", "role", "le", "version")
                return {
                    next((item["metric"][name] for name in own if name in item["metric"]), ""): float(item["value"][1])
                    for item in found
                }

            wait_until("it has scraped all", lambda: query("cobuf_batches_total") == {"": 30.0})
            assert query("up") == {"": 1.0}
            assert query("cobuf_skipped_total") == {"": 1.0}
            assert query("cobuf_rows_total") == {"": 240.0}
            assert query("cobuf_delivered_bytes_total") == {"": 30.0 * 8 * 3 * 4}
            assert query("cobuf_running") == {"": 1.0}
            assert query("cobuf_produce_seconds_count")[""] >= 31
            assert 0 < query("histogram_quantile(0.5, cobuf_produce_seconds_bucket)")[""] < 60
            assert sum(query("cobuf_slots").values()) == 8.0
            assert list(query("cobuf_build_info")) == [cobuf.__version__]
            assert list(query("cobuf_limited_by == 1").values()) == [1.0]
            assert query("cobuf_exposed_wait_seconds_total")[""] > 0
            # What it was told are counters: their type is known by it.
            url = f"http://{prometheus}/api/v1/metadata?metric=cobuf_exposed_wait_seconds"
            with urllib.request.urlopen(url, timeout=60) as answer:
                known = json.load(answer)["data"]["cobuf_exposed_wait_seconds"]
            assert known[0]["type"] == "counter" and known[0]["unit"] == "seconds", known


def test_node_exporter_reads_the_files_of_ranks(tmp_path):
    for rank in range(2):
        with loader(metrics=tmp_path / "rank-{rank}.prom", rank=(rank, 2)) as running:
            assert sum(1 for _ in running) == 20 - rank
    (tmp_path / "rank-1.prom.tmp").write_text("half a fi")
    with serving(
        "prometheus-node-exporter",
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={tmp_path}",
        "--web.listen-address=ADDRESS",
    ) as exporter:
        text = fetched(exporter)
    assert "node_textfile_scrape_error 0" in text
    batches = re.findall(r'^cobuf_batches_total\{.*rank="(\d)".*\} (\d+)$', text, re.M)
    assert sorted(batches) == [("0", "20"), ("1", "19")]
    assert "# TYPE cobuf_batches_total counter" in text
    assert "# TYPE cobuf_produce_seconds histogram" in text


def test_configuration_and_rules_of_the_guide_are_right(tmp_path):
    config, rules = blocks_of_guide()
    (tmp_path / "prometheus.yml").write_text(config)
    promtool("check", "config", f"{tmp_path}/prometheus.yml")
    (tmp_path / "rules.yml").write_text(rules)
    promtool("check", "rules", f"{tmp_path}/rules.yml")
    run = '{run="r", producer="p"}'
    firing = {"CobufWaitsForData": "p waits for data 50% of the time"}
    still = {"CobufStandsStill": "p has delivered no batch for ten minutes"}
    losing = {"CobufLosesBatches": "p: 30 messages could not be produced"}

    def case(wait: str, batches: str, errors: str, running: str, expected: dict[str, str]) -> dict[str, object]:
        names = ["exposed_wait_seconds_total", "batches_total", "errors_total", "skipped_total", "running"]
        values = [wait, batches, errors, "0x60", running]
        series = [
            {"series": f"cobuf_{name}{run}", "values": value} for name, value in zip(names, values, strict=True)
        ]
        labels = {"run": "r", "producer": "p"}
        alerts = [
            {
                "eval_time": "40m",
                "alertname": name,
                "exp_alerts": [{"exp_labels": labels, "exp_annotations": {"summary": expected[name]}}]
                if name in expected
                else [],
            }
            for name in ("CobufWaitsForData", "CobufStandsStill", "CobufLosesBatches")
        ]
        return {"interval": "1m", "input_series": series, "alert_rule_test": alerts}

    cases = [
        case("0+30x60", "0+60x60", "0x60", "1x60", firing),
        case("0+3x60", "0+60x60", "0x60", "1x60", {}),
        case("0+30x60", "0+60x60", "0x60", "0x60", {}),
        case("0x60", "9x60", "0x60", "1x60", still),
        case("0x60", "0+60x60", "0+2x60", "1x60", losing),
    ]
    # YAML is a superset of JSON.
    test = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": cases}
    (tmp_path / "test.yml").write_text(json.dumps(test))
    promtool("test", "rules", f"{tmp_path}/test.yml")


def test_wrong_targets_are_refused(tmp_path):
    for wrong, reason in [
        ("", "expected a file's path, or an address"),
        ("9400", "write :9400 for the port, ./9400 for the file"),
        (":99999", "expected 0 to 65535"),
    ]:
        with pytest.raises(ValueError, match=re.escape(reason)):
            loader(metrics=wrong).start()
    with pytest.raises(TypeError):
        loader(metrics=9400)
    with loader(metrics=":0") as first:
        with pytest.raises(RuntimeError, match="another program has this port"):
            loader(metrics=first.metrics_address).start()
    with pytest.raises(RuntimeError, match="cannot write metrics to the file"):
        loader(metrics=tmp_path / "missing" / "run.prom").start()


def test_pipeline_file_and_command_report_metrics(tmp_path):
    (tmp_path / "numbers.py").write_text(
        "import cobuf\n\ndef jobs():\n    yield from range(10)\n\n"
        "@cobuf.producer(arrays={'x': cobuf.Array('int64', (2,))})\n"
        "def one(message, out):\n    out['x'][:] = message\n"
    )
    pipeline = tmp_path / "numbers.toml"
    plugins = '[commander]\nplugin = "numbers.py:jobs"\n[producer]\nplugin = "numbers.py:one"\n[run]\n'
    pipeline.write_text(f'{plugins}metrics = "from-the-file.prom"\n')

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, "run", pipeline, *options], capture_output=True, text=True, cwd="/", timeout=120)

    assert run().returncode == 0
    assert "\ncobuf_batches_total{" in (tmp_path / "from-the-file.prom").read_text()
    (tmp_path / "from-the-file.prom").unlink()
    done = run("--metrics", ":0")
    assert (done.returncode, done.stderr.count("metrics at http://127.0.0.1:")) == (0, 1), done.stderr
    assert not (tmp_path / "from-the-file.prom").exists()
    done = run("--metrics", "9400")
    assert done.returncode == 2 and "write :9400 for the port" in done.stderr, done.stderr
    done = run("--metrics", "/dev/full")
    assert done.returncode == 2 and "cannot write metrics to the file /dev/full" in done.stderr, done.stderr
