"""Vectors on disk: computed once, shared by processes, bounded, and begun anew when the file is damaged."""

import subprocess
import sys

import numpy as np
import pytest

from routers.encoders import HashedEncoder, JoinedEncoder
from routers.encoders.cache import PAGE, CachedEncoder, uncached

TEXTS = [f"text {i}" for i in range(40)]


class CountingEncoder(HashedEncoder):
    """Remembers what it was asked."""

    def __init__(self, dimensions=64):
        super().__init__(dimensions)
        self.asked = []

    def encode(self, texts):
        self.asked.extend(texts)
        return super().encode(texts)


def test_a_text_is_encoded_once(tmp_path):
    inner = CountingEncoder()
    encoder = CachedEncoder(inner, tmp_path / "vectors.db")
    first = encoder.encode(["a", "b", "a"])
    second = CachedEncoder(inner, tmp_path / "vectors.db").encode(["b", "c", "a"])
    assert inner.asked == ["a", "b", "c"]
    np.testing.assert_array_equal(first, HashedEncoder(64).encode(["a", "b", "a"]))
    np.testing.assert_array_equal(second, HashedEncoder(64).encode(["b", "c", "a"]))


def test_it_passes_for_the_encoder_that_it_wraps(tmp_path):
    encoder = CachedEncoder(HashedEncoder(64), tmp_path / "vectors.db")
    assert (encoder.fingerprint, encoder.dimensions) == (HashedEncoder(64).fingerprint, 64)


def test_encoders_share_a_file_and_no_vectors(tmp_path):
    for dimensions in (64, 32):
        assert CachedEncoder(HashedEncoder(dimensions), tmp_path / "v.db").encode(["a"]).shape == (1, dimensions)


def test_what_was_encoded_before_an_error_is_kept(tmp_path):
    class Failing(CountingEncoder):
        def encode(self, texts):
            if "bad" in texts:
                raise ConnectionError("gone")
            return super().encode(texts)

    inner = Failing()
    texts = [f"{i}" for i in range(PAGE)] + ["bad"]
    with pytest.raises(ConnectionError):
        CachedEncoder(inner, tmp_path / "v.db").encode(texts)
    CachedEncoder(inner, tmp_path / "v.db").encode(texts[:-1])
    assert len(inner.asked) == PAGE


@pytest.mark.parametrize("damage", [b"no database at all" * 500, None], ids=["overwritten", "cut and scribbled"])
def test_a_damaged_file_is_begun_anew_with_a_warning(tmp_path, caplog, damage):
    path = tmp_path / "v.db"
    encoder = CachedEncoder(HashedEncoder(64), path)
    expected = encoder.encode(TEXTS)
    whole = path.read_bytes()
    path.write_bytes(damage or whole[:5000] + b"\xff" * 3000)
    np.testing.assert_array_equal(encoder.encode(TEXTS), expected)
    assert f"{path} is damaged" in caplog.text
    np.testing.assert_array_equal(encoder.encode(TEXTS), expected)


def test_it_stays_below_its_bound_and_forgets_the_oldest(tmp_path):
    path, inner = tmp_path / "v.db", CountingEncoder(1024)
    encoder = CachedEncoder(inner, path, max_bytes=300_000)
    for i in range(30):
        encoder.encode([f"{i} {j}" for j in range(10)])
    assert path.stat().st_size < 400_000
    inner.asked.clear()
    encoder.encode(["29 9", "0 0"])
    assert inner.asked == ["0 0"]


WORKER = """
import sys
from pathlib import Path
from routers.encoders.cache import CachedEncoder
from routers.encoders import HashedEncoder, JoinedEncoder
encoder = CachedEncoder(HashedEncoder(64), Path(sys.argv[1]))
for start in range(0, 200, 5):
    encoder.encode([f"text {i}" for i in range(start, start + 20)])
"""


def test_processes_may_write_at_once(tmp_path):
    path = tmp_path / "v.db"
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, path], stderr=subprocess.PIPE) for _ in range(3)]
    assert [worker.communicate()[1] for worker in workers] == [b""] * 3
    inner = CountingEncoder()
    vectors = CachedEncoder(inner, path).encode([f"text {i}" for i in range(215)])
    assert not inner.asked
    np.testing.assert_array_equal(vectors, HashedEncoder(64).encode([f"text {i}" for i in range(215)]))


def test_caches_are_taken_off_an_encoder_and_the_parts_of_a_join(tmp_path):
    plain = HashedEncoder(64)
    cached = CachedEncoder(plain, tmp_path / "vectors.db")
    assert uncached(cached) is uncached(plain) is plain
    joined = uncached(JoinedEncoder([cached, plain], [1.0, 0.5]))
    assert joined.parts == (plain, plain)
    assert joined.fingerprint == JoinedEncoder([plain, plain], [1.0, 0.5]).fingerprint
