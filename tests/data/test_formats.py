"""Parsers of the downloads, on small files of the same format."""

from __future__ import annotations

import io
import zipfile
import zlib
from struct import pack

import numpy as np
import pytest

from fedlab_utils.data import formats, n_baiot, nsl_kdd
from fedlab_utils.data.download import RemoteFile
from fedlab_utils.data.parse import one_hot, read_table
from fedlab_utils.data.registry import load
from fedlab_utils.errors import DataError, DownloadError

# ------------------------------------------------------------------------------------ read_table


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "has no data"),
        ("1,2,3\n", "line 1: 3 columns instead of 2"),
        ("1\n", "line 1: 1 columns instead of 2"),
        ("1,2\n3\n", "line 2, column 'b'"),
        ("1,2\n3,4,5\n", "2 columns"),
        ("1,2\n\n3,4\n", "line 2, column 'a'"),
        ("1,2\n3,nan\n", "line 2, column 'b'"),
        ("1,2\n3,inf\n", "line 2, column 'b'"),
        ("1,2\n3,4\n5,six\n", "line 3, column 'b'"),
    ],
)
def test_bad_tables_name_file_line_and_column(tmp_path, text, message):
    path = tmp_path / "some.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path, ["a", "b"])
    assert str(path) in str(caught.value)


