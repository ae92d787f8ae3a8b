"""S3 as a source, against a real server process on loopback."""

from __future__ import annotations

import http.server
import json
import pickle
import re
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from obstore.store import S3Store

from storage import s3
from storage.errors import ObjectError, SourceError
from storage.objects import list_source, open_source

ODD = [
    "plain.txt",
    "with space.txt",
    " leading",
    "trailing ",
    "%20.txt",
    "a%2Fb.txt",
    "hash#.txt",
    "what?.txt",
    "quo'te\".txt",
    "图片/猫.jpg",
    "back\\slash.txt",
    "star*.txt",
    "<x>&[y]{z}|^`~.txt",
    "UPPER.JPG",
    ".hidden",
    "e\u0301.txt",
    "é.txt",
    "😀.txt",
    "plus+&=;:,@!$().txt",
]
UNSPELLABLE = ["a//b.txt", "/lead.txt", "dots/../up.txt", "dots/./here.txt", "..", "tab\t.txt", "control\x01.txt", "carriage\r.txt"]
MANY = [f"k/{i:04} é+%.txt" for i in range(1_100)]
MARKERS = ["folder/", "folder/sub/"]


@pytest.fixture(scope="module")
def server(s3_server: str) -> str:
    return s3_server


@pytest.fixture(autouse=True)
def environment(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_SKIP_SIGNATURE", "AWS_ENDPOINT_URL_S3", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"):
        monkeypatch.delenv(name, raising=False)
    values = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "hush", "ENDPOINT_URL": server, "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture
def client(server: str) -> Any:
    return boto3.client("s3", endpoint_url=server, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="hush")


@pytest.fixture
def bucket(client: Any, request: pytest.FixtureRequest) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:55].strip("-")
    client.create_bucket(Bucket=name)
    return name


Put = Callable[..., None]


@pytest.fixture
def put(client: Any, bucket: str) -> Put:
    def put_all(*keys: str, data: bytes | None = None, **options: str) -> None:
        for key in keys:
            client.put_object(Bucket=bucket, Key=key, Body=key.encode() if data is None else data, **options)

    return put_all


@pytest.fixture(scope="module")
def many(server: str) -> str:
    """A bucket whose listing takes two pages."""
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="hush")
    client.create_bucket(Bucket="many")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: client.put_object(Bucket="many", Key=key, Body=b"12345"), MANY))
    return "many"


def keys(url: str) -> list[str]:
    source = open_source(url)
    return [uri[len(source.root) + 1 :] for uri in list_source(source)["uri"]]


def read_all(url: str, folder: Path) -> dict[str, str]:
    source = open_source(url)
    return {key: source.fetch(f"{source.root}/{key}", folder, 1000).read_bytes().decode() for key in keys(url)}


def test_every_odd_key_is_listed_as_it_is_and_read(bucket: str, put: Put, tmp_path: Path) -> None:
    put(*ODD)
    assert read_all(f"s3://{bucket}", tmp_path) == {key: key for key in ODD}


def test_keys_that_obstore_cannot_spell_are_listed_and_read(bucket: str, put: Put, tmp_path: Path) -> None:
    put(*UNSPELLABLE, "lead.txt", "a/b.txt")
    with pytest.raises(Exception, match="path"):
        S3Store(bucket).list().collect()
    assert read_all(f"s3://{bucket}", tmp_path) == {key: key for key in [*UNSPELLABLE, "lead.txt", "a/b.txt"]}


def test_a_key_is_called_spellable_exactly_where_obstore_gives_it_back(bucket: str, put: Put, client: Any) -> None:
    candidates = [*ODD, *UNSPELLABLE, *MARKERS, "...", "a/...", ".a/b.", "a b/ /c", "\x7f", "a/.", "./a"]
    for key in candidates:
        put(key)
        try:
            given = [item["path"] for page in S3Store(bucket).list() for item in page]
        except Exception:  # noqa: BLE001
            given = []
        assert s3.spellable(key) == (given == [key]), key
        client.delete_object(Bucket=bucket, Key=key)


