"""Hostile update files are refused by the sender's name, and nothing in them runs."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest

from fedlab_utils.runtimes.updates import Expected, UpdateError, read_arrays

WANTED = {"update": Expected((4,)), "rows": Expected((), "int64", low=1)}
GOOD = {"update": np.arange(4, dtype=np.float32), "rows": np.int64(7)}


def write(path, **changes):
    np.savez(path, **{**GOOD, **changes})
    return path


def npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array))
    return buffer.getvalue()


def archive(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def refused(path, match):
    with pytest.raises(UpdateError, match=match) as caught:
        read_arrays(path, "bank 3", WANTED)
    assert str(caught.value).startswith("bank 3: ")


def test_a_good_file_is_read_to_the_bit(tmp_path):
    arrays = read_arrays(write(tmp_path / "a.npz"), "bank 3", WANTED)
    assert arrays["update"].dtype == np.float32 and arrays["rows"] == 7
    np.testing.assert_array_equal(arrays["update"], GOOD["update"])
    arrays["update"][0] = 1  # a copy of its own, not the file's memory


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"update": np.zeros(5, np.float32)}, r"shape \[5\], expected \[4\]"),
        ({"update": np.zeros((4, 1), np.float32)}, r"shape \[4, 1\]"),
        ({"update": np.zeros(4)}, "type float64, expected float32"),
        ({"update": np.array([1, np.nan, np.inf, 0], np.float32)}, r"2 value\(s\) that are NaN"),
        ({"rows": np.int64(0)}, r"outside \[1, inf\]"),
        ({"rows": np.float64(7)}, "type float64"),
        ({"extra": np.float32(1)}, "expected exactly"),
        ({"update": np.zeros(10_000, np.float32)}, "refused unread"),
    ],
)
def test_arrays_that_were_not_agreed_on(tmp_path, changes, match):
    refused(write(tmp_path / "a.npz", **changes), match)


def test_a_missing_array(tmp_path):
    np.savez(tmp_path / "a.npz", update=GOOD["update"])
    refused(tmp_path / "a.npz", "expected exactly")


def test_pickled_objects_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", update=np.array([Bomb()] * 4, dtype=object), rows=GOOD["rows"])
    refused("a.npz", "type object")
    assert not (tmp_path / "exploded").exists()


def test_a_compressed_file_cannot_unpack(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **GOOD)
    refused(tmp_path / "a.npz", "could unpack to any size")


def test_a_header_that_claims_a_terabyte_allocates_nothing(tmp_path):
    lie = npy(GOOD["update"]).replace(b"(4,), ", b"(250000000000,), ", 1)
    good = npy(GOOD["update"])
    grown = len(lie) - len(good)
    lie = lie.replace(b" " * grown + b"\n", b"\n", 1)
    assert len(lie) == len(good)
    refused(
        archive(tmp_path / "a.npz", {"update.npy": lie, "rows.npy": npy(GOOD["rows"])}),
        r"shape \[250000000000\]",
    )


@pytest.mark.parametrize(("change", "match"), [(b"more", "more"), (None, "less")])
def test_more_or_less_than_the_header_says(tmp_path, change, match):
    data = npy(GOOD["update"])
    data = data + change if change else data[:-4]
    members = {"update.npy": data, "rows.npy": npy(GOOD["rows"])}
    refused(archive(tmp_path / "a.npz", members), f"holds {match} than its header")


def test_files_that_are_no_npz(tmp_path):
    (tmp_path / "text").write_text("amount,hour\n12.5,3\n")
    refused(tmp_path / "text", "not a sound npz file")
    whole = write(tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-30])
    refused(tmp_path / "cut", "not a sound npz file")
    damaged = bytearray(whole)
    damaged[whole.index(struct.pack("<f", 3.0))] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    refused(tmp_path / "damaged", "not a sound npz file")
    other = b"\x93NUMPY\x02\x00" + npy(GOOD["update"])[8:]
    members = {"update.npy": other, "rows.npy": npy(GOOD["rows"])}
    refused(archive(tmp_path / "version", members), "npy version")
    by_column = {"update": Expected((2, 2))}
    np.savez(tmp_path / "f.npz", update=np.asfortranarray(np.eye(2, dtype=np.float32) + 1))
    with pytest.raises(UpdateError, match="shape"):
        read_arrays(tmp_path / "f.npz", "bank 3", by_column)


def test_links_folders_and_nothing(tmp_path):
    write(tmp_path / "a.npz")
    (tmp_path / "link").symlink_to(tmp_path / "a.npz")
    for name in ("link", "missing", "."):
        refused(tmp_path / name, "not an ordinary file")


def test_nan_is_allowed_only_where_it_means_something(tmp_path):
    np.savez(tmp_path / "a.npz", ap=np.array([np.nan, 0.5]))
    wanted = {"ap": Expected((2,), "float64", finite=False, low=0, high=1)}
    assert np.isnan(read_arrays(tmp_path / "a.npz", "bank 3", wanted)["ap"][0])
    np.savez(tmp_path / "a.npz", ap=np.array([np.nan, 1.5]))
    with pytest.raises(UpdateError, match=r"outside \[0, 1\]"):
        read_arrays(tmp_path / "a.npz", "bank 3", wanted)
