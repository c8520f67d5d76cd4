"""N-BaIoT: traffic of nine devices, each a client, infected by two botnets. Taught in chapter 02.

Meidan et al. 2018, doi.org/10.1109/MPRV.2018.03367731; see datasets/n_baiot/README.md.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from fedlab_utils.data.download import RemoteFile, cache_folder, fetch
from fedlab_utils.data.parse import read_table
from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError, DownloadError

ARCHIVE = RemoteFile(
    "https://archive.ics.uci.edu/static/public/442/detection+of+iot+botnet+attacks+n+baiot.zip",
    "n_baiot.zip",
)
DEVICES = (
    "Danmini_Doorbell",
    "Ecobee_Thermostat",
    "Ennio_Doorbell",
    "Philips_B120N10_Baby_Monitor",
    "Provision_PT_737E_Security_Camera",
    "Provision_PT_838_Security_Camera",
    "Samsung_SNH_1011_N_Webcam",
    "SimpleHome_XCS7_1002_WHT_Security_Camera",
    "SimpleHome_XCS7_1003_WHT_Security_Camera",
)
BOTNETS = ("gafgyt", "mirai")
N_FEATURES = 115
# The longest line of the real files has about 2,200 characters; this bounds a hostile member.
_LINE = 1 << 14
_RAR_HELP = (
    "The attacks lie in RAR archives, which Python cannot unpack alone. Run `pip install rarfile` "
    "and install one of the tools it calls: unar, unrar, 7-Zip or bsdtar (for instance "
    "`apt install libarchive-tools` or `brew install unar`). With attacks=() the normal traffic "
    "loads without them."
)


def n_baiot(*, rows: int = 5000, attacks: Sequence[str] = BOTNETS, progress: bool = True) -> Table:
    """N-BaIoT: [n, 115], key = device, anomaly = botnet traffic, kind = such as "mirai scan".

    Args:
        rows: the first so many lines of each device's normal traffic, and a tenth as many of
            each of its attacks (the whole set has 7 million lines).
        attacks: botnets to read, of "gafgyt" and "mirai"; () for normal traffic only.
        progress: show a progress bar.

    Lines are in time order: of each device's normal rows the first 48% are "train", the next 12%
    "calibration", the rest and all attacks "test".

    Raises DownloadError without the file, or if RARs cannot be unpacked (with what to install);
    DataError for damaged files. Taught in chapter 02.
    """
    path = fetch(ARCHIVE, cache_folder("n_baiot"), progress=progress)
    return n_baiot_table(path, rows=rows, attacks=attacks)


def n_baiot_table(archive: Path, *, rows: int = 5000, attacks: Sequence[str] = BOTNETS) -> Table:
    """The Table of UCI's zip file. Nothing but the lines asked for is unpacked."""
    if rows < 10 or not set(attacks) <= set(BOTNETS):
        raise DataError(f"n_baiot: rows={rows} must be >= 10, attacks={attacks!r} of {BOTNETS}.")
    x: list[np.ndarray] = []
    kind: list[str] = []
    key: list[str] = []
    split: list[str] = []
    names: tuple[str, ...] = ()
    try:
        with zipfile.ZipFile(archive) as files:
            for device, label, header, values in _pieces(files, archive, rows, attacks):
                names = names or header
                if header != names:
                    raise DataError(f"{archive}: {device}, {label}: other columns than before.")
                x.append(values)
                key += [device] * len(values)
                kind += [label] * len(values)
                split += _by_time(len(values)) if label == "normal" else ["test"] * len(values)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{archive} is not a good zip file ({error}); delete it.") from error
    if not x:
        raise DataError(f"{archive} has none of the nine devices' folders; it is another file.")
    labels = np.array(kind)
    return Table(
        name="n_baiot",
        x=np.concatenate(x),
        y=labels != "normal",
        features=names,
        key=np.array(key),
        kind=labels,
        split=np.array(split),
    )


def _by_time(rows: int) -> list[str]:
    """The split of so many normal rows in time order."""
    train, calibration = round(0.48 * rows), round(0.6 * rows)
    late = rows - calibration
    return ["train"] * train + ["calibration"] * (calibration - train) + ["test"] * late


def _pieces(
    files: zipfile.ZipFile, archive: Path, rows: int, attacks: Sequence[str]
) -> Iterator[tuple[str, str, tuple[str, ...], np.ndarray]]:
    """(device, kind, feature names, [n, 115]) of each file wanted, device by device."""
    # The makers may put the folders inside another one: only the last two parts count.
    index = {PurePosixPath(name).parts[-2:]: name for name in files.namelist()}
    for device in DEVICES:
        if (device, "benign_traffic.csv") in index:
            name = index[device, "benign_traffic.csv"]
            with files.open(name) as stream:
                yield device, "normal", *_read(stream, f"{archive}:{name}", rows)
        for botnet in attacks:
            if (device, f"{botnet}_attacks.rar") in index:  # two devices were spared by mirai
                name = index[device, f"{botnet}_attacks.rar"]
                for kind, header, values in _rar_pieces(files, name, archive, rows // 10):
                    yield device, f"{botnet} {kind}", header, values


def _rar_pieces(
    files: zipfile.ZipFile, name: str, archive: Path, rows: int
) -> Iterator[tuple[str, tuple[str, ...], np.ndarray]]:
    """(attack, feature names, [n, 115]) of each CSV in one RAR of the zip."""
    where = f"{archive}:{name}"
    try:
        import rarfile
    except ImportError as error:
        raise DownloadError(f"{where}: the package rarfile is missing. {_RAR_HELP}") from error
    with tempfile.NamedTemporaryFile(suffix=".rar") as copy:  # the tools need a real file
        with files.open(name) as source:
            shutil.copyfileobj(source, copy)
        copy.flush()
        try:
            # Members are piped, never written: their names cannot lead anywhere.
            with rarfile.RarFile(copy.name) as rar:
                for member in rar.infolist():
                    if member.filename.endswith(".csv"):
                        with rar.open(member) as stream:
                            piece = _read(stream, f"{where}:{member.filename}", rows)
                        yield PurePosixPath(member.filename).stem, *piece
        except rarfile.RarCannotExec as error:
            raise DownloadError(f"{where}: found no tool for RAR. {_RAR_HELP}") from error
        except rarfile.Error as error:
            raise DataError(f"{where} is damaged ({error}). Delete the zip and reload.") from error


def _read(stream: IO[bytes], where: str, rows: int) -> tuple[tuple[str, ...], np.ndarray]:
    """The header, and the first `rows` lines after it."""
    header = tuple(stream.readline(_LINE).decode("utf-8", "replace").strip().split(","))
    if len(header) != N_FEATURES:
        raise DataError(
            f"{where}, line 1: {len(header)} columns instead of the {N_FEATURES} of N-BaIoT."
        )
    lines = [line for _ in range(rows) if (line := stream.readline(_LINE))]
    text = io.StringIO(b"".join(lines).decode("utf-8", "replace"))
    return header, read_table(text, header, where=where, first_line=2).to_numpy(np.float32)
