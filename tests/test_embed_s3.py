"""A bucket on S3 becomes a table, and what is wrong with the bucket is one clear refusal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from buckets import embed, picture, rows, sound, words

from storage.errors import SourceError

ROOT = Path(__file__).parent.parent
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
ODD = ["with space.png", "%20.png", "a#b?c.png", 'it\'s "quoted".png', "狗在叫.png", "UPPER.PNG", "deep/er/x.png"]


@pytest.fixture
def store(s3_server, monkeypatch, request):
    """A client of an empty bucket of the test's own, and the environment that reaches it."""
    for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": s3_server}).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    name = f"bucket-{abs(hash(request.node.name)) % 10**8}"
    client.create_bucket(Bucket=name)
    return client, name


def test_a_bucket_of_odd_names_is_embedded_and_kept_current(store, tmp_path):
    client, bucket = store
    for number, name in enumerate(ODD):
        client.put_object(Bucket=bucket, Key=f"media/{name}", Body=picture(number))
    client.put_object(Bucket=bucket, Key="media/a.wav", Body=sound(1))
    client.put_object(Bucket=bucket, Key="media/a.txt", Body=words(1).encode())
    client.put_object(Bucket=bucket, Key="media/broken.png", Body=picture(1)[:100])
    client.put_object(Bucket=bucket, Key="media2/not-below-the-prefix.png", Body=picture(50))
    source = f"s3://{bucket}/media"
    account = embed(source, tmp_path / "lance", scratch=str(tmp_path))
    assert (account.listed, account.embedded, account.quarantined, account.balanced) == (len(ODD) + 3, len(ODD) + 2, 1, True)
    assert {row["uri"] for row in rows(tmp_path / "lance")} == {f"{source}/{name}" for name in (*ODD, "a.wav", "a.txt")}
    client.delete_object(Bucket=bucket, Key=f"media/{ODD[2]}")
    client.put_object(Bucket=bucket, Key=f"media/{ODD[1]}", Body=picture(99))
    client.copy_object(Bucket=bucket, Key="media/copy.png", CopySource={"Bucket": bucket, "Key": f"media/{ODD[0]}"})
    account = embed(source, tmp_path / "lance", scratch=str(tmp_path))
    assert (account.embedded, account.encoded, account.reused, account.deleted) == (2, 1, 1, 1)
    assert not list(tmp_path.glob("sensorium-run-*")), "downloads were left behind"


def test_table_and_source_may_both_lie_on_s3(store, tmp_path):
    client, bucket = store
    client.put_object(Bucket=bucket, Key="media/a.png", Body=picture(1))
    account = embed(f"s3://{bucket}/media", f"s3://{bucket}/lance")
    assert (account.embedded, account.balanced) == (1, True)
    assert embed(f"s3://{bucket}/media", f"s3://{bucket}/lance").unchanged == 1


def test_an_object_that_goes_between_listing_and_reading_is_quarantined_and_tried_again(store, tmp_path, monkeypatch):
    from flows.bucket_run import BucketRun

    client, bucket = store
    for number in range(3):
        client.put_object(Bucket=bucket, Key=f"{number}.png", Body=picture(number))
    list_all = BucketRun.discover

    def list_then_delete(self):
        listing = list_all(self)
        client.delete_object(Bucket=bucket, Key="1.png")
        return listing

    monkeypatch.setattr(BucketRun, "discover", list_then_delete)
    account = embed(f"s3://{bucket}", tmp_path / "lance")
    assert [(f["stage"], f["reason"]) for f in account.failures] == [("fetch", "vanished")]
    monkeypatch.setattr(BucketRun, "discover", list_all)
    client.put_object(Bucket=bucket, Key="1.png", Body=picture(1))
    account = embed(f"s3://{bucket}", tmp_path / "lance")
    assert (account.embedded, account.unchanged, account.quarantined) == (1, 2, 0)


def test_a_mistyped_prefix_is_refused(store, tmp_path):
    client, bucket = store
    client.put_object(Bucket=bucket, Key="media/a.png", Body=picture(1))
    with pytest.raises(SourceError, match="medai"):
        embed(f"s3://{bucket}/medai", tmp_path / "lance")


@pytest.mark.parametrize("case", ["no such bucket", "no credentials", "nobody answers"])
def test_what_is_wrong_with_a_bucket_is_one_line_and_exit_code_2(s3_server, tmp_path, case):
    environment = CREDENTIALS | {"AWS_ENDPOINT_URL": s3_server}
    if case == "no credentials":
        environment = {"AWS_ENDPOINT_URL": s3_server, "AWS_ALLOW_HTTP": "true", "AWS_EC2_METADATA_DISABLED": "true"}
    if case == "nobody answers":
        environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    command = [sys.executable, "-m", "flows.cli", "embed", "s3://no-such-bucket/x", str(tmp_path / "lance"), "--direct"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "hush-hush" not in done.stderr
    assert not (tmp_path / "lance").exists()
