"""Archives: whatever happens to a file, what is read is what was written, or one clear error names
the file.
"""

import io
import pickle
import zipfile

import numpy as np
import pytest

from infflow.errors import InvalidValueError, StorageError
from infflow.storage import as_path, load_archive, read_arrays, save_archive

KIND = "infflow.Test"
ARRAYS = {"theta": np.linspace(-1.0, 1.0, 7), "trajectory": np.arange(6.0).reshape(2, 3)}


@pytest.fixture
def path(tmp_path):
    save_archive(tmp_path / "run.npz", KIND, ARRAYS, {"format": 1})
    return tmp_path / "run.npz"


def assert_noticed_or_harmless(path):
    try:
        arrays, metadata = load_archive(path, KIND)
    except StorageError as error:
        assert "run.npz" in str(error)
    else:  # a byte that zip does not need, such as a date
        assert metadata == {"kind": KIND, "format": 1} and arrays.keys() == ARRAYS.keys()
        for name, values in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], values)


@pytest.mark.parametrize("flip", [0xFF, 0x01, 0x20, 0x80])
def test_every_flipped_byte(path, flip):
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= flip
        path.write_bytes(damaged)
        assert_noticed_or_harmless(path)


def test_every_truncation(path):
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(StorageError, match=r"run\.npz"):
            load_archive(path, KIND)


@pytest.mark.parametrize("seed", range(200))
def test_runs_of_foreign_bytes(path, seed):
    rng = np.random.default_rng(seed)
    damaged = bytearray(path.read_bytes())
    start = rng.integers(len(damaged))
    length = rng.integers(1, 40)
    damaged[start : start + length] = rng.bytes(rng.integers(0, 40))
    path.write_bytes(damaged)
    assert_noticed_or_harmless(path)


@pytest.mark.parametrize("shape", ["(-\x00\x00 }", "(2,", "(99999999999, 999)", "(True,)", "'"])
def test_a_header_that_is_no_dictionary(path, shape):
    """With a right checksum: files that something else wrote."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}".encode("latin1")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "extra.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        )
    with pytest.raises(StorageError, match=r"run\.npz is damaged"):
        load_archive(path, KIND)


def test_a_missing_array(path):
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(path.with_name("less.npz"), "w") as less:
        for name in ("metadata.npy", "theta.npy"):
            less.writestr(name, archive.read(name))
    with pytest.raises(
        StorageError, match=r"less\.npz is damaged: its array 'trajectory' is missing"
    ):
        load_archive(path.with_name("less.npz"), KIND)


def test_nothing_is_unpickled():
    class Hostile:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    buffer = io.BytesIO()
    np.savez(buffer, theta=np.array([Hostile()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_arrays(buffer)
    with pytest.raises(ValueError, match="zip"):
        read_arrays(io.BytesIO(pickle.dumps([1.0])))


def put(path, name, shape, size):
    """Add a member whose header says ``shape``, and that unpacks to ``size`` bytes of zeros behind
    it.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", header.getvalue() + b"\0" * size)


@pytest.fixture
def unpacked(monkeypatch):
    """Names of the members that have been unpacked whole."""
    names = []
    read = zipfile.ZipFile.read
    monkeypatch.setattr(
        zipfile.ZipFile, "read", lambda self, name: (names.append(name), read(self, name))[1]
    )
    return names


@pytest.mark.parametrize("shape", [(2**29,), (4,), (), (-1,), (2**40, 2**40)])
def test_a_member_that_is_larger_than_its_header_says_is_not_unpacked(path, unpacked, shape):
    put(path, "extra", shape, 2**24)
    for read in (lambda: load_archive(path, KIND), lambda: read_arrays(path)):
        with pytest.raises(ValueError, match="16777344 bytes by the directory"):
            read()
    assert not unpacked


def test_arrays_that_do_not_fit_in_memory_are_not_unpacked(path, unpacked, monkeypatch):
    monkeypatch.setattr("infflow.storage.physical_memory", lambda: 2**20)
    assert load_archive(path, KIND)[0].keys() == ARRAYS.keys()
    unpacked.clear()
    put(path, "extra", (2**18,), 2**21)
    with pytest.raises(StorageError, match=r"run\.npz is damaged .* memory of 0\.000977 GiB"):
        load_archive(path, KIND)
    assert not unpacked


def test_a_result_of_the_wrong_shape_is_not_unpacked(tmp_path, unpacked):
    import infflow as inf

    net = inf.Net([(1, "identity", False)], input=np.ones((2, 1)), target=np.ones(2))
    inf.train(net, [0.5], progress=False).save(tmp_path / "run.npz")
    with (
        zipfile.ZipFile(tmp_path / "run.npz") as archive,
        zipfile.ZipFile(tmp_path / "bomb.npz", "w") as bomb,
    ):
        for name in archive.namelist():
            if name != "trajectory_theta.npy":
                bomb.writestr(name, archive.read(name))
    put(tmp_path / "bomb.npz", "trajectory_theta", (2**21,), 2**24)  # as its header says
    unpacked.clear()
    with pytest.raises(
        StorageError, match=r"bomb\.npz is damaged: trajectory theta has shape \(2097152,\)"
    ):
        inf.Result.load(tmp_path / "bomb.npz")
    assert unpacked == ["metadata.npy"]


def test_two_members_of_one_name(path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        put(path, "theta", (7,), 56)
    with pytest.raises(
        StorageError, match=r"run\.npz is damaged .* two of its arrays are called 'theta'"
    ):
        load_archive(path, KIND)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InvalidValueError, match="a folder; the name of a file is needed"):
        as_path("path", tmp_path, ".npz")
    assert as_path("path", tmp_path / "run", ".npz") == tmp_path / "run.npz"
