"""datasets.toml, which data set is meant, and `mmssl datasets`."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog import load_catalog, prepared_names, resolve_dataset
from pipelines.errors import InputError, UsageError
from pipelines.prepare import prepare
from pipelines.sources import demo
from tests.conftest import ROOT

Cli = Callable[..., Any]
TABLE_1 = ROOT.parent / "shared" / "paper" / "table1_datasets.csv"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data sets that holds a small demo."""
    generate = demo.generate_shop
    monkeypatch.setattr(demo, "generate_shop", lambda seed: generate(seed, num_users=40, num_items=60))
    prepare("demo")
    return tmp_path / "data"


def test_the_shipped_catalog() -> None:
    catalog = load_catalog()
    films = ["movielens-100k", "movielens-1m", "movielens-latest-small"]
    assert list(catalog.entries) == [
        "demo",
        "tiktok",
        "amazon-baby",
        "amazon-sports",
        "allrecipes",
        *films,
        "demo-large",
    ]
    assert catalog.default == "demo"
    assert catalog.entries["tiktok"].cold_users == "keep"
    assert catalog.entries["amazon-baby"].cold_users == "refuse"


def test_the_paper_s_numbers_are_those_of_its_table_1() -> None:
    if not TABLE_1.is_file():
        pytest.skip("the paper's Table 1 is not at ../shared/paper/table1_datasets.csv")
    with TABLE_1.open(newline="") as file:
        for row in csv.DictReader(file):
            paper = load_catalog().entries[row["dataset"]].paper
            assert paper is not None
            stated = (paper.users, paper.items, paper.interactions, paper.sparsity)
            assert stated == (
                *(int(row[key]) for key in ("users", "items", "interactions")),
                float(row["sparsity_percent"]),
            )
            assert paper.modalities[row["modality"]] == int(row["dim"])


def test_an_own_file_adds_and_replaces_entries(tmp_path: Path) -> None:
    (tmp_path / "datasets.toml").write_text(
        'default = "shop"\n[datasets.shop]\ntitle = "Shop"\nsource = "published"\n'
        '[datasets.tiktok]\ntitle = "T"\nsource = "published"\ncold-users = "drop"\n'
    )
    catalog = load_catalog()
    assert catalog.default == "shop"
    assert list(catalog.entries)[-1] == "shop"
    assert catalog.entries["tiktok"].cold_users == "drop"
    assert catalog.entries["demo"].source == "demo"


