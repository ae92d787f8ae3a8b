"""A source that is some objects of another."""

from __future__ import annotations

import polars as pl

from storage.listed import ListedSource
from storage.objects import list_source, open_source


def test_it_lists_these_objects_alone_and_fetches_them_as_the_source_does(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(name.encode())
    source = open_source(str(tmp_path))
    whole = list_source(source)
    some = ListedSource(source, whole.filter(~pl.col("uri").str.ends_with("b.png")))
    some.check()
    assert some.root == source.root
    listed = list_source(some)
    assert listed.schema == whole.schema
    assert listed.sort("uri").equals(whole.filter(~pl.col("uri").str.ends_with("b.png")).sort("uri"))
    uri = listed.item(0, "uri")
    assert some.fetch(uri, tmp_path, 100).read_bytes() == uri.rpartition("/")[2].encode()


def test_none_of_its_objects_is_an_empty_listing(tmp_path):
    source = open_source(str(tmp_path))
    assert list_source(ListedSource(source, list_source(source))).is_empty()