def test_a_key_with_a_newline_is_listed(bucket: str, server: str) -> None:
    """The server's routes know no newline in a path, so it is put by a form and cannot be read back there."""
    border = "x" * 20
    form = f'--{border}\r\nContent-Disposition: form-data; name="key"\r\n\r\nnew\nline.txt\r\n--{border}\r\n'
    form += f'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\nbody\r\n--{border}--\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary={border}"}
    urllib.request.urlopen(urllib.request.Request(f"{server}/{bucket}", form.encode(), headers)).close()
    assert keys(f"s3://{bucket}") == ["new\nline.txt"]


def test_markers_of_folders_keep_their_slash_and_are_no_files(bucket: str, put: Put, tmp_path: Path) -> None:
    put(*MARKERS, data=b"")
    put("folder/a.txt", "folder")
    assert sorted(keys(f"s3://{bucket}")) == ["folder", "folder/", "folder/a.txt", "folder/sub/"]
    with pytest.raises(ObjectError) as caught:
        open_source(f"s3://{bucket}").fetch(f"s3://{bucket}/folder/", tmp_path, 10)
    assert caught.value.reason == "not a file"


def test_a_listing_of_many_pages_is_whole_and_agrees_with_the_server(many: str, client: Any) -> None:
    frame = list_source(open_source(f"s3://{many}/k/"))
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=many)
    expected = {(f"s3://{many}/{o['Key']}", o["Size"], o["ETag"], o["LastModified"]) for page in pages for o in page["Contents"]}
    assert set(frame.iter_rows()) == expected
    assert frame.height == len(MANY)
    assert [batch.num_rows for batch in open_source(f"s3://{many}").listing()] == [1000, 100]


def test_a_prefix_ends_at_a_slash(bucket: str, put: Put) -> None:
    put("photos/1.jpg", "photos/sub/2.jpg", "photos2/3.jpg", "photos", "my photos/4.jpg", "what?/5.jpg", "%20/6.jpg", "a//b/7.jpg")
    assert sorted(keys(f"s3://{bucket}/photos")) == sorted(keys(f"s3://{bucket}/photos/")) == ["1.jpg", "sub/2.jpg"]
    for prefix, key in {"my photos": "4.jpg", "what?": "5.jpg", "%20": "6.jpg", "a//b": "7.jpg"}.items():
        assert keys(f"s3://{bucket}/{prefix}") == [key]


def test_an_empty_bucket_is_fine_and_an_empty_prefix_is_not(bucket: str, put: Put) -> None:
    open_source(f"s3://{bucket}").check()
    assert keys(f"s3://{bucket}") == []
    put("photos/1.jpg")
    open_source(f"s3://{bucket}/photos").check()
    for prefix in ("photo", "photos/1.jpg"):
        with pytest.raises(SourceError) as caught:
            open_source(f"s3://{bucket}/{prefix}").check()
        assert caught.value.reason == "empty prefix"


def test_large_objects_stream_into_flat_files_from_many_threads(bucket: str, put: Put, client: Any, tmp_path: Path) -> None:
    contents = {f"deep/{i}.bin": bytes([i]) * 3_000_000 for i in range(8)}
    for key, data in contents.items():
        client.put_object(Bucket=bucket, Key=key, Body=data)
    source = open_source(f"s3://{bucket}/deep")
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda key: source.fetch(f"s3://{bucket}/{key}", tmp_path, 3_000_000), contents))
    assert [path.read_bytes() for path in paths] == list(contents.values())
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.parametrize("key", ["a.bin", "a//b.bin"])
def test_an_object_over_the_limit_or_gone_leaves_no_file(bucket: str, put: Put, client: Any, tmp_path: Path, key: str) -> None:
    put(key, data=b"x" * 101)
    source = open_source(f"s3://{bucket}")
    (uri,) = list_source(source)["uri"]
    with pytest.raises(ObjectError, match="101 bytes, allowed are 100") as caught:
        source.fetch(uri, tmp_path, 100)
    assert caught.value.reason == "too many bytes"
    client.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(ObjectError) as caught:
        source.fetch(uri, tmp_path, 1000)
    assert (caught.value.reason, caught.value.retryable) == ("vanished", False)
    assert list(tmp_path.iterdir()) == []


