"""Compiled code is dropped before the system's limit of memory mappings is reached."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from dvrl.numerics import compilation
from dvrl.numerics.compilation import make_room


def test_nothing_is_dropped_while_there_is_room(tmp_path, monkeypatch):
    maps, most = tmp_path / "maps", tmp_path / "most"
    maps.write_text("a mapping\n" * 50)
    most.write_text("100\n")
    monkeypatch.setattr(compilation, "MAPPINGS", maps)
    monkeypatch.setattr(compilation, "MOST_MAPPINGS", most)
    assert not make_room()
    maps.write_text("a mapping\n" * 51)
    assert make_room()


def test_systems_that_do_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "MAPPINGS", tmp_path / "absent")
    assert not make_room(share=0.0)


@pytest.mark.skipif(not compilation.MAPPINGS.exists(), reason="mappings are told on Linux alone")
def test_mappings_are_given_back():
    def count():
        return len(compilation.MAPPINGS.read_text().splitlines())

    functions = [jax.jit(lambda x, n=n: jnp.sort(jnp.sin(x) @ x.T + n)) for n in range(20)]
    for number, function in enumerate(functions):
        function(jnp.ones((number + 2, 3)))
    before = count()
    assert make_room(share=0.0)
    assert count() < before
    # What was dropped works again.
    assert functions[0](jnp.ones((2, 3))).shape == (2, 2)
