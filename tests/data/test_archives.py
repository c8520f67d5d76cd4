"""Archives that try to get out of their folder or to fill the disk."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedlab_utils.data.archives import safe_extract
from fedlab_utils.errors import DataError


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def make_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


MAKERS = {"zip": make_zip, "tar.gz": make_tar}
GOOD = [("a.txt", b"one"), ("folder/b.txt", b"two" * 1000)]


def outside(tmp_path):
    """Everything that is neither the archive nor below the target."""
    return [p for p in tmp_path.rglob("*") if p.name != "archive" and "out" not in p.parts]


@pytest.mark.parametrize("kind", MAKERS)
def test_good_archives_unpack(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / "archive", GOOD)
    out = safe_extract(archive, tmp_path / "out")
    assert (out / "a.txt").read_bytes() == b"one"
    assert (out / "folder/b.txt").read_bytes() == b"two" * 1000
    assert not outside(tmp_path)
    with pytest.raises(DataError, match="already exists"):
        safe_extract(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/tmp/evil", "..", "C:/evil", "C:evil", "..\\evil", "\\evil",
     "a/..\\..\\evil"],
)  # fmt: skip
def test_names_that_lead_outside(tmp_path, kind, name):
    archive = MAKERS[kind](tmp_path / "archive", [*GOOD, (name, b"evil")])
    with pytest.raises(DataError, match="outside its folder"):
        safe_extract(archive, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("*evil*")) and not (tmp_path / "deep" / "out").exists()


parts = st.sampled_from(["..", ".", "a", "b", "", "/", "\\", "C:", "x.txt", " "])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(parts, min_size=1, max_size=5), st.sampled_from(sorted(MAKERS)))
def test_nothing_is_ever_written_outside(tmp_path_factory, pieces, kind):
    tmp_path = tmp_path_factory.mktemp("x")
    archive = MAKERS[kind](tmp_path / "archive", [("/".join(pieces) or "x", b"content")])
    try:
        safe_extract(archive, tmp_path / "deep" / "out")
    except DataError:
        assert not (tmp_path / "deep" / "out").exists()
    written = [p for p in tmp_path.rglob("*") if p.is_file() and p != archive]
    assert all((tmp_path / "deep" / "out") in p.parents for p in written)


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.mark.parametrize(
    "info",
    [
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.SYMTYPE, "a.txt"),
        special("link", tarfile.LNKTYPE, "a.txt"),
        special("device", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda i: f"{i.name}-{i.linkname}",
)
def test_tar_links_and_devices(tmp_path, info):
    archive = make_tar(tmp_path / "archive", [*GOOD, (info, b"")])
    with pytest.raises(DataError, match="link or a device"):
        safe_extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_zip_symlink(tmp_path):
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = make_zip(tmp_path / "archive", [*GOOD, (info, "/etc/passwd")])
    with pytest.raises(DataError, match="link or a device"):
        safe_extract(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", MAKERS)
def test_bombs(tmp_path, kind):
    zeros = [("bomb", bytes(2_000_000))]
    archive = MAKERS[kind](tmp_path / "archive", zeros)
    assert archive.stat().st_size < 20_000
    with pytest.raises(DataError, match="more than 1000000 bytes"):
        safe_extract(archive, tmp_path / "out", max_bytes=1_000_000)
    assert not (tmp_path / "out").exists()
    many = MAKERS[kind](tmp_path / "archive", [(f"f{i}", b"") for i in range(30)])
    with pytest.raises(DataError, match="more than 20 members"):
        safe_extract(many, tmp_path / "out", max_files=20)


def test_sum_of_members_counts(tmp_path):
    archive = make_zip(tmp_path / "archive", [(f"f{i}", bytes(1000)) for i in range(5)])
    with pytest.raises(DataError, match="more than 4999 bytes"):
        safe_extract(archive, tmp_path / "out", max_bytes=4999)
    safe_extract(archive, tmp_path / "out", max_bytes=5000)


@pytest.mark.parametrize("kind", MAKERS)
def test_members_in_each_others_way(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / "archive", [("a", b"x"), ("a/b", b"y")])
    with pytest.raises(DataError, match="cannot be unpacked"):
        safe_extract(archive, tmp_path / "out")


def test_a_member_twice(tmp_path):
    archive = make_tar(tmp_path / "archive", [("a", b"x"), ("a", b"y")])
    with pytest.raises(DataError, match="cannot be unpacked"):
        safe_extract(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", MAKERS)
def test_damaged_archives(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / "archive", GOOD)
    whole = archive.read_bytes()
    for damage in (whole[: len(whole) // 2], b"no archive at all", b""):
        archive.write_bytes(damage)
        with pytest.raises(DataError, match="cannot be unpacked"):
            safe_extract(archive, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_folders_are_made(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.mkdir("empty")
        archive.writestr("empty/below/a", b"x")
    safe_extract(tmp_path / "archive", tmp_path / "out")
    assert (tmp_path / "out/empty/below/a").read_bytes() == b"x"
    folder = special("empty", tarfile.DIRTYPE)
    make_tar(tmp_path / "archive", [(folder, b"")])
    assert (safe_extract(tmp_path / "archive", tmp_path / "out2") / "empty").is_dir()


def test_encrypted_zip(tmp_path):
    archive = make_zip(tmp_path / "archive", [("a", b"x")])
    raw = bytearray(archive.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + at] |= 1  # the flag "encrypted"
    archive.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="password"):
        safe_extract(archive, tmp_path / "out")


def test_a_zip_that_declares_less_than_it_holds(tmp_path):
    archive = make_zip(tmp_path / "archive", [("bomb", bytes(2_000_000))])
    raw = bytearray(archive.read_bytes())
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="cannot be unpacked"):
        safe_extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip_that_lies_about_its_content(tmp_path):
    archive = make_zip(tmp_path / "archive", GOOD)
    raw = bytearray(archive.read_bytes())
    at = raw.index(b"PK\x01\x02") + 16  # the checksum in the directory
    raw[at] ^= 0xFF
    archive.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="CRC"):
        safe_extract(archive, tmp_path / "out")