# What goes wrong before the first object


def refused(url: str, reason: str, *words: str, seconds: float = 5) -> SourceError:
    start = time.monotonic()
    with pytest.raises(SourceError) as caught:
        open_source(url).check()
    assert time.monotonic() - start < seconds
    assert caught.value.reason == reason, caught.value
    assert all(word in str(caught.value) for word in words), caught.value
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


def test_a_missing_bucket_is_named() -> None:
    refused("s3://no-such-bucket", "missing bucket", "no-such-bucket", "spelling")


def test_an_endpoint_that_refuses_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    refused("s3://bucket", "unreachable", "AWS_ENDPOINT_URL")


def test_plain_http_must_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    refused("s3://bucket", "http refused", "AWS_ALLOW_HTTP=true")


@pytest.mark.parametrize("half", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_a_credential_is_named(monkeypatch: pytest.MonkeyPatch, half: str) -> None:
    monkeypatch.delenv(half)
    refused("s3://bucket", "no credentials", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def keyless(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    return monkeypatch


def test_credentials_that_lack_do_not_wait_long_for_a_silent_metadata_service(keyless: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        keyless.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        keyless.setattr("storage.stores._QUICK_SECONDS", 1)
        refused("s3://bucket", "no credentials", "AWS_ACCESS_KEY_ID", seconds=10)


def test_a_silent_endpoint_is_given_up_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("storage.stores._QUICK_SECONDS", 1)
        refused("s3://bucket", "unreachable", seconds=5)


# Through a server that stands before the real one


Fault = Callable[[str, int], tuple[int, bytes] | float | None]


class Proxy:
    """Hands requests on, but where `fault(path, number)` gives an answer of its own, or the share of the true one that is sent."""

    def __init__(self, server: str, fault: Fault) -> None:
        self.paths: list[str] = []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.paths.append(self.path)
                answer = fault(self.path, len(proxy.paths))
                status, body = answer if isinstance(answer, tuple) else _forward(server + self.path, self.headers)
                _answer(self, status, body, answer if isinstance(answer, float) else 1)

            def log_message(self, *_: object) -> None:
                pass

        self._front = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._front.server_port}"
        threading.Thread(target=self._front.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self._front.shutdown()
        self._front.server_close()


def _answer(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes, share: float = 1) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
    handler.end_headers()
    handler.wfile.write(body[: int(len(body) * share)])
    handler.close_connection = True


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Fault], Proxy]]:
    started = []

    def start(fault: Fault) -> Proxy:
        started.append(Proxy(server, fault))
        monkeypatch.setenv("AWS_ENDPOINT_URL", started[-1].url)
        return started[-1]

    yield start
    for one in started:
        one.stop()


def _forward(url: str, headers: Any) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"authorization": headers.get("authorization", "")})
    with urllib.request.urlopen(request) as response:
        return response.status, response.read()


def second_page(path: str) -> bool:
    return "continuation-token" in path


