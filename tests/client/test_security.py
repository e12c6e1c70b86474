"""TLS and tokens, against servers that want them."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from poseglass import AsyncPoseClient, InvalidRequest, PoseClient, Unavailable

TOKEN = "s3cret-token.of_the/camera="


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Waits that take no time worth mentioning."""
    monkeypatch.setattr("poseglass.retrying.INITIAL", 0.001)
    monkeypatch.delenv("POSEGLASS_TOKEN", raising=False)


@pytest.fixture
def secure(serving, authority):
    """A server with a certificate of the authority."""
    return serving(server_credentials(authority))


@pytest.fixture
def mutual(serving, authority):
    """One that wants a certificate of its callers, too."""
    return serving(server_credentials(authority, wanted=True))


def server_credentials(authority, wanted=False):
    certificate, key = (path.read_bytes() for path in authority.sign("server"))
    roots = authority.certificate.read_bytes() if wanted else None
    return grpc.ssl_server_credentials([(key, certificate)], roots, wanted)


def asked(address, **settings):
    """The number of models; 2 where the server answers."""
    with PoseClient(address, timeout=10, **settings) as client:
        return len(client.models())


def test_a_trusted_server_is_talked_to_by_both_clients(secure, authority, jpeg):
    with PoseClient(secure.address, ca_file=authority.certificate) as client:
        assert client.health()
        assert client.predict(jpeg).poses
        assert len(list(client.predict_many([jpeg, jpeg]))) == 2

    async def main():
        async with AsyncPoseClient(secure.address, ca_file=str(authority.certificate)) as client:
            assert (await client.predict(jpeg)).poses
            return [answer async for answer in client.predict_many([jpeg])]

    assert len(asyncio.run(main())) == 1


def test_several_servers_share_a_name(serving, secure, authority):
    another = serving(server_credentials(authority))
    both = f"{secure.address},{another.address}"
    assert asked(both, ca_file=authority.certificate, server_name="localhost") == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tls": True}, "--tls-ca"),
        ({"ca_file": "stranger"}, "--tls-ca"),
        ({"ca_file": "authority", "server_name": "elsewhere.example"}, "--tls-server-name"),
        ({}, "or it wants TLS"),
    ],
)
def test_a_server_that_is_not_trusted_is_not_talked_to(secure, authority, stranger, settings, said):
    files = {"authority": authority.certificate, "stranger": stranger.certificate}
    settings = {name: files.get(value, value) for name, value in settings.items()}
    with pytest.raises(Unavailable, match=said) as caught:
        asked(secure.address, **settings)
    assert ("asked" in str(caught.value)) == (not settings)  # asking again would not help
    assert secure.poses.get_model_calls == 0


def test_an_expired_server_is_not_trusted(serving, authority):
    certificate, key = (path.read_bytes() for path in authority.sign("old", begins_in=-9, ends_in=-1))
    expired = serving(grpc.ssl_server_credentials([(key, certificate)]))
    with pytest.raises(Unavailable, match="expired"):
        asked(expired.address, ca_file=authority.certificate)


def test_tls_with_a_server_that_has_none_is_explained(server, authority):
    with pytest.raises(Unavailable, match="leave tls"):
        asked(server.address, ca_file=authority.certificate)


def test_a_server_that_wants_a_certificate_lets_in_who_has_one(mutual, authority, stranger):
    def pair(files):
        return {"ca_file": authority.certificate, "certificate": files[0], "key": files[1]}

    assert asked(mutual.address, **pair(authority.sign("camera"))) == 2
    for settings in ({"ca_file": authority.certificate}, pair(stranger.sign("camera"))):
        with pytest.raises(Unavailable, match="--tls-cert"):
            asked(mutual.address, retries=0, **settings)


def test_files_that_cannot_be_used_name_the_setting(authority, tmp_path):
    certificate, key = authority.sign("camera")
    other = authority.sign("other")[1]
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for settings, field, said in (
        ({"ca_file": tmp_path / "gone.pem"}, "ca_file", "cannot be read"),
        ({"ca_file": tmp_path}, "ca_file", "cannot be read"),
        ({"ca_file": key}, "ca_file", "holds no CERTIFICATE"),
        ({"ca_file": damaged}, "ca_file", "cannot be used"),
        ({"ca_file": 3}, "ca_file", "path"),
        ({"ca_file": ""}, "ca_file", "path"),
        ({"certificate": certificate}, "certificate", "--tls-key"),
        ({"key": key}, "key", "--tls-cert"),
        ({"certificate": certificate, "key": other}, "key", "not the key of the certificate"),
        ({"certificate": key, "key": key}, "certificate", "holds no CERTIFICATE"),
        ({"certificate": certificate, "key": certificate}, "key", "holds no PRIVATE KEY"),
        ({"tls": True, "insecure": True}, "insecure", "contradicts"),
    ):
        with pytest.raises(InvalidRequest, match=said) as caught:
            PoseClient(**settings)
        assert caught.value.field == field


def test_a_key_with_a_passphrase_is_refused_and_asks_nobody(authority, tmp_path):
    from cryptography.hazmat.primitives import serialization

    certificate, key = authority.sign("camera")
    secret = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open sesame"),
    )
    key.write_bytes(secret)
    with pytest.raises(InvalidRequest, match="passphrase"):
        PoseClient(certificate=certificate, key=key)


