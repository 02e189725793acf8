"""Where redirects may lead, who gets credentials, whose certificate counts."""

import base64
import datetime as dt
import ipaddress
import ssl

import pytest
from faultserver import Faults, FaultServer

from fiberaug.errors import SecurityRefused, StoreError
from fiberaug.shards.addresses import (
    LOOPBACK,
    PRIVATE,
    PUBLIC,
    check_address,
    check_host,
    nearness,
)
from fiberaug.shards.fetching import NetPolicy, fetch, stat

pytestmark = pytest.mark.timeout(30)
DATA = b"object" * 1000
QUICK = NetPolicy(connect_s=1, read_s=1, retries=1, stall_s=3, backoff_s=0.01)


def to(location: str, status: int = 302) -> Faults:
    return Faults(status=status, headers={"Location": location})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_http_is_followed(tmp_path, status):
    with FaultServer() as server, FaultServer() as other:
        far = other.serve("/b.tar", DATA)
        url = server.serve("/a.tar", b"", to(far, status))
        fetch(url, tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").read_bytes() == DATA
        server.serve("/c.tar", b"", to("deeper/../d.tar"))
        server.serve("/d.tar", DATA)
        assert stat(server.url("/c.tar"), policy=QUICK).size == len(DATA)


def test_redirects_end():
    with FaultServer() as server:
        url = server.serve("/a.tar", b"", to("/a.tar"))
        with pytest.raises(StoreError, match="more than 5"):
            stat(url, policy=QUICK)
        assert len(server.requests) <= 12


@pytest.mark.parametrize(
    "location",
    [
        "ftp://127.0.0.1/a.tar",
        "file:///etc/hostname",
        "gopher://127.0.0.1/",
        "javascript:0",
        "http://[1/x",
        "http://host:port/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/x",
        "http://[fd00:ec2::254]/x",
        "http://[::ffff:169.254.169.254]/x",
        "http://[64:ff9b::a9fe:a9fe]/x",
        "http://2852039166/x",
        "http://0.0.0.0/x",
        "http://[::]/x",
        "http://224.0.0.1/x",
        "http://100.100.100.200/x",
        "http://168.63.129.16/x",
    ],
)
def test_a_redirect_to_where_no_shard_is_is_refused_at_once(location):
    with FaultServer() as server:
        url = server.serve("/a.tar", b"", to(location))
        with pytest.raises(SecurityRefused, match="redirects"):
            stat(url, policy=QUICK)
        assert len(server.requests) == 1


def test_how_near_an_address_is():
    assert nearness("127.0.0.1", 80) == LOOPBACK
    assert nearness("::1", 80) == LOOPBACK
    for text in ("10.1.2.3", "192.168.1.1", "172.16.0.1", "fd00::1", "100.64.0.1"):
        assert nearness(text, 80) == PRIVATE
    assert nearness("8.8.8.8", 80) == nearness("2001:4860:4860::8888", 80) == PUBLIC


@pytest.mark.parametrize(
    ("address", "near"), [("8.8.8.8", PUBLIC), ("10.0.0.1", PRIVATE), ("::1", LOOPBACK)]
)
def test_a_redirect_leads_nowhere_nearer_than_the_first_host(address, near):
    for most in (PUBLIC, PRIVATE, LOOPBACK):
        if near <= most:
            check_host(address, 80, most=most, shown="x")
            check_address(address, most=most, shown="x")
        else:
            with pytest.raises(SecurityRefused, match=r"x is .* and redirects"):
                check_host(address, 80, most=most, shown="x")
            with pytest.raises(SecurityRefused):
                check_address(address, most=most, shown="x")


def test_a_public_host_does_not_lead_to_this_machine(monkeypatch, tmp_path):
    with FaultServer() as proxy, FaultServer() as inside:
        secret = inside.serve("/secret", DATA)
        proxy.serve("/a.tar", b"", to(secret))
        monkeypatch.setenv("http_proxy", proxy.base)
        with pytest.raises(SecurityRefused, match=r"public.*loopback"):
            fetch("http://data.example.org/a.tar", tmp_path / "a", policy=QUICK)
        assert proxy.requests
        assert not inside.requests


def test_whom_a_redirect_is_connected_to_counts_not_what_its_name_meant_before():
    from fiberaug.shards.connections import manager

    with FaultServer() as server:
        url = server.serve("/a.tar", DATA)
        for most in (None, LOOPBACK):
            assert manager(0, most, None).request("GET", url).data == DATA
        with pytest.raises(SecurityRefused, match="loopback"):
            manager(0, PUBLIC, None).request("GET", url, retries=False)
        assert len(server.requests) == 2


def test_the_environments_proxy_is_asked_and_its_exceptions_are_not(
    monkeypatch, tmp_path
):
    with FaultServer() as proxy:
        proxy.serve("/a.tar", DATA)
        user = proxy.base.replace("http://", "http://me:wo%40rd@")
        monkeypatch.setenv("http_proxy", user)
        fetch("http://data.example.org/a.tar", tmp_path / "a", policy=QUICK)
        request = proxy.requests[0]
        assert request.path == "http://data.example.org/a.tar"
        sent = {name.lower(): value for name, value in request.headers.items()}
        words = base64.b64encode(b"me:wo@rd").decode()
        assert sent["proxy-authorization"] == f"Basic {words}"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        fetch(proxy.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert proxy.requests[-1].path == "/a.tar"


def test_user_and_password_go_to_their_host_and_port_alone(tmp_path):
    with FaultServer() as server, FaultServer() as other:
        server.serve("/b.tar", DATA)
        url = server.serve("/a.tar", b"", to("/b.tar"))
        named = url.replace("http://", "http://me:pass%40word@")
        fetch(named, tmp_path / "a", policy=QUICK)
        words = f"Basic {base64.b64encode(b'me:pass@word').decode()}"
        assert [r.headers.get("authorization") for r in server.requests] == [words] * 2
        back = server.url("/b.tar").replace("http://", "http://evil:evil@")
        other.serve("/b.tar", b"", to(back))
        server.serve("/a.tar", b"", to(other.url("/b.tar")))
        server.requests.clear()
        fetch(named, tmp_path / "a", policy=QUICK)
        assert other.requests[0].headers.get("authorization") is None
        assert server.requests[-1].headers.get("authorization") is None


def test_every_host_on_the_way_has_to_be_allowed():
    policy = NetPolicy(allowed_hosts=("127.0.0.1",))
    with FaultServer() as server:
        url = server.serve("/a.tar", b"", to(f"http://localhost:{server.port}/a.tar"))
        with pytest.raises(SecurityRefused, match="localhost is not among"):
            stat(url, policy=policy)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
def secure(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FaultServer(tls=context) as server:
        server.serve("/a.tar", DATA)
        yield server


def test_a_certificate_that_nobody_signed_is_an_error_at_once(secure, tmp_path):
    with pytest.raises(StoreError, match="certificate") as caught:
        fetch(secure.url("/a.tar"), tmp_path / "a", policy=QUICK)
    assert "given up" not in str(caught.value)
    assert not secure.requests


def test_https_never_leads_to_http(secure, certificate, tmp_path, monkeypatch):
    from fiberaug.shards import connections

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(connections, "_managers", {})
    fetch(secure.url("/a.tar"), tmp_path / "a", policy=QUICK)
    assert (tmp_path / "a").read_bytes() == DATA
    with FaultServer() as plain:
        secure.serve("/b.tar", b"", to(plain.serve("/b.tar", DATA)))
        with pytest.raises(SecurityRefused, match="https to http"):
            stat(secure.url("/b.tar"), policy=QUICK)
        assert not plain.requests
        up = plain.serve("/c.tar", b"", to(secure.url("/a.tar")))
        assert stat(up, policy=QUICK).size == len(DATA)
