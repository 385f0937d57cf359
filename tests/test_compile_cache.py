"""The folder of compiled kernels."""

import os
import stat
import tempfile

import numba
import pytest

from infflow import compile_cache


@pytest.fixture
def nothing_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_writable_folders(tmp_path):
    assert compile_cache.is_writable(tmp_path)
    assert compile_cache.is_writable(tmp_path / "new" / "newer") and not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    assert not compile_cache.is_writable(tmp_path / "file" / "below")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert compile_cache.is_writable(closed) == (os.getuid() == 0)  # root may


def test_nothing_is_changed_where_numba_finds_a_folder(nothing_chosen):
    compile_cache.ensure()
    assert os.environ["NUMBA_CACHE_DIR"] == "" and numba.config.CACHE_DIR == ""


def test_a_read_only_installation_without_a_home(nothing_chosen, monkeypatch, tmp_path):
    monkeypatch.setattr(compile_cache, "is_writable", lambda folder: False)
    compile_cache.ensure()
    folder = os.environ["NUMBA_CACHE_DIR"]
    assert os.path.dirname(folder) == str(tmp_path) and folder == numba.config.CACHE_DIR
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    compile_cache.ensure()  # and the next process takes the same
    assert os.environ["NUMBA_CACHE_DIR"] == folder == str(compile_cache.temporary_folder())


def test_a_chosen_folder_stays(nothing_chosen, monkeypatch):
    monkeypatch.setattr(compile_cache, "is_writable", lambda folder: False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "chosen")
    compile_cache.ensure()
    assert os.environ["NUMBA_CACHE_DIR"] == "chosen" and numba.config.CACHE_DIR == ""


def test_a_folder_that_others_can_write_to_is_not_used(nothing_chosen, tmp_path):
    usual = compile_cache.temporary_folder()
    usual.chmod(0o777)
    other = compile_cache.temporary_folder()
    assert other != usual and stat.S_IMODE(other.stat().st_mode) == 0o700
    usual.rmdir()
    usual.symlink_to(tmp_path)
    assert compile_cache.temporary_folder() not in (usual, other)
