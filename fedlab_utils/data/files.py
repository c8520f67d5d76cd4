"""Where the bundled data files are, and whether they are the right ones. Taught in chapter 00."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fedlab_utils.errors import DataError

# sha256 of every bundled file; the datasheets in datasets/ repeat them.
BUNDLED_SHA256 = {
    "article/article_pysyft029_seed0.npz": (
        "ba7e9ae8a0d9fab6fa82f855fb42239e703217744ebe729c3422773b520172be"
    ),
    "heart/heart_disease_uci.csv": (
        "574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae"
    ),
    "internal_bleeding/135_UCR_Anomaly_InternalBleeding16_TEST.csv": (
        "fe26577b94896943e8205d04d56bf2511fe05c008df535a1ec3826adff3597e2"
    ),
    "internal_bleeding/135_UCR_Anomaly_InternalBleeding16_TRAIN.csv": (
        "a531b6f4f556b17c0321d144c3f6b4a7bdf5e8464b2218566181702e77962c2b"
    ),
    "shuttle/shuttle.csv.gz": "1ed4bfa77233d95bff2c8ab2482725d2d800410daedf5919ad80ec6faf60ff59",
}

_PACKAGE = Path(__file__).resolve().parents[1]
# In a checkout the data lie beside the package; in an installed wheel, inside it.
DATASET_FOLDERS = (_PACKAGE.parent / "datasets", _PACKAGE / "_datasets")


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def dataset_path(name: str, filename: str) -> Path:
    """Path of a bundled data file, in the checkout or inside the installed package.

    A file listed in BUNDLED_SHA256 is compared with its checksum first. Raises DataError if the
    file is missing (with the places that were searched) or is not the file it should be (with
    both checksums). Taught in chapter 00.
    """
    tried = [folder / name / filename for folder in DATASET_FOLDERS]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        raise DataError(
            f"bundled file {name}/{filename} not found; looked for "
            f"{' and '.join(map(str, tried))}. Install the package again, or run "
            f"from a complete clone."
        )
    expected = BUNDLED_SHA256.get(f"{name}/{filename}")
    if expected is not None and (actual := sha256_of(found)) != expected:
        raise DataError(
            f"{found} has been changed: its sha256 is {actual}, it should be {expected}. "
            f"Restore it (git checkout -- datasets/{name}/{filename}, or install the package "
            f"again); a version control setting that rewrites line ends does this too."
        )
    return found