SHOP = "[datasets.x]\ntitle = 'X'\nsource = 'demo'\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("default = ", r"datasets\.toml is not valid TOML"),
        (b"\xff", r"datasets\.toml is not valid TOML"),
        ("defualt = 'demo'", "unknown key 'defualt'"),
        ("default = 'dmeo'", "the default 'dmeo', which it does not list: did you mean demo"),
        ("default = 3", "should hold default = NAME"),
        ("datasets = 3", "should hold default = NAME"),
        ("[datasets]\nx = 3", r"\[datasets\.x\] is wrong"),
        ("[datasets.x]\ntitle = 'X'", r"\[datasets\.x\] source: it is missing, and has no default"),
        ("[datasets.x]\ntitle = 'X'\nsource = 'tabel'", r"source: there is no source 'tabel': did you mean table"),
        ("[datasets.x]\ntitle = 'X'\nsource = 'demo'\nsede = 3", "sede: unknown key"),
        (
            "[datasets.x]\ntitle = 'X'\nsource = 'demo'\ncold-user = 'keep'",
            "cold_user: unknown key; did you mean cold_users",
        ),
        (
            "[datasets.x]\ntitle = 'X'\nsource = 'demo'\n[datasets.x.paper]\nuser = 3",
            r"\[datasets\.x\] paper",
        ),
        (
            "[datasets.x]\ntitle = 'X'\nsource = 'demo'\nmodalities = {'../a.npy' = 'v'}",
            r"\[datasets\.x\] modalities\.\.\./a\.npy: '\.\./a\.npy' is not the name of a feature file: letters",
        ),
        (
            "[datasets.x]\ntitle = 'X'\nsource = 'demo'\nmodalities = {'a_feat.npy' = '../v'}",
            "cannot name a modality",
        ),
        (f"{SHOP}[datasets.x.table]\nratings = 3", r"table\.ratings: unknown key; did you mean rating"),
        (f"{SHOP}[datasets.x.files.a]\nname = 'a'\nurl = 3", r"files\.a\.url: unknown key; did you mean urls"),
        (f"{SHOP}[datasets.x.features.v]\ninput = 'text'\nencodr = 3", "encodr: unknown key; did you mean encoder"),
        (f"{SHOP}[datasets.x.files.name]\nname = '../a'", r"files\.name\.name: '\.\./a' is not the name of a file: "),
        (
            f"{SHOP}[datasets.x.files.a]\nname = 'a'\nurls = ['ftp://x']",
            r"files\.a\.urls\.0: 'ftp://x' is not an address that begins with http:// or https://$",
        ),
        (f"{SHOP}[datasets.x.files.a]\nname = 'a'\nurls = 'http://x'", r"urls: expected a list: \[\.\.\.\]"),
        (f"{SHOP}[datasets.x.files.a]\nname = 'a'\nsha256 = 'ABC'", "sha256: 'ABC' is not a SHA-256: 64 hexa"),
        ("[datasets.'a/b']\ntitle = 'X'\nsource = 'demo'", "cannot name a data set"),
    ],
)
def test_a_wrong_own_file(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    (tmp_path / "datasets.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=sentence):
        load_catalog()


def test_which_data_set_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_dataset() == "demo"
    monkeypatch.setenv("MMSSL_DATASET", "tiktok")
    assert resolve_dataset() == "tiktok"
    assert resolve_dataset("amazon-baby") == "amazon-baby"
    monkeypatch.setenv("MMSSL_DATASET", "tok")
    with pytest.raises(UsageError, match=r"no data set 'tok': did you mean tiktok\?"):
        resolve_dataset()
    with pytest.raises(UsageError, match="no data set 'zzz': choose from allrecipes, amazon-baby"):
        resolve_dataset("zzz")


def test_a_prepared_folder_is_a_data_set_too(prepared: Path) -> None:
    shutil.copytree(prepared / "demo", prepared / "mine")
    (prepared / ".demo.tmp").mkdir()
    (prepared / "notes").mkdir()
    assert prepared_names(prepared) == ["demo", "mine"]
    assert resolve_dataset("mine", prepared) == "mine"
    with pytest.raises(UsageError, match="no data set 'mine'"):
        resolve_dataset("mine", prepared / "demo")


def test_the_table_before_anything_is_prepared(cli: Cli) -> None:
    answer = cli("datasets")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("demo ")] == [["demo", "*", "-"]]
    paper = [line.split()[1:] for line in lines if line.strip().startswith("paper")]
    assert paper[0] == ["9,319", "6,710", "59,541", "99.904%", "visual", "128"]
    assert paper[2] == ["35,598", "18,357", "256,308", "99.961%", "visual", "4096"]


def test_the_table_shows_what_is_prepared(cli: Cli, prepared: Path) -> None:
    record = next(record for record in json.loads(cli("datasets", "--json").out) if record["name"] == "demo")
    assert (record["status"], record["default"], record["users"], record["items"]) == (
        "prepared",
        True,
        40,
        60,
    )
    counts = record["interactions"]
    assert counts["all"] == counts["train"] + counts["validation"] + counts["test"]
    assert counts["train + test"] == counts["train"] + counts["test"]
    assert record["sparsity_percent"] == pytest.approx(100 * (1 - counts["all"] / 2400), abs=1e-3)
    assert list(record["modalities"]) == ["visual", "textual"]
    row = next(line for line in cli("datasets").out.splitlines() if line.startswith("demo"))
    shown = [
        "demo",
        "*",
        "ready",
        "40",
        "60",
        *(f"{counts[key]:,}" for key in ("all", "train", "train + test")),
    ]
    assert row.split()[: len(shown)] == shown


def test_a_damaged_data_set_is_shown_with_the_reason(cli: Cli, prepared: Path) -> None:
    shutil.copytree(prepared / "demo", prepared / "mine")
    shutil.copytree(prepared / "demo", prepared / "tiktok")
    path = prepared / "mine" / "features" / "visual.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (prepared / "tiktok" / "manifest.json").write_text("{")
    answer = cli("datasets")
    assert answer.code == 0
    assert "visual.npz is not the file that was prepared (its checksum differs)" in answer.words
    assert "tiktok/manifest.json is truncated or not JSON" in answer.words
    status = {record["name"]: record["status"] for record in json.loads(cli("datasets", "--json").out)}
    assert (status["demo"], status["mine"], status["tiktok"]) == ("prepared", "damaged", "damaged")
    assert status["allrecipes"] == "not prepared"


def test_a_file_is_no_folder_of_data_sets(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = cli("datasets", "--data-dir", "file")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "Error: file is a file; expected the folder of the prepared data sets as --data-dir.\n"


def test_long_names_never_cut_numbers(cli: Cli, prepared: Path) -> None:
    shutil.copytree(prepared / "demo", prepared / ("long-" * 12 + "name"))
    row = next(line for line in cli("datasets").out.splitlines() if line.startswith("long"))
    assert "…" not in row
    assert row.split()[:4] == ["long-" * 12 + "name", "ready", "40", "60"]


def test_help_has_an_example(cli: Cli) -> None:
    assert "Example: mmssl datasets --json" in cli("datasets", "--help").words
    assert "Example: mmssl prep demo" in cli("prep", "--help").words


def test_what_is_known_by_name(cli: Cli) -> None:
    lines = [line.split() for line in cli("datasets", "--available").out.splitlines()]
    assert ["amazon-2014-baby", "amazon", "Amazon", "Baby", "(2014)"] in lines
    records = json.loads(cli("datasets", "--available", "--json").out)
    assert [record["name"] for record in records] == [words[0] for words in lines[1:]]
    assert [record["name"] for record in records][:2] == ["demo", "tiktok"]
    assert {"name": "demo", "title": load_catalog().entries["demo"].title, "source": "demo"} in records


def test_one_data_set_tells_of_cold_items_and_of_concentration(cli: Cli) -> None:
    lines = [f"u{user},i{item},train" for user in range(100) for item in range(2)]
    lines += [f"u0,i{item},train" for item in range(2, 100)]
    held_out = ["u1,cold1,test", "u2,cold1,test", "u3,cold2,test", "u4,i5,test", "u5,i5,validation"]
    Path("clicks.csv").write_text("user,item,split\n" + "\n".join([*lines, *held_out]) + "\n")
    flags = ("--split", "given", "--modalities", "none")
    assert cli("prep", "mine", "--interactions", "clicks.csv", *flags).code == 0
    record = json.loads(cli("datasets", "mine", "--json").out)
    assert record["cold"]["test"] == {"interactions": 3, "items": 2, "share": 0.75}
    assert record["cold"]["validation"] == {"interactions": 0, "items": 0, "share": 0.0}
    assert record["concentration"]["users"] == {"number": 1, "share": pytest.approx(100 / 298)}
    assert record["concentration"]["items"] == {"number": 1, "share": pytest.approx(100 / 298)}
    answer = cli("datasets", "mine")
    assert answer.code == 0
    assert (
        "Cold items in test (without a training interaction): 2 with 3 interactions, 75.0% of the split."
        in answer.words
    )
    assert "The most active 1 % of the users (1) have 33.6% of the training interactions." in answer.words
    assert "Split: given" in answer.words
    for arguments, sentence in (
        (("mines",), "no data set 'mines': did you mean mine"),
        (("tiktok",), "tiktok is not prepared yet; prepare it with: mmssl prep tiktok --from PLACE"),
        (("mine", "--available"), "--available lists names; leave NAME out"),
    ):
        refused = cli("datasets", *arguments)
        assert refused.code and sentence in refused.words
