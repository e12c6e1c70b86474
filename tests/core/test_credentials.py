"""Certificates, keys and tokens in files."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from poseglass_core.credentials import MOST, is_token, others_may_read, read_file, read_pair, stamp, validity
from poseglass_core.errors import InvalidInput


@pytest.mark.parametrize("days", [1, 365 * 40])  # from 2050 on, years have four digits
def test_a_certificate_says_how_long_it_is_valid(authority, days):
    certificate, _ = authority.sign("server", begins_in=-3, ends_in=days)
    begin, end = validity(b"text before\n" + certificate.read_bytes() + authority.certificate.read_bytes())
    now = datetime.now(UTC)
    assert abs(begin - (now - timedelta(days=3))) < timedelta(minutes=5)
    assert abs(end - (now + timedelta(days=days))) < timedelta(minutes=5)


def test_damaged_certificates_have_no_validity(authority):
    pem = authority.certificate.read_bytes()
    lines = pem.splitlines(keepends=True)
    for damaged in (b"", b"Dear sir", lines[0] + lines[-1], b"".join(lines[:2] + lines[-1:]), pem.replace(b"M", b"m")):
        with pytest.raises(ValueError, match="certificate"):
            validity(damaged)


def test_a_key_with_a_passphrase_is_refused(authority):
    from cryptography.hazmat.primitives import serialization

    certificate, key = authority.sign("server")
    assert read_pair(("certificate", certificate), ("key", key)) == (certificate.read_bytes(), key.read_bytes())
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"word")
    key.write_bytes(secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(InvalidInput, match="passphrase") as caught:
        read_pair(("certificate", certificate), ("key", key))
    assert caught.value.field == "key"


def test_files_of_any_size_and_kind_are_refused_with_a_reason(tmp_path):
    large = tmp_path / "large"
    large.write_bytes(bytes(MOST + 1))
    for path, says in ((large, "larger than 1 MiB"), (tmp_path, "directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(InvalidInput, match=says):
            read_file("token_file", path)


def test_a_change_shows(tmp_path):
    path = tmp_path / "file"
    assert stamp(path) == (None,)
    path.write_text("one")
    first = stamp(path)
    other = tmp_path / "other"
    other.write_text("two")
    os.utime(other, ns=(first[0][0], first[0][0]))
    other.rename(path)  # of the same size and time
    assert stamp(path) != first


def test_permissions_of_others_show(tmp_path):
    path = tmp_path / "file"
    path.touch(0o600)
    path.chmod(0o600)
    assert not others_may_read(path)
    path.chmod(0o640)
    assert others_may_read(path)


def test_tokens_are_what_the_header_allows():
    assert is_token("abc-._~+/=09AZ")
    for text in ("", "two words", "ümlaut", "line\n", "a,b"):
        assert not is_token(text)
