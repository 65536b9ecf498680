"""A1, A3, A4 and A5 as tables."""

from __future__ import annotations

import ipaddress

import pytest

from transfer.addresses import is_public, parse_sockaddr
from transfer.errors import UrlNotAllowed
from transfer.policy import OutboundPolicy, parse_pair
from transfer.urls import NOT_ALLOWED, Origin, display_url, join_url, origin_of, parse_url

REFUSED = [
    # A1: schemes and user info
    "file:///etc/passwd", "ftp://example.com/x", "gopher://example.com/", "data:text/plain,x",
    "unix:///run/x.sock", "javascript:alert(1)", "//example.com/x", "example.com/x", "",
    "http://user:pass@example.com/", "http://user@example.com/", "http://@example.com/",
    "http:/example.com/", "http:example.com", "http://", "http:///x", "http://?x",
    # ports that are none
    "http://example.com:99999/", "http://example.com:0/", "http://example.com:8o/",
    "http://example.com:-1/", "http://example.com:80:80/", "http://example.com:٨٠/",
    # A3: legacy spellings
    "http://127.1/", "http://127.0.1/", "http://0x7f000001/", "http://0x7f.0.0.1/",
    "http://2130706433/", "http://0177.0.0.1/", "http://017700000001/", "http://0/",
    "http://127.0.0.1./", "http://①②⑦.⓪.⓪.①/", "http://１２７.0.0.1/", "http://127。0。0。1/",
    "http://%31%32%37.0.0.1/", "http://127.0.0.1%2f/", "http://1.2.3/", "http://1.2.3.4.5/",
    "http://1.2.3.256/", "http://example.0x1/", "http://0x/",
    # A4: scope ids
    "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[::1/", "http://::1/",
    "http://[127.0.0.1]/", "http://[::1]x/",
    # A5: parsers that differ
    "http://a\\@b/", "http://example.com\\x/", "http://a@b@example.com/", "http://exa\nmple.com/",
    "http://example.com/\r\nX: y", "http://example.com/\tx", "http://example.com/\x00",
    "http://example.com/\x85", " http://example.com/", "http://exa mple.com/",
    "http://example..com/", "http://.example.com/", "http://-x.example.com/", "http://😀.com/",
    "http://xn--a.b-/", "http://example.com..", "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 130 + "com/", "http://example.com/" + "x" * 9000, "http://\ud800.com/",
    "http://example.com/\ud800",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_what_is_not_plainly_a_url_is_refused(text):
    with pytest.raises(UrlNotAllowed) as refused:
        parse_url(text)
    assert refused.value.message == NOT_ALLOWED


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("HTTPS://Example.COM", "https://example.com/"),
        ("https://example.com.:443/x#y", "https://example.com/x"),
        ("http://example.com:8080/x?q=a b&c=%20", "http://example.com:8080/x?q=a%20b&c=%20"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
        ("https://1.2.3.4/x", "https://1.2.3.4/x"),
        ("https://[2606:4700:0:0::1111]:8443/", "https://[2606:4700::1111]:8443/"),
        ("http://example.com?x=/../@y:1", "http://example.com/?x=/../@y:1"),
        ("http://example.com/a@b:c", "http://example.com/a@b:c"),
    ],
)
def test_a_url_has_one_form(text, canonical):
    assert str(parse_url(text)) == canonical
    assert str(parse_url(canonical)) == canonical


def test_what_is_shown_of_a_url_has_no_query():
    url = "https://example.com:8443/a/b?token=canary#canary"
    assert display_url(url) == "https://example.com:8443/a/b"
    assert "canary" not in repr(parse_url(url))
    assert display_url("http://user:canary@example.com/") == "(unreadable link)"
    assert origin_of(url) == Origin("https", "example.com", 8443)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/api/resolve-cache/x?y", "https://example.com/api/resolve-cache/x?y"),
        ("../c", "https://example.com/c"),
        ("?z=1", "https://example.com/a/b?z=1"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("http://cdn.example/x y", "http://cdn.example/x%20y"),
        ("/\u00c3\u00a4", "https://example.com/%C3%A4"),
    ],
)
def test_locations_are_joined(location, target):
    assert str(join_url(parse_url("https://example.com/a/b?q=1"), location)) == target


@pytest.mark.parametrize(
    "location",
    ["", " ", "file:///x", "http://a@b/", "/\r\nx", "\\\\host\\x", "http://[", "http://ü\u2028"],
)
def test_a_junk_location_is_refused(location):
    with pytest.raises(UrlNotAllowed):
        join_url(parse_url("https://example.com/a"), location)


FORBIDDEN_ADDRESSES = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.1.2.3",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.0.170",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
    "2002:7f00:1::", "2002:808:808::", "2001::1", "2001:0:53aa:64c:0:fbff:80ff:fffe",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::7f00:1", "fec0::1", "fe80::1", "fe80::1%1",
    "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "100::1", "2001:db8::1", "3fff::1", "5f00::1",
    "2001:2::1", "2001:10::1", "2001:20::1",
    "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "2606:4700::1%2", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("text", FORBIDDEN_ADDRESSES)
def test_special_addresses_are_not_public(text):
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2606:4700::1111",
             "2a00:1450::1", "2001:4860::8888"]
)  # fmt: skip
def test_ordinary_addresses_are_public(text):
    assert is_public(ipaddress.ip_address(text))


def test_the_scope_id_of_a_socket_address_counts():
    address = parse_sockaddr(("2606:4700::1", 443, 0, 3))
    assert not is_public(address)
    assert is_public(parse_sockaddr(("2606:4700::1", 443, 0, 0)))


@pytest.mark.parametrize("port", [1, 22, 23, 25, 110, 465, 993, 3306, 5432, 6379, 11211, 27017])
def test_ports_of_other_services_are_refused_unless_allowed(port):
    url = parse_url(f"http://1.1.1.1:{port}/")
    with pytest.raises(UrlNotAllowed):
        OutboundPolicy().check(url)
    OutboundPolicy.from_allow_list((f"1.1.1.1:{port}",)).check(url)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "db", "metadata.google.internal", "x.local", "a.localhost",
             "printer.lan", "router.home.arpa", "localhost."]
)  # fmt: skip
def test_inner_names_are_refused_without_asking_a_resolver(host):
    with pytest.raises(UrlNotAllowed):
        OutboundPolicy().check(parse_url(f"http://{host}/"))


def test_the_allow_list_is_exact():
    policy = OutboundPolicy.from_allow_list(("127.0.0.1:9000", "[::1]:9000", "Mirror.LAN:80"))
    for allowed in ("http://127.0.0.1:9000/", "http://[::1]:9000/", "http://mirror.lan/"):
        policy.check(parse_url(allowed))
    for refused in ("http://127.0.0.1:9001/", "http://127.0.0.2:9000/", "https://mirror.lan/"):
        with pytest.raises(UrlNotAllowed):
            policy.check(parse_url(refused))


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "host:0", "host:99999", "a b:80",
                                  "http://host:80", "user@host:80", "127.1:80", "::1:80"])  # fmt: skip
def test_an_allow_list_is_read_strictly(text):
    with pytest.raises(ValueError, match="is not host:port"):
        parse_pair(text)