def test_each_call_carries_the_token(secure, server, authority, jpeg):
    for where, settings in ((secure, {"ca_file": authority.certificate}), (server, {})):
        with PoseClient(where.address, token=TOKEN, **settings) as client:
            client.models()
            client.predict(jpeg)
            list(client.predict_many([jpeg]))
        assert where.poses.tokens == {f"Bearer {TOKEN}"}

        async def main(where=where, settings=settings):
            async with AsyncPoseClient(where.address, token=TOKEN, **settings) as client:
                await client.predict(jpeg)
                return [answer async for answer in client.predict_many([jpeg])]

        asyncio.run(main())
        assert where.poses.tokens == {f"Bearer {TOKEN}"}


def test_no_token_is_sent_where_none_is_given(server):
    asked(server.address)
    assert server.poses.tokens == {""}


def test_a_token_file_is_read_again_when_it_changes(server, tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with PoseClient(server.address, token_file=file) as client:
        client.models()
        file.write_text("the-next-one\n")
        client.models()
        assert server.poses.tokens == {f"Bearer {TOKEN}", "Bearer the-next-one"}
        for broken in ("", "two tokens\n"):
            file.write_text(broken)
            client.models()
        file.unlink()
        client.models()
    assert server.poses.tokens == {f"Bearer {TOKEN}", "Bearer the-next-one"}


@pytest.mark.parametrize("address", ["poses.example.org:50051", "dns:///poses:50051", "127.0.0.1:1,10.0.0.1:1"])
def test_a_token_goes_to_other_machines_over_tls_only(address):
    with pytest.raises(InvalidRequest, match="readable") as caught:
        PoseClient(address, token=TOKEN)
    assert caught.value.field == "token"
    assert TOKEN not in str(caught.value)
    PoseClient(address, token=TOKEN, insecure=True).close()
    PoseClient(address, token=TOKEN, tls=True).close()


def test_what_is_no_token_is_not_repeated(tmp_path):
    file = tmp_path / "token"
    for text in ("two words", "line\nbreak", "ümlaut"):
        file.write_text(text)
        for settings, field in (({"token": text}, "token"), ({"token_file": file}, "token_file")):
            with pytest.raises(InvalidRequest) as caught:
                PoseClient(**settings)
            assert caught.value.field == field
            assert text not in str(caught.value)
    file.write_text("\n")
    for settings in ({"token_file": file}, {"token_file": tmp_path / "gone"}, {"token": TOKEN, "token_file": file}):
        with pytest.raises(InvalidRequest, match="token"):
            PoseClient(**settings)


@pytest.mark.parametrize("command", ["predict", "video", "models", "health", "evaluate", "bench"])
def test_every_command_that_asks_a_server_has_the_options(run, command):
    text = run(command, "--help", COLUMNS="200").stdout
    options = ["--tls", "--tls-ca", "--tls-cert", "--tls-key", "--tls-server-name", "--token-file", "--insecure"]
    for option in ("--server", "--timeout", *options, "POSEGLASS_TOKEN"):
        assert option in text


def test_commands_ask_over_tls_with_a_certificate_and_a_token(run, mutual, authority, pictures, tmp_path):
    certificate, key = authority.sign("camera")
    (tmp_path / "token").write_text(TOKEN)
    tls = ["--server", mutual.address, "--tls-ca", authority.certificate, "--tls-cert", certificate, "--tls-key", key]
    run("health", *tls)
    run("models", *tls, POSEGLASS_TOKEN=f"{TOKEN}\n")
    run("predict", pictures / "one.jpg", *tls, "--token-file", tmp_path / "token", POSEGLASS_TOKEN="another")
    assert mutual.poses.tokens == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tls"], "--tls: is for talking to a server"),
        (["--token-file", "x"], "--token-file: is for talking to a server"),
        (["--server", "127.0.0.1:1", "--tls-ca", "gone.pem"], "--tls-ca: gone.pem: cannot be read"),
        (["--server", "127.0.0.1:1", "--tls-cert", "x.pem"], "--tls-cert: needs key (--tls-key)"),
        (["--server", "127.0.0.1:1", "--tls-key", "x.pem"], "--tls-key: needs certificate (--tls-cert)"),
        (["--server", "127.0.0.1:1", "--token-file", "gone"], "--token-file: gone: cannot be read"),
        (["--server", "127.0.0.1:1", "--tls", "--insecure"], "--insecure: contradicts TLS"),
        (["--server", "nowhere"], "--server: must be HOST:PORT"),
        (["--server", "127.0.0.1:1", "--timeout", "0"], "--timeout: must be"),
    ],
)
def test_wrong_options_are_one_line_that_names_them(run, arguments, said):
    line = run("models", *arguments, expect=2).stderr.strip()
    assert line.startswith(f"poseglass: {said}")
    assert "\n" not in line


def test_a_token_of_the_environment_needs_tls_too(run):
    line = run("health", "--server", "poses.example.org:1", expect=2, POSEGLASS_TOKEN=TOKEN).stderr
    assert line.startswith("poseglass: POSEGLASS_TOKEN: would go to poses.example.org:1 readable")
    assert TOKEN not in line
