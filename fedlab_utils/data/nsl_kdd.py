"""NSL-KDD: connections in a simulated network, with attacks of four kinds. Taught in chapter 02.

Tavallaee et al. 2009, doi.org/10.1109/CISDA.2009.5356528; see datasets/nsl_kdd/README.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from fedlab_utils.data.download import RemoteFile, cache_folder, fetch
from fedlab_utils.data.parse import one_hot, read_table
from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError

# The owner asks for a form to be filled in; this public copy is the one most code reads.
_MIRROR = "https://raw.githubusercontent.com/defcom17/NSL_KDD/master/"
TEST_FILE = RemoteFile(
    _MIRROR + "KDDTest%2B.txt",
    "KDDTest+.txt",
    "86b5ec03d20c040bdbeeb7eb68ae7df37e27a16c5b66a6ba2b62b8fed0e5cdfa",
)
TRAIN_FILES = {
    "20%": RemoteFile(
        _MIRROR + "KDDTrain%2B_20Percent.txt",
        "KDDTrain+_20Percent.txt",
        "1a1559ff163a1dfa7ad1fba6b00ac6a408cc16741588831b66f043b918881e53",
    ),
    "full": RemoteFile(_MIRROR + "KDDTrain%2B.txt", "KDDTrain+.txt"),
}

_COLUMNS = (
    "duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot "
    "num_failed_logins logged_in num_compromised root_shell su_attempted num_root "
    "num_file_creations num_shells num_access_files num_outbound_cmds is_host_login "
    "is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate srv_rerror_rate "
    "same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count "
    "dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate "
    "dst_host_srv_diff_host_rate dst_host_serror_rate dst_host_srv_serror_rate "
    "dst_host_rerror_rate dst_host_srv_rerror_rate label difficulty"
)
_SERVICES = (
    "aol auth bgp courier csnet_ns ctf daytime discard domain domain_u echo eco_i ecr_i efs "
    "exec finger ftp ftp_data gopher harvest hostnames http http_2784 http_443 http_8001 "
    "imap4 IRC iso_tsap klogin kshell ldap link login mtp name netbios_dgm netbios_ns "
    "netbios_ssn netstat nnsp nntp ntp_u other pm_dump pop_2 pop_3 printer private red_i "
    "remote_job rje shell smtp sql_net ssh sunrpc supdup systat telnet tftp_u tim_i time "
    "urh_i urp_i uucp uucp_path vmnet whois X11 Z39_50"
)
COLUMNS = tuple(_COLUMNS.split())
VOCABULARY = {
    "protocol_type": ("tcp", "udp", "icmp"),
    "service": tuple(_SERVICES.split()),
    "flag": ("SF", "S0", "REJ", "RSTR", "RSTO", "S1", "SH", "S2", "S3", "RSTOS0", "OTH"),
}
_ATTACKS = {
    "dos": "back land neptune pod smurf teardrop apache2 udpstorm processtable mailbomb worm",
    "probe": "satan ipsweep nmap portsweep mscan saint",
    "r2l": "guess_passwd ftp_write imap phf multihop warezmaster warezclient spy xlock xsnoop "
    "snmpguess snmpgetattack httptunnel sendmail named",
    "u2r": "buffer_overflow loadmodule rootkit perl sqlattack xterm ps",
}
KIND_OF = {"normal": "normal"} | {
    attack: kind for kind, attacks in _ATTACKS.items() for attack in attacks.split()
}
# Each of these carries enough normal traffic to be a client of its own.
_CLIENTS = ("http", "domain_u", "smtp", "ftp_data")


def read_nsl_kdd(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parse one NSL-KDD text file: 41 features, label and difficulty per line, no header.

    Returns x [n, 122] float32 (38 numbers, then protocol, service and flag one-hot), the kind
    [n] and the service [n]. Raises DataError naming file, line and column.
    """
    data = read_table(path, COLUMNS, text=[*VOCABULARY, "label"])
    numbers = [c for c in COLUMNS[:41] if c not in VOCABULARY]
    coded = [
        one_hot(data[name].to_numpy(dtype=str), words, f"{path}, column {name!r}")
        for name, words in VOCABULARY.items()
    ]
    label = data["label"].to_numpy(dtype=str)
    unknown = ~np.isin(label, list(KIND_OF))
    if unknown.any():
        row = int(unknown.argmax())
        raise DataError(
            f"{path}, line {row + 1}, column 'label': unknown label {str(label[row])!r}; it is "
            f"neither normal nor one of the {len(KIND_OF) - 1} known attacks."
        )
    x = np.concatenate([data[numbers].to_numpy(np.float32), *coded], axis=1)
    return x, np.array([KIND_OF[word] for word in label]), data["service"].to_numpy(dtype=str)


def features() -> tuple[str, ...]:
    """The 122 feature names, in the order of the columns of x."""
    numbers = [c for c in COLUMNS[:41] if c not in VOCABULARY]
    return (*numbers, *(f"{n}={w}" for n, words in VOCABULARY.items() for w in words))


def nsl_kdd(*, train: Literal["20%", "full"] = "20%", progress: bool = True) -> Table:
    """NSL-KDD: [n, 122], anomaly = any attack, kind = dos, probe, r2l or u2r.

    The published test file is "test"; every fifth row of the training file is "calibration", the
    rest "train" (its attacks are used only as contamination). The data have no owners: key is
    the service (http, domain_u, smtp, ftp_data, other), as if a team ran each of them.

    Raises DownloadError without the files, DataError for damaged ones. Taught in chapter 02.
    """
    if train not in TRAIN_FILES:
        raise DataError(f"nsl_kdd: train must be one of {list(TRAIN_FILES)}, got {train!r}.")
    folder = cache_folder("nsl_kdd")
    paths = [fetch(file, folder, progress=progress) for file in (TRAIN_FILES[train], TEST_FILE)]
    return nsl_kdd_table(*paths)


def nsl_kdd_table(train: Path, test: Path) -> Table:
    """The Table of a training and a test file. Raises DataError. Taught in chapter 02."""
    early, late = read_nsl_kdd(train), read_nsl_kdd(test)
    x, kind, service = (np.concatenate(pair) for pair in zip(early, late, strict=True))
    split = np.full(len(x), "test", dtype="<U11")
    split[: len(early[0])] = "train"
    split[4 : len(early[0]) : 5] = "calibration"
    return Table(
        name="nsl_kdd",
        x=x,
        y=kind != "normal",
        features=features(),
        key=np.where(np.isin(service, _CLIENTS), service, "other"),
        kind=kind,
        split=split,
    )
