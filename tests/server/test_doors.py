"""Who comes in at all: TLS, client certificates, and from where."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from pathlib import Path

import grpc
import pytest

from poseglass_core.errors import InvalidInput
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_server.security import Security, security
from poseglass_server.tls import TlsFiles

ROOT = Path(__file__).resolve().parents[2]
CODE = grpc.StatusCode


def client(authority, pair: tuple[Path, Path] | None = None) -> grpc.ChannelCredentials:
    """Trusts an authority, and shows a certificate where it has one."""
    roots = authority.certificate.read_bytes()
    if pair is None:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(roots, pair[1].read_bytes(), pair[0].read_bytes())


@pytest.fixture
def ask(connecting):
    """One call over a connection of its own: `ask(running, credentials)`."""

    def call(running, credentials: grpc.ChannelCredentials | None):
        with connecting(f"127.0.0.1:{running.server.port}", credentials) as channel:
            return pose_pb2_grpc.PoseServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=20).models

    return call


def test_tls_is_served_and_plain_clients_are_not(serving, network, authority, stranger, ask, refused):
    doors = security(*authority.sign("server"))
    with serving(network, security=doors, credentials=client(authority)) as running:
        assert running.pose.ListModels(pb.ListModelsRequest()).models
        refused(lambda: ask(running, None), CODE.UNAVAILABLE)
        refused(lambda: ask(running, client(stranger)), CODE.UNAVAILABLE)


def test_mutual_tls_wants_a_valid_certificate_of_the_right_authority(
    serving, network, authority, stranger, ask, refused
):
    doors = security(*authority.sign("server"), authority.certificate)
    with serving(network, security=doors, credentials=client(authority, authority.sign("camera"))) as running:
        assert running.pose.ListModels(pb.ListModelsRequest()).models
        expired = authority.sign("expired", begins_in=-9, ends_in=-1)
        for pair in (None, expired, stranger.sign("camera")):
            refused(lambda p=pair: ask(running, client(authority, p)), CODE.UNAVAILABLE)


def served_serial(authority, port: int) -> int:
    """The serial number of the certificate that a new connection gets."""
    from cryptography import x509

    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True)).serial_number


def test_a_new_certificate_is_served_to_new_connections(serving, network, authority, ask, caplog):
    certificate, key = authority.sign("server")
    with serving(network, security=security(certificate, key), credentials=client(authority)) as running:
        assert running.pose.ListModels(pb.ListModelsRequest()).models
        first = served_serial(authority, running.server.port)
        authority.sign("server")  # over the old files
        second = served_serial(authority, running.server.port)
        assert second != first
        assert running.pose.ListModels(pb.ListModelsRequest()).models  # over the connection from before
        key.write_text("half of a key")
        assert served_serial(authority, running.server.port) == second
        assert "--tls-key" in caplog.text
        certificate.unlink()
        assert ask(running, client(authority))
        authority.sign("server")
        assert served_serial(authority, running.server.port) not in {first, second}


def test_files_that_cannot_be_used_are_refused_before_anything_is_bound(authority, stranger, tmp_path):
    certificate, key = authority.sign("server")
    other_key = stranger.sign("other")[1]
    text = tmp_path / "text"
    text.write_text("Dear server")
    damaged = tmp_path / "damaged.pem"
    damaged.write_text(certificate.read_text().replace("M", "N", 40))
    expired = authority.sign("expired", begins_in=-9, ends_in=-1)
    early = authority.sign("early", begins_in=2, ends_in=3)
    for given, option, says in (
        ((tmp_path / "absent", key), "--tls-cert", "cannot be read"),
        ((text, key), "--tls-cert", "holds no CERTIFICATE"),
        ((certificate, text), "--tls-key", "holds no PRIVATE KEY"),
        ((certificate, other_key), "--tls-key", "is not the key of the certificate"),
        ((damaged, key), "--tls-key", "cannot be used"),
        (expired, "--tls-cert", "expired on "),
        (early, "--tls-cert", "not valid before "),
        ((certificate, None), "--tls-cert", "needs --tls-key"),
        ((None, key), "--tls-key", "needs --tls-cert"),
        ((None, None, certificate), "--tls-client-ca", "needs --tls-cert"),
        ((certificate, key, text), "--tls-client-ca", "holds no CERTIFICATE"),
        ((certificate, key, damaged), "--tls-client-ca", "cannot be used"),
        ((certificate, key, None, None, True), "--insecure", "contradicts --tls-cert"),
    ):
        with pytest.raises(InvalidInput, match=re.escape(says)) as caught:
            security(*given)
        assert caught.value.field == option
    with pytest.raises(InvalidInput, match=time.strftime("%Y-")):
        security(*expired)


def test_a_readable_key_is_warned_of(authority, caplog):
    certificate, key = authority.sign("server")
    security(certificate, key)
    assert "chmod" not in caplog.text
    key.chmod(0o644)
    security(certificate, key)
    assert f"chmod 600 {key}" in caplog.text
    assert TlsFiles(certificate, key).paths == (certificate, key)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_are_not_listened_to_without_tls(authority, host):
    with pytest.raises(InvalidInput, match="--tls-cert") as caught:
        Security().check_host(host)
    assert caught.value.field == "--host"
    assert "--insecure" in caught.value.reason
    Security(insecure=True).check_host(host)
    security(*authority.sign("server")).check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "no.such.host.invalid"])
def test_this_machine_may_be_listened_to(host):
    Security().check_host(host)


def test_a_server_of_its_own_accord_refuses_too(serving, network):
    with pytest.raises(InvalidInput, match="--insecure"), serving(network, host="0.0.0.0"):
        pass


def test_the_container_says_what_it_does():
    commands = re.findall(r"^CMD (\[.*\])$", (ROOT / "server/Dockerfile").read_text(), re.MULTILINE)
    assert [json.loads(line) for line in commands][-1] == ["serve", "--host", "0.0.0.0", "--insecure"]
    compose = (ROOT / "docker-compose.yml").read_text()
    server = re.search(r"^  server:\n((?:    .*\n)+)", compose, re.MULTILINE)[1]
    ports = re.search(r"    ports:\n((?:      - .*\n)+)", server)[1].split("\n")[:-1]
    assert ports
    assert all(port.startswith('      - "127.0.0.1:') for port in ports)
    for line in ("read_only: true", "tmpfs:\n      - /tmp", "cap_drop:\n      - ALL", "- no-new-privileges:true"):
        assert f" {line}\n" in server