DENIED = (403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
BUSY = (503, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.s3._PAUSES", (0.01,))
    monkeypatch.setattr("storage.stores._PATIENT_RETRY", {"max_retries": 1})


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("answer", "reason"), [(DENIED, "denied"), (BUSY, "unavailable"), (0.5, "unavailable")])
def test_a_listing_that_breaks_half_way_gives_nothing(many: str, proxy: Any, answer: Any, reason: str) -> None:
    proxy(lambda path, _: answer if second_page(path) else None)
    batches = open_source(f"s3://{many}").listing()
    assert next(batches).num_rows == 1000
    with pytest.raises(SourceError):
        next(batches)
    with pytest.raises(SourceError) as caught:
        list_source(open_source(f"s3://{many}"))
    assert caught.value.reason == reason


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("answer", [BUSY, 0.5, 0.0])
def test_a_page_that_fails_once_is_asked_for_again(many: str, proxy: Any, answer: Any) -> None:
    front = proxy(lambda path, number: answer if second_page(path) and number == 2 else None)
    assert keys(f"s3://{many}") == MANY
    assert len(front.paths) == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "body",
    [
        b"please log in",
        b"<html><body>please log in</body></html>",
        b"<Error><Code>InternalError</Code><Message>again</Message></Error>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    ],
)
def test_an_answer_that_is_no_whole_listing_is_not_taken_for_an_empty_bucket(many: str, proxy: Any, body: bytes) -> None:
    proxy(lambda _path, _number: (200, body))
    with pytest.raises(SourceError) as caught:
        list_source(open_source(f"s3://{many}"))
    assert caught.value.reason == "unavailable"


@pytest.mark.usefixtures("impatient")
def test_a_server_that_gives_the_same_page_for_ever_is_left(many: str, proxy: Any) -> None:
    body = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
    proxy(lambda _path, _number: (200, body.encode()))
    with pytest.raises(SourceError, match="ListObjectsV2"):
        list_source(open_source(f"s3://{many}"))


@pytest.mark.usefixtures("impatient")
def test_a_server_that_dies_half_way_fails_the_listing(many: str, proxy: Any) -> None:
    front = proxy(lambda _path, _number: None)
    batches = open_source(f"s3://{many}").listing()
    next(batches)
    front.stop()
    with pytest.raises(SourceError) as caught:
        next(batches)
    assert caught.value.reason == "unreachable"


def test_credentials_that_are_refused_are_named_without_the_secret(proxy: Any) -> None:
    body = b"<Error><Code>SignatureDoesNotMatch</Code><Message>It does not match</Message><StringToSign>hush</StringToSign></Error>"
    proxy(lambda _path, _number: (403, body))
    refused("s3://bucket", "denied", "SignatureDoesNotMatch", "credentials")


def test_another_region_is_named(proxy: Any) -> None:
    proxy(lambda _path, _number: (301, b"<Error><Code>PermanentRedirect</Code><Message>Use another endpoint</Message></Error>"))
    refused("s3://bucket", "wrong region", "AWS_REGION")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("key", ["a.bin", "a//b.bin"])
def test_an_object_that_is_denied_or_breaks_off_says_whether_a_retry_helps(
    bucket: str, put: Put, proxy: Any, tmp_path: Path, key: str
) -> None:
    put(key, data=b"x" * 100_000)
    answers: list[Any] = [DENIED]
    proxy(lambda _path, _number: answers[0])
    source = open_source(f"s3://{bucket}")
    for answer, expected in ((DENIED, ("denied", False)), (0.5, ("unavailable", True)), (BUSY, ("unavailable", True))):
        answers[0] = answer
        with pytest.raises(ObjectError) as caught:
            source.fetch(f"s3://{bucket}/{key}", tmp_path, 1 << 20)
        assert (caught.value.reason, caught.value.retryable) == expected
        assert list(tmp_path.iterdir()) == []


# Credentials that only obstore can get


@pytest.fixture
def role(keyless: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A container's credentials service, as on EKS."""
    pair = {"AccessKeyId": "key", "SecretAccessKey": "hush", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}
    service = Proxy("", lambda _path, _number: (200, json.dumps(pair).encode()))
    (tmp_path / "token").write_text("hush")
    keyless.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/role")
    keyless.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    yield
    service.stop()


@pytest.mark.usefixtures("role")
def test_a_role_lists_and_reads_through_obstore_and_refuses_a_key_it_cannot_spell(bucket: str, put: Put, many: str, tmp_path: Path) -> None:
    put(*(f"p/{key}" for key in ODD))
    source = open_source(f"s3://{bucket}/p")
    assert source._bucket is None  # type: ignore[attr-defined]
    source.check()
    assert {key: data[2:] for key, data in read_all(f"s3://{bucket}/p", tmp_path).items()} == {key: key for key in ODD}
    assert [f"k/{key}" for key in keys(f"s3://{many}/k")] == MANY
    put("p/a//b.txt")
    with pytest.raises(SourceError, match=r"a//b\.txt") as caught:
        list_source(source)
    assert caught.value.reason == "odd key"
    with pytest.raises(ObjectError, match="rename") as missed:
        source.fetch(f"s3://{bucket}/p/a//b.txt", tmp_path, 100)
    assert missed.value.reason == "odd key"


# Signature


@pytest.mark.parametrize("token", ["", "session"])
@pytest.mark.parametrize("path", ["", "/plain.txt", "/a//b.txt", "/%2520%20%2B.txt", "/%E5%9B%BE/../%C3%A9~.txt"])
@pytest.mark.parametrize("query", [{}, {"list-type": "2", "prefix": "a b/图+%", "continuation-token": "1=/+~"}])
def test_a_signature_agrees_with_botocore(token: str, path: str, query: dict[str, str]) -> None:
    place = s3.Bucket("http://host.example:9000/bucket", "eu-west-1", "AKIDEXAMPLE", "wJalr/+secret", token)
    encoded = "&".join(f"{urllib.parse.quote(k, safe='')}={urllib.parse.quote(v, safe='')}" for k, v in query.items())
    request = AWSRequest("GET", f"{place.url}{path}" + (f"?{encoded}" if encoded else ""))
    S3SigV4Auth(Credentials(place.access_key, place.secret, token or None), "s3", "eu-west-1").add_auth(request)
    moment = datetime.strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    headers = s3.sign(place, "/bucket" + path, query, moment)
    assert headers["authorization"] == request.headers["Authorization"]
    assert headers.get("x-amz-security-token") == request.headers.get("X-Amz-Security-Token")


def test_a_server_that_checks_signatures_lets_the_right_one_in(server: str, client: Any, bucket: str, put: Put, tmp_path: Path) -> None:
    put("a b+%20/图.txt", "a b+%20//x.txt")
    user = boto3.client("iam", endpoint_url=server, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    user.create_user(UserName="reader")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    user.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(policy))
    pair = user.create_access_key(UserName="reader")["AccessKey"]
    with pytest.MonkeyPatch.context() as patch, checked_signatures(server):
        patch.setenv("AWS_ACCESS_KEY_ID", pair["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", pair["SecretAccessKey"])
        assert set(read_all(f"s3://{bucket}/a b+%20", tmp_path)) == {"图.txt", "/x.txt"}
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
        refused(f"s3://{bucket}", "denied", "SignatureDoesNotMatch")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
        refused(f"s3://{bucket}", "denied")


class checked_signatures:  # noqa: N801
    """The server checks every request's signature and rights within this block."""

    def __init__(self, server: str) -> None:
        self.server = server

    def __enter__(self) -> None:
        self._after(b"0")

    def __exit__(self, *_: object) -> None:
        self._after(b"inf")

    def _after(self, requests: bytes) -> None:
        request = urllib.request.Request(f"{self.server}/moto-api/reset-auth", requests, {"Content-Type": "text/plain"})
        urllib.request.urlopen(request).close()


def test_unsigned_requests_need_no_credentials(bucket: str, put: Put, keyless: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put("a//b.txt", "c.txt", ACL="public-read")
    keyless.setenv("AWS_SKIP_SIGNATURE", "true")
    assert read_all(f"s3://{bucket}", tmp_path) == {"a//b.txt": "a//b.txt", "c.txt": "c.txt"}


def test_virtual_hosted_style_takes_the_bucket_from_the_endpoint(
    bucket: str, put: Put, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a//b.txt", "c.txt")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{server}/{bucket}")
    assert read_all(f"s3://{bucket}", tmp_path) == {"a//b.txt": "a//b.txt", "c.txt": "c.txt"}


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "https://s3.eu-west-1.amazonaws.com/bucket"),
        ({"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}, "https://bucket.s3.eu-west-1.amazonaws.com"),
        ({"AWS_ENDPOINT_URL": "https://one/", "AWS_ENDPOINT_URL_S3": "https://two/"}, "https://two/bucket"),
        ({"AWS_ENDPOINT": "https://three"}, "https://three/bucket"),
    ],
)
def test_an_endpoint_follows_the_environment(values: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    place = s3.bucket_from_environment("bucket")
    assert place
    assert place.url == url
    assert place.region == "eu-west-1"


def test_a_pickled_source_holds_no_secret(bucket: str) -> None:
    data = pickle.dumps(open_source(f"s3://{bucket}/p"))
    assert b"hush" not in data
    assert pickle.loads(data).root == f"s3://{bucket}/p"
    assert "hush" not in repr(s3.bucket_from_environment(bucket))
