"""Settings: which source wins, where a value comes from, and what a mistake says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from jobs.errors import SettingsError
from jobs.settings import load_settings, setting_names, to_toml

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, with a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def write(folder: Path, text: str, name: str = "sightline.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def origins() -> dict[str, tuple[object, str]]:
    return {name: (value, origin) for name, value, origin in load_settings().rows()}


def test_without_any_source_all_are_defaults(tmp_path: Path) -> None:
    found = load_settings()
    assert found.file is None
    assert {origin for _, _, origin in found.rows()} == {"default"}
    assert found.settings.home == tmp_path / "data" / "sightline"
    assert found.settings.kafka.bootstrap_servers is None


def test_files_of_a_store_are_found_from_home_and_the_detector_by_workers_in_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "anna"))
    write(tmp_path, '[store]\nplan = "~/plan.toml"\ncameras = "~/cameras.toml"\ndetector = "nanodet.onnx"\n')
    store = load_settings().settings.store
    assert (store.plan, store.cameras) == (tmp_path / "anna/plan.toml", tmp_path / "anna/cameras.toml")
    assert store.detector == tmp_path / "nanodet.onnx"


def test_file_then_environment_then_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, '[kafka]\nbootstrap_servers = "file:1"\nport = 1\n[ray]\nnum_cpus = 3\n')
    monkeypatch.setenv("SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS", "environment:2")
    monkeypatch.setenv("SIGHTLINE_KAFKA__PORT", "2")
    found = load_settings({"kafka.port": (3, "--port"), "gateway.host": (None, "--host")})
    values = {name: (value, origin) for name, value, origin in found.rows()}
    assert values["ray.num_cpus"] == (3, "sightline.toml")
    assert values["kafka.bootstrap_servers"] == ("environment:2", "SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS")
    assert values["kafka.port"] == (3, "--port")
    assert values["gateway.host"] == ("127.0.0.1", "default")


def test_the_named_file_counts_and_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[kafka]\nport = 1\n")
    other = write(tmp_path, "[kafka]\nport = 2\n", "other.toml")
    assert load_settings(config=other).settings.kafka.port == 2
    monkeypatch.setenv("SIGHTLINE_CONFIG", str(other))
    assert load_settings().settings.kafka.port == 2
    with pytest.raises(SettingsError, match=r"^gone\.toml: no such settings file"):
        load_settings(config=Path("gone.toml"))


def test_ray_address_is_taken_unless_ours_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert origins()["ray.address"] == ("auto", "RAY_ADDRESS")
    monkeypatch.setenv("SIGHTLINE_RAY__ADDRESS", "ray:6379")
    assert origins()["ray.address"] == ("ray:6379", "SIGHTLINE_RAY__ADDRESS")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_KAFKA__PORT", "")
    assert origins()["kafka.port"] == (0, "default")


def test_models_live_at_home_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_HOME", "/srv/sightline")
    assert load_settings().settings.models.store == "/srv/sightline/models"
    monkeypatch.setenv("SIGHTLINE_MODELS__STORE", "/models")
    assert load_settings().settings.models.store == "/models"


def test_one_title_is_changed_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS__TITLES__LOL", "mine@7")
    assert load_settings().settings.models.titles == {
        "lol": "mine@7",
        "dota2": "tsstn-dota2@live",
        "hok": "tsstn-hok@live",
    }


def test_secrets_are_masked_and_reach_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "BOOTSTRAP_SERVERS": "broker:9093",
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SASL_MECHANISM": "PLAIN",
        "SASL_USERNAME": "me",
        "SASL_PASSWORD": "hunter2",
        "SSL_CAFILE": "/ca.pem",
    }.items():
        monkeypatch.setenv(f"SIGHTLINE_KAFKA__{name}", value)
    found = load_settings()
    assert "hunter2" not in repr(found) and "hunter2" not in str(list(found.rows()))
    assert origins()["kafka.sasl_password"] == ("**********", "SIGHTLINE_KAFKA__SASL_PASSWORD")
    connection = found.settings.kafka.connection()
    assert (connection.sasl_password, connection.ssl_cafile) == ("hunter2", "/ca.pem")


def test_without_an_address_it_says_how_to_get_one() -> None:
    with pytest.raises(SettingsError, match="sightline kafka start"):
        load_settings().settings.kafka.connection()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[kafka]\nbootstrap_server = "x:1"', "bootstrap_server: no such.*did you mean kafka.bootstrap_servers"),
        ("[kafak]\nport = 1", "kafak.*no such setting"),
        ("[kafka]\nport = 70000", "kafka.port: must be less|kafka.port: .*65535"),
        ("[kafka\n", "not TOML: .*line 1"),
        ("kafka = 3", "kafka: is a section; set one of its names, such as kafka.bootstrap_servers"),
        ('[kafka]\nbootstrap_servers = "broker"', "'broker' is not HOST:PORT"),
        ('[kafka]\nsecurity_protocol = "SASL_SSL"', "also needs sasl_mechanism, sasl_username, sasl_password"),
        ('[kafka]\nssl_cafile = "ca.pem"', "PLAINTEXT nothing is encrypted, .*: set SSL or SASL_SSL"),
        ('[registry]\nurl = "registry:8081"', "registry.url: must begin with http"),
        ('[registry]\nurl = "http://me:pw@registry"', "registry.url: .*registry.auth"),
        ('[models.titles]\nchess = "x@live"', "unknown title 'chess'; known: dota2, hok, lol"),
        ("[gateway]\nready_wait_s = inf", "gateway.ready_wait_s: must be a finite number"),
        ("[ray]\nnum_cpus = 1", "ray.num_cpus: must be greater"),
        ("[pipeline]\nmin_workers = 3\nworkers = 2", "min_workers is 3, and workers, the most, only 2"),
        ("[serve]\nmin_replicas = 2", "min_replicas is 2, and replicas, the most, only 1"),
        ("[ray]\nnum_cpus = 1\nobject_store_mb = 1", r"\(and 1 more\)"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_names_file_setting_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    with pytest.raises(SettingsError, match=message) as failure:
        load_settings()
    assert str(failure.value).startswith("sightline.toml: ") and "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SIGHTLINE_KAFKA__BOOTSTRAP_SERVRS", "x", "no such setting; did you mean SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS?"),
        ("SIGHTLINE_DATE", "x", "did you mean SIGHTLINE_DATA?"),
        ("SIGHTLINE_QQQQQQQQQQQQ", "x", "`sightline config` lists them all"),
        ("SIGHTLINE_KAFKA__PORT", "abc", "must be a valid integer"),
        ("SIGHTLINE_REGISTRY__AUTH", "hunter2", "must be USER:PASSWORD"),
        ("SIGHTLINE_MODELS", "lol", "not JSON"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as failure:
        load_settings()
    said = str(failure.value)
    assert said.startswith(f"{variable}: ") and message in said and "hunter2" not in said


def test_the_data_folder_of_the_tests_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_DATA", "/somewhere")
    load_settings()


def test_settings_survive_the_way_through_a_file(tmp_path: Path) -> None:
    given = {
        "home": '/a folder/with "quotes" and \\ and \x7f and 火',
        "kafka.sasl_password": "hun\tter\n2",
        "kafka.ssl_check_hostname": "false",
        "pipeline.epoch_s": 1e-7,
        "serve.gpus_per_replica": 0.25,
        "models.titles.hok": "mine@2",
    }
    settings = load_settings({name: (value, "--set") for name, value in given.items()}).settings
    file = write(tmp_path, to_toml(settings), "all.toml")
    assert load_settings(config=file).settings == settings


def test_the_example_file_has_every_setting() -> None:
    text = (ROOT / "deploy" / "sightline.example.toml").read_text(encoding="utf-8")
    section, named = "", set()
    for line in text.splitlines():
        if header := re.match(r"\[([\w.]+)\]", line):
            section = f"{header[1]}."
            named.add(header[1])  # a table of names that are not ours to list
        elif entry := re.match(r"(?:# )?(\w+) = ", line):
            named.add(f"{section}{entry[1]}")
    assert set(setting_names()) <= named


def test_the_store_is_found_from_any_folder(tmp_path: Path) -> None:
    assert load_settings({"models.store": ("mine", "--set")}).settings.models.store == str(tmp_path / "mine")


def test_the_store_may_be_a_url_that_tells_no_password() -> None:
    for url in ("s3://bucket/models", "memory://models", "gs://b/a/"):
        assert load_settings({"models.store": (url, "--set")}).settings.models.store == url
    assert load_settings({"models.store": ("file:///srv/models", "--set")}).settings.models.store == "/srv/models"
    with pytest.raises(
        SettingsError, match=r"models.store: ftp://host/m: must be without user and password.*FSSPEC_FTP_"
    ):
        load_settings({"models.store": ("ftp://me:hunter2@host/m", "--set")})
    with pytest.raises(SettingsError, match=r"leave out the part before '::'"):
        load_settings({"models.store": ("simplecache::s3://b", "--set")})


def test_the_example_file_holds_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    example = ROOT / "deploy" / "sightline.example.toml"
    assert load_settings(config=example).settings == load_settings().settings
    text = re.sub(r"^# (\w+ = )", r"\1", example.read_text(encoding="utf-8"), flags=re.MULTILINE)
    monkeypatch.setenv("SIGHTLINE_CONFIG", "all.toml")
    text = text.replace('security_protocol = "PLAINTEXT"', 'security_protocol = "SASL_SSL"')  # else no use of the rest
    Path("all.toml").write_text(text, encoding="utf-8")
    load_settings()  # every commented name is a real one, too
    assert set(tomllib.loads(text)) <= {name.partition(".")[0] for name in setting_names()}
