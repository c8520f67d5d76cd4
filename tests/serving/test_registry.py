"""No unsigned model: every byte that is changed, moved or held back is noticed."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.errors import FedlabError
from fedlab_utils.serving import (
    Bundle,
    Registry,
    RegistryError,
    make_keys,
    read_private_key,
    read_public_key,
)
from fedlab_utils.serving import registry as module
from fedlab_utils.serving.keys import fingerprint

KEY = Ed25519PrivateKey.generate()
TRUSTED = [Ed25519PrivateKey.generate().public_key(), KEY.public_key()]


@pytest.fixture
def shelf(made, tmp_path):
    registry = Registry(tmp_path / "registry")
    registry.publish(made.bundle, KEY)
    return registry


def place(shelf, version=1):
    return shelf.folder / "toy" / f"{version:04d}"


def test_what_was_published_is_loaded(made, shelf):
    second = shelf.publish(replace_threshold(made.bundle, 9.0), KEY, days=1)
    assert second.version == 2 and shelf.versions("toy") == [1, 2]
    bundle, released = shelf.load("toy", TRUSTED)
    assert bundle.card.threshold == 9.0 and released == second
    assert released.signer == fingerprint(KEY.public_key())
    bundle, released = shelf.load("toy", TRUSTED, version=1)
    assert bundle.card == made.bundle.card and released.version == 1
    for name, array in made.bundle.arrays.items():
        np.testing.assert_array_equal(bundle.arrays[name], array)
    # Nothing half-written is left beside the versions.
    assert sorted(p.name for p in (shelf.folder / "toy").iterdir()) == ["0001", "0002"]


def replace_threshold(bundle, threshold):
    return Bundle(replace(bundle.card, threshold=threshold), bundle.arrays)


@given(
    file=st.sampled_from(["card.json", "model.npz", "manifest.json", "manifest.sig"]),
    where=st.floats(0, 0.999),
    change=st.integers(1, 255),
)
@settings(max_examples=60, deadline=None)
def test_one_changed_byte_anywhere_is_refused(made, tmp_path_factory, file, where, change):
    shelf = Registry(tmp_path_factory.mktemp("registry"))
    shelf.publish(made.bundle, KEY)
    path = place(shelf) / file
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= change
    path.write_bytes(data)
    with pytest.raises(RegistryError, match="toy 1"):
        shelf.load("toy", TRUSTED)


def test_nothing_of_the_model_is_read_before_the_signature(shelf, monkeypatch):
    read = []
    original = module._read
    monkeypatch.setattr(module, "_read", lambda p, *a: (read.append(p.name), original(p, *a))[1])
    with pytest.raises(RegistryError, match="not signed by anybody this bank trusts"):
        shelf.load("toy", TRUSTED[:1])
    assert read == ["manifest.json", "manifest.sig"]
    with pytest.raises(RegistryError, match="nobody"):
        shelf.load("toy", [])


@pytest.mark.parametrize("file", ["card.json", "model.npz", "manifest.json", "manifest.sig"])
@pytest.mark.parametrize("how", ["missing", "link", "huge"])
def test_files_that_are_not_ordinary(shelf, file, how, tmp_path, monkeypatch):
    path = place(shelf) / file
    if how == "missing":
        path.unlink()
    elif how == "link":
        shutil.move(path, tmp_path / file)
        path.symlink_to(tmp_path / file)
    else:
        limits = {
            "manifest.json": "_MANIFEST_BYTES",
            "model.npz": "_ARRAYS_BYTES",
            "card.json": "CARD_BYTES",
        }
        if file in limits:
            monkeypatch.setattr(module, limits[file], 60)
        path.write_bytes(bytes(100))
    with pytest.raises(RegistryError, match=file):
        shelf.load("toy", TRUSTED)


def test_a_signed_model_cannot_take_anothers_place(made, shelf):
    shelf.publish(made.bundle, KEY)
    shutil.rmtree(place(shelf, 2))
    shutil.copytree(place(shelf, 1), place(shelf, 2))
    with pytest.raises(RegistryError, match="toy 2: the signed manifest is of toy 1"):
        shelf.load("toy", TRUSTED)
    shutil.copytree(shelf.folder / "toy", shelf.folder / "other")
    with pytest.raises(RegistryError, match="is of toy 1"):
        shelf.load("other", TRUSTED, version=1)


def test_no_way_back_and_no_model_past_its_date(made, shelf):
    shelf.publish(made.bundle, KEY, days=2)
    assert shelf.load("toy", TRUSTED, at_least=2)[1].version == 2
    shutil.rmtree(place(shelf, 2))
    with pytest.raises(RegistryError, match="has used version 2"):
        shelf.load("toy", TRUSTED, at_least=2)
    soon = datetime.now(UTC) + timedelta(days=89)
    assert shelf.load("toy", TRUSTED, now=soon)
    with pytest.raises(RegistryError, match="was valid until"):
        shelf.load("toy", TRUSTED, now=soon + timedelta(days=2))
    with pytest.raises(RegistryError, match="days=0"):
        shelf.publish(made.bundle, KEY, days=0)


def test_unknown_names_and_versions(shelf):
    for name, version in (("none", None), ("toy", 7), ("../toy", None)):
        with pytest.raises(RegistryError, match="is not in"):
            shelf.load(name, TRUSTED, version=version)


def sign_again(path, manifest):
    """What a trusted signer could do by mistake, or another of its programs on purpose."""
    text = json.dumps(manifest).encode()
    (path / "manifest.json").write_bytes(text)
    (path / "manifest.sig").write_bytes(KEY.sign(module._PURPOSE + text))


def test_signed_manifests_of_another_kind(shelf):
    good = json.loads((place(shelf) / "manifest.json").read_text())
    for bad in ({}, [], {**good, "more": 1}, {**good, "valid_until": "tomorrow"}):
        sign_again(place(shelf), bad)
        with pytest.raises(RegistryError, match="another kind"):
            shelf.load("toy", TRUSTED)
    # The same bytes signed for another purpose are not a signed manifest.
    text = (place(shelf) / "manifest.json").read_bytes()
    (place(shelf) / "manifest.sig").write_bytes(KEY.sign(text))
    with pytest.raises(RegistryError, match="not signed"):
        shelf.load("toy", TRUSTED)


def test_the_card_must_be_of_the_model(made, shelf):
    shelf.publish(Bundle(replace(made.bundle.card, name="rich"), made.bundle.arrays), KEY)
    rich, poor = shelf.folder / "rich" / "0001", place(shelf)
    for file in ("card.json", "model.npz"):
        shutil.copy(rich / file, poor / file)
    manifest = json.loads((rich / "manifest.json").read_text())
    sign_again(poor, {**manifest, "name": "toy"})
    with pytest.raises(RegistryError, match="the card is of 'rich'"):
        shelf.load("toy", TRUSTED)


def test_two_publishers_at_once(made, shelf, monkeypatch):
    monkeypatch.setattr(shelf, "versions", lambda name: [])
    with pytest.raises(RegistryError, match="cannot be published"):
        shelf.publish(made.bundle, KEY)


def test_keys(tmp_path):
    private, public = make_keys(tmp_path / "a")
    assert private.stat().st_mode & 0o077 == 0
    key = read_private_key(private)
    assert fingerprint(key.public_key()) == fingerprint(read_public_key(public))
    with pytest.raises(FedlabError, match="there already"):
        make_keys(tmp_path / "a")
    locked, _ = make_keys(tmp_path / "b", "secret")
    assert b"ENCRYPTED" in locked.read_bytes() and read_private_key(locked, "secret")
    for password in (None, "wrong"):
        with pytest.raises(FedlabError, match="cannot be read as a private key"):
            read_private_key(locked, password)
    with pytest.raises(FedlabError, match="cannot be read as a public key"):
        read_public_key(private)
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ec").write_bytes(pem)
    with pytest.raises(FedlabError, match="not an Ed25519 key"):
        read_private_key(tmp_path / "ec")
    pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ec").write_bytes(pem)
    with pytest.raises(FedlabError, match="not an Ed25519 key"):
        read_public_key(tmp_path / "ec")