def test_text_columns_may_look_like_anything_but_empty(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("1,NA\n2,null\n")
    assert read_table(path, ["a", "b"], text=["b"])["b"].tolist() == ["NA", "null"]
    path.write_text("1,NA\n2,\n")
    with pytest.raises(DataError, match="line 2, column 'b'"):
        read_table(path, ["a", "b"], text=["b"])


def test_one_hot():
    np.testing.assert_array_equal(
        one_hot(np.array(["b", "a", "b"]), ("a", "b", "c"), "x"), [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    )
    with pytest.raises(DataError, match="x, line 2: unknown value 'd'"):
        one_hot(np.array(["b", "d"]), ("a", "b", "c"), "x")


# --------------------------------------------------------------------------------------- NSL-KDD


def kdd_line(service="http", label="normal", protocol="tcp", flag="SF", first=0):
    return ",".join([str(first), protocol, service, flag, *["0.5"] * 37, label, "21"])


def kdd_file(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_nsl_kdd(tmp_path):
    train = kdd_file(
        tmp_path / "train.txt",
        [kdd_line(first=i) for i in range(9)] + [kdd_line("smtp", "neptune", "udp", "S0")],
    )
    test = kdd_file(tmp_path / "test.txt", [kdd_line("ssh", "mscan"), kdd_line("X11", "xterm")])
    table = nsl_kdd.nsl_kdd_table(train, test)
    assert table.x.shape == (12, 122) and len(set(table.features)) == 122
    assert table.kind.tolist() == ["normal"] * 9 + ["dos", "probe", "u2r"]
    assert table.key.tolist() == ["http"] * 9 + ["smtp", "other", "other"]
    assert table.split.tolist() == (["train"] * 4 + ["calibration"]) * 2 + ["test"] * 2
    attack = dict(zip(table.features, table.x[9], strict=True))
    on = {name for name, value in attack.items() if value == 1}
    assert on == {"protocol_type=udp", "service=smtp", "flag=S0"}
    assert attack["src_bytes"] == 0.5 and table.x[3, 0] == 3


def test_nsl_kdd_vocabulary_is_complete():
    assert [len(v) for v in nsl_kdd.VOCABULARY.values()] == [3, 70, 11]
    assert len(nsl_kdd.COLUMNS) == 43 and len(nsl_kdd.KIND_OF) == 40


@pytest.mark.parametrize(
    "line, message",
    [
        (kdd_line(label="gremlin"), "line 2, column 'label': unknown label 'gremlin'"),
        (kdd_line(service="gopherz"), "column 'service', line 2: unknown value 'gopherz'"),
        (kdd_line().rsplit(",", 1)[0], "line 2, column 'difficulty'"),
        (kdd_line(first="x"), "line 2, column 'duration'"),
    ],
)
def test_nsl_kdd_damage(tmp_path, line, message):
    path = kdd_file(tmp_path / "bad.txt", [kdd_line(), line])
    with pytest.raises(DataError, match=message) as caught:
        nsl_kdd.read_nsl_kdd(path)
    assert str(path) in str(caught.value)


def test_nsl_kdd_option():
    with pytest.raises(DataError, match="train must be one of"):
        load("nsl_kdd", train="half")


def test_nsl_kdd_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDLAB_CACHE", str(tmp_path))
    small = {n: RemoteFile("http://nowhere.invalid/", n) for n in ("train.txt", "test.txt")}
    monkeypatch.setattr(nsl_kdd, "TRAIN_FILES", {"20%": small["train.txt"]})
    monkeypatch.setattr(nsl_kdd, "TEST_FILE", small["test.txt"])
    (tmp_path / "nsl_kdd").mkdir()
    kdd_file(tmp_path / "nsl_kdd" / "train.txt", [kdd_line() for _ in range(10)])
    kdd_file(tmp_path / "nsl_kdd" / "test.txt", [kdd_line(), kdd_line(label="smurf")])
    client = load("nsl_kdd")["http"]
    assert (len(client.x_train), len(client.x_calibration)) == (8, 2)
    assert client.kind_test.tolist() == ["normal", "dos"]


def test_nsl_kdd_accepts_only_the_published_files(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDLAB_CACHE", str(tmp_path))
    (tmp_path / "nsl_kdd").mkdir()
    kdd_file(tmp_path / "nsl_kdd" / "KDDTrain+_20Percent.txt", [kdd_line()])
    with pytest.raises(DownloadError, match="1a1559ff163a1dfa"):
        load("nsl_kdd")


# --------------------------------------------------------------------------------------- N-BaIoT


def iot_csv(rows, value=1.0, columns=n_baiot.N_FEATURES):
    header = ",".join(f"f{i}" for i in range(columns))
    return "\n".join([header, *[",".join([str(value)] * columns)] * rows]).encode() + b"\n"


def rar(members):
    """A RAR 3 archive of stored members, which rarfile reads without an outside tool."""

    def block(kind, flags, fields, content=b""):
        body = pack("<BHH", kind, flags, 7 + len(fields)) + fields
        return pack("<H", zlib.crc32(body) & 0xFFFF) + body + content

    out = b"Rar!\x1a\x07\x00" + block(0x73, 0, bytes(6))
    for name, content in members.items():
        label = name.encode()
        fields = pack("<LLBLLBBHL", len(content), len(content), 3, zlib.crc32(content), 0, 29,
                      0x30, len(label), 0o100644)  # fmt: skip
        out += block(0x74, 0x8000, fields + label, content)
    return out + block(0x7B, 0x4000, b"")


def iot_zip(path, folders, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for folder, members in folders.items():
            for name, content in members.items():
                archive.writestr(f"{prefix}{folder}/{name}", content)
    return path


def test_n_baiot_normal_traffic_needs_no_rar(tmp_path):
    path = iot_zip(
        tmp_path / "n_baiot.zip",
        {d: {"benign_traffic.csv": iot_csv(50, i)} for i, d in enumerate(n_baiot.DEVICES)},
        prefix="nested/",
    )
    table = n_baiot.n_baiot_table(path, rows=20, attacks=())
    assert table.x.shape == (180, 115) and not table.y.any()
    assert list(dict.fromkeys(table.key)) == list(n_baiot.DEVICES)
    assert table.x[25, 0] == 1 and table.features[:2] == ("f0", "f1")
    assert table.split[:20].tolist() == ["train"] * 10 + ["calibration"] * 2 + ["test"] * 8


def test_n_baiot_attacks(tmp_path, monkeypatch):
    pytest.importorskip("rarfile")
    monkeypatch.setenv("FEDLAB_CACHE", str(tmp_path))
    attacks = {"scan.csv": iot_csv(9, 5), "../../evil.csv": iot_csv(9, 6), "notes.txt": b"hello"}
    folder = {"benign_traffic.csv": iot_csv(50), "gafgyt_attacks.rar": rar(attacks)}
    (tmp_path / "n_baiot").mkdir()
    iot_zip(tmp_path / "n_baiot" / "n_baiot.zip", {n_baiot.DEVICES[0]: folder})
    federation = load("n_baiot", rows=40, progress=False, scaler=None)
    client = federation["Danmini_Doorbell"]
    kinds, counts = np.unique(client.kind_test, return_counts=True)
    found = dict(zip(kinds.tolist(), counts.tolist(), strict=True))
    assert found == {"gafgyt evil": 4, "gafgyt scan": 4, "normal": 16}
    assert client.x_test[client.kind_test == "gafgyt scan"].tolist() == [[5.0] * 115] * 4
    assert not list(tmp_path.parent.rglob("evil.csv"))


def test_n_baiot_without_a_rar_reader(tmp_path, monkeypatch):
    path = iot_zip(tmp_path / "n.zip", {n_baiot.DEVICES[0]: {"mirai_attacks.rar": rar({})}})
    import sys

    monkeypatch.setitem(sys.modules, "rarfile", None)
    with pytest.raises(DownloadError, match=r"pip install rarfile.*attacks=\(\)"):
        n_baiot.n_baiot_table(path)


def test_n_baiot_without_a_tool(tmp_path, monkeypatch):
    rarfile = pytest.importorskip("rarfile")

    def no_tool(self, member):
        raise rarfile.RarCannotExec("nothing found")

    monkeypatch.setattr(rarfile.RarFile, "open", no_tool)
    content = rar({"scan.csv": iot_csv(3)})
    path = iot_zip(tmp_path / "n.zip", {n_baiot.DEVICES[0]: {"mirai_attacks.rar": content}})
    with pytest.raises(DownloadError, match="libarchive-tools"):
        n_baiot.n_baiot_table(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (iot_csv(20, columns=114), "line 1: 114 columns instead of the 115"),
        (iot_csv(0), "has no data"),
        (iot_csv(20) + b"1,2\n", "line 22, column 'f2'"),
        (iot_csv(20).replace(b"1.0", b"nan", 1), "line 2, column 'f0'"),
    ],
)
def test_n_baiot_damage(tmp_path, content, message):
    device = n_baiot.DEVICES[2]
    path = iot_zip(tmp_path / "n.zip", {device: {"benign_traffic.csv": content}})
    with pytest.raises(DataError, match=message) as caught:
        n_baiot.n_baiot_table(path, attacks=())
    assert f"{path}:{device}/benign_traffic.csv" in str(caught.value)


def test_n_baiot_other_archives(tmp_path):
    empty = iot_zip(tmp_path / "n.zip", {"toaster": {"benign_traffic.csv": iot_csv(20)}})
    with pytest.raises(DataError, match="none of the nine devices"):
        n_baiot.n_baiot_table(empty)
    (tmp_path / "n.zip").write_bytes(b"not a zip")
    with pytest.raises(DataError, match="not a good zip"):
        n_baiot.n_baiot_table(tmp_path / "n.zip")
    broken = {n_baiot.DEVICES[0]: {"mirai_attacks.rar": b"not a rar"}}
    pytest.importorskip("rarfile")
    with pytest.raises(DataError, match="damaged"):
        n_baiot.n_baiot_table(iot_zip(tmp_path / "m.zip", broken))
    with pytest.raises(DataError, match="rows=3"):
        n_baiot.n_baiot_table(empty, rows=3)
    other = iot_csv(20).replace(b"f7,", b"other,", 1)
    two = {
        n_baiot.DEVICES[0]: {"benign_traffic.csv": iot_csv(20)},
        n_baiot.DEVICES[1]: {"benign_traffic.csv": other},
    }
    with pytest.raises(DataError, match="other columns than before"):
        n_baiot.n_baiot_table(iot_zip(tmp_path / "o.zip", two), attacks=())


# ----------------------------------------------------------------------------------- credit card


def arff(rows, time=True):
    names = (["Time"] if time else []) + [f"V{i}" for i in range(1, 29)] + ["Amount"]
    head = ["% a comment", "@RELATION creditcard", ""]
    head += [f"@ATTRIBUTE {n} REAL" for n in names] + ["@ATTRIBUTE Class {'0','1'}", "@DATA"]
    lines = [",".join([*[str(float(i))] * len(names), f"'{label}'"]) for i, label in rows]
    return "\n".join([*head, *lines, ""])


@pytest.mark.parametrize("time", [True, False])
def test_credit_card(tmp_path, time):
    path = tmp_path / "c.arff"
    path.write_text(arff([(i, int(i == 5)) for i in range(12)], time))
    table = formats.credit_card_table(path, clients=3)
    assert table.x.shape == (12, 29) and table.features[-1] == "Amount"
    assert table.kind.tolist() == ["normal"] * 5 + ["fraud"] + ["normal"] * 6
    assert table.key.tolist() == ["slice 1"] * 4 + ["slice 2"] * 4 + ["slice 3"] * 4
    assert table.x[7].tolist() == [7.0] * 29


def test_credit_card_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(formats, "CREDIT_CARD", RemoteFile("http://nowhere.invalid/", "c.arff"))
    (tmp_path / "credit_card").mkdir()
    (tmp_path / "credit_card" / "c.arff").write_text(arff([(i, 0) for i in range(20)]))
    assert load("credit_card", clients=2).names == ("slice 1", "slice 2")


def test_credit_card_damage(tmp_path):
    path = tmp_path / "c.arff"
    good = arff([(0, 0), (1, 0)])
    line = good.splitlines().index("@DATA") + 2  # number of the first row
    for text, message in [
        ("", "not an ARFF file"),
        ("<html>\n" * 2000, "not an ARFF file"),
        (good[: good.index("@DATA") + 6], "not an ARFF file"),
        (good.replace("V7 ", "W7 "), r"columns \['V7'\] are missing"),
        (good.replace("1.0,", "?,", 1), f"line {line + 1}, column 'Time'"),
        (good + "1.0,2.0\n", f"line {line + 2}"),
        (arff([(0, 0), (1, 7)]), f"line {line + 1}, column 'Class'"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=message) as caught:
            formats.credit_card_table(path)
        assert str(path) in str(caught.value)
    path.write_text(good)
    with pytest.raises(DataError, match="clients=3"):
        formats.credit_card_table(path, clients=3)


# ------------------------------------------------------------------------------------- Covertype


def test_covertype():
    rng = np.random.default_rng(0)
    data = np.zeros((8, 54))
    data[:, :10] = rng.normal(size=(8, 10))
    data[np.arange(8), 10 + np.arange(8) % 4] = 1
    table = formats.covertype_table(data, np.array([1, 2, 2, 4, 5, 6, 4, 2]))
    assert table.x.shape == (5, 10)
    assert table.y.tolist() == [False, False, True, True, False]
    assert table.key.tolist() == [
        "Neota", "Comanche Peak", "Cache la Poudre", "Comanche Peak", "Cache la Poudre",
    ]  # fmt: skip
    np.testing.assert_allclose(table.x[0], data[1, :10], rtol=1e-6)
    data[3, 10] = 1
    with pytest.raises(DataError, match="row 3"):
        formats.covertype_table(data, np.full(8, 2))
    with pytest.raises(DataError, match=r"expected \[n, 54\]"):
        formats.covertype_table(data[:, :53], np.full(8, 2))


def test_covertype_through_scikit_learn(monkeypatch, tmp_path, capsys):
    import sklearn.datasets

    monkeypatch.setenv("FEDLAB_CACHE", str(tmp_path))
    data = np.zeros((30, 54))
    data[:, 10] = 1

    class Bunch:
        pass

    def fetch(data_home):
        assert data_home == str(tmp_path / "covertype")
        bunch = Bunch()
        bunch.data, bunch.target = data, np.array([2] * 25 + [4] * 5)
        return bunch

    monkeypatch.setattr(sklearn.datasets, "fetch_covtype", fetch)
    assert load("covertype").names == ("Rawah",)
    assert "11 MB" in capsys.readouterr().out

    def offline(data_home):
        raise OSError("no route to host")

    monkeypatch.setattr(sklearn.datasets, "fetch_covtype", offline)
    with pytest.raises(DownloadError, match="no route to host") as caught:
        load("covertype", progress=False)
    assert str(tmp_path / "covertype") in str(caught.value)


# --------------------------------------------------------------------------------------- ECG5000


def ecg_txt(classes):
    return "".join(f"  {c}.0000000e+00" + "  1.5e-01" * 140 + "\n" for c in classes)


def ecg_ts(classes):
    head = "#comment\n@problemName ECG5000\n@univariate true\n@classLabel true 1 2 3 4 5\n@data\n"
    return head + "".join(",".join(["0.15"] * 140) + f":{c}\n" for c in classes)


@pytest.mark.parametrize("end, write", [("txt", ecg_txt), ("ts", ecg_ts)])
def test_ecg5000_from_a_zip(tmp_path, monkeypatch, end, write):
    monkeypatch.setenv("FEDLAB_CACHE", str(tmp_path))
    (tmp_path / "ecg5000").mkdir()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"ECG5000_TRAIN.{end}", write([1, 1, 1, 2]))
        archive.writestr(f"ECG5000_TEST.{end}", write([1, 3, 4, 5]))
    (tmp_path / "ecg5000" / "ECG5000.zip").write_bytes(buffer.getvalue())
    for _ in range(2):  # the second time from the unpacked folder
        table = formats.ecg5000(progress=False)
        assert table.x.shape == (8, 140) and np.allclose(table.x, 0.15)
        assert table.y.tolist() == [False] * 3 + [True, False] + [True] * 3
        assert table.kind[3:].tolist() == [
            "R-on-T", "normal", "PVC", "supraventricular", "unclassified",
        ]  # fmt: skip


def test_ecg5000_damage(tmp_path):
    with pytest.raises(DataError, match="no ECG5000_TRAIN"):
        formats.ecg5000_table(tmp_path)
    (tmp_path / "ECG5000_TRAIN.txt").write_text(ecg_txt([1, 9]))
    with pytest.raises(DataError, match="line 2: the class must be"):
        formats.ecg5000_table(tmp_path)
    (tmp_path / "ECG5000_TRAIN.txt").write_text("1 2 3\n")
    with pytest.raises(DataError, match="line 1: 3 columns instead of 141"):
        formats.ecg5000_table(tmp_path)
    (tmp_path / "ECG5000_TRAIN.txt").unlink()
    ts = tmp_path / "ECG5000_TRAIN.ts"
    ts.write_text("1,2,3:1\n")
    with pytest.raises(DataError, match="no @data line"):
        formats.ecg5000_table(tmp_path)
    ts.write_text(ecg_ts([1, 2]).replace("0.15,", "NaN,", 1))
    with pytest.raises(DataError, match="line 6, column 't0'"):
        formats.ecg5000_table(tmp_path)
