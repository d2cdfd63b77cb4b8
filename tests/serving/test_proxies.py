"""nginx and Caddy before the server, with the files of deploy/: TLS, tokens, names and refusals."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = "photos.example"
AUTHORITY = "storage/pki/authorities/local/root.crt"
TOKEN = "a-long-token-of-a-test"
Jpeg = Callable[..., bytes]


def needed(program: str, package: str) -> str:
    """Path of a program; the test is skipped without it."""
    # Debian's nginx is where only root looks.
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return found


def free_ports(count: int) -> list[int]:
    """Free ports, which are different ones."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[int]:
    """nginx with the site of deploy/, on a port and with a certificate of its own."""
    program = needed("nginx", "nginx-light")
    port, certificate, key = free_ports(1)[0], folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [needed("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj",
         f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-out", certificate, "-keyout",
         key], check=True, capture_output=True,
    )  # fmt: skip
    site = (DEPLOY / "nginx.conf").read_text("utf-8")
    changes = {
        f"/etc/letsencrypt/live/{NAME}/fullchain.pem": str(certificate),
        f"/etc/letsencrypt/live/{NAME}/privkey.pem": str(key),
        "    listen [::]:443 ssl http2;\n": "",
        "listen 443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
    }
    for old, new in changes.items():
        assert site.count(old) == 1, old
        site = site.replace(old, new)
    folders = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = (
        f"daemon off;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}{site}}}\n"
    )
    (folder / "nginx.conf").write_text(whole, "utf-8")
    with running([program, "-c", str(folder / "nginx.conf")], port):
        yield port


@contextmanager
def caddy(folder: Path, upstream: int) -> Iterator[int]:
    """Caddy with the site of deploy/, on a port and with a certificate of its own authority."""
    program = needed("caddy", "caddy")
    port, plain = free_ports(2)
    site = (DEPLOY / "Caddyfile").read_text("utf-8")
    assert site.count("127.0.0.1:8000") == 1
    options = (
        "{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n"
        f"\thttp_port {plain}\n\thttps_port {port}\n\tdefault_bind 127.0.0.1\n"
        f"\tstorage file_system {folder}/storage\n}}\n"
    )
    place = folder / "Caddyfile"
    place.write_text(options + site.replace("127.0.0.1:8000", f"127.0.0.1:{upstream}"), "utf-8")
    line = [program, "run", "--config", str(place), "--adapter", "caddyfile"]
    with running(line, port):
        for _ in range(500):  # it listens before its authority has written its certificate
            if any(file.stat().st_size for file in folder.glob(AUTHORITY)):
                break
            time.sleep(0.02)
        yield port


@contextmanager
def running(line: list[str], port: int) -> Iterator[None]:
    """A program that listens on a port."""
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
    reader.start()
    try:
        for _ in range(500):
            assert process.poll() is None, said
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()
        reader.join()
        process.stderr.close()


def certificates(folder: Path) -> ssl.SSLContext:
    """Certificates that a client trusts: that of nginx, or the authority that Caddy has made."""
    (found,) = [*folder.glob("cert.pem"), *folder.glob(AUTHORITY)]
    return ssl.create_default_context(cafile=found)


@pytest.fixture(params=[nginx, caddy])
def proxied(
    request: pytest.FixtureRequest, tmp_path: Path, start: Callable[..., Any]
) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A client that asks a server by a proxy, and one that asks it itself."""
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    settings = {"tokens": str(tokens), "hosts": [NAME], "queue": 2, "photos": 2, "max_mb": 1}
    with start(**settings) as behind, request.param(tmp_path, behind.base_url.port) as port:
        headers = {"Host": NAME, "Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(
            base_url=f"https://127.0.0.1:{port}", headers=headers, timeout=60,
            verify=certificates(tmp_path), event_hooks={"request": [_named]},
        ) as client:  # fmt: skip
            for _ in range(500):  # Caddy listens before its certificate is there
                try:
                    client.get("/v2/health/ready")
                    break
                except httpx.ConnectError:
                    time.sleep(0.02)
            yield client, behind


def _named(request: httpx.Request) -> None:
    """Ask the certificate of the name, which no server of names knows here."""
    request.extensions["sni_hostname"] = NAME


def test_photos_are_answered_through_a_proxy(
    proxied: tuple[httpx.Client, httpx.Client], jpeg: Jpeg
) -> None:
    client, behind = proxied
    own = {"Host": NAME, "Authorization": f"Bearer {TOKEN}"}
    expected = behind.post("/predict", content=jpeg(), headers=own).json()
    files = [("f", ("a.jpg", jpeg(1))), ("f", ("b.jpg", jpeg(2)))]
    for _ in range(2):  # the second one uses a connection that is open
        response = client.post("/predict", content=jpeg())
        assert response.status_code == 200 and response.json() == expected
        assert len(client.post("/predict", files=files).json()["answers"]) == 2
    heat = client.post("/explain", content=jpeg())
    assert heat.headers["content-type"] == "image/png"
    assert heat.headers["cross-origin-embedder-policy"] == "require-corp"
    assert client.get("/v2/health/ready", headers={"Authorization": ""}).status_code == 200


def test_refusals_come_through_a_proxy(
    proxied: tuple[httpx.Client, httpx.Client], jpeg: Jpeg
) -> None:
    client, _ = proxied
    lacking = client.post("/predict", content=jpeg(), headers={"Authorization": "Bearer x"})
    assert (lacking.status_code, lacking.headers["www-authenticate"]) == (401, "Bearer")
    large = client.post("/predict", content=bytes(3 * 2**20))
    assert large.status_code == 413 and "1,048,576 bytes" in large.json()["error"]
    assert client.post("/predict", content=b"no photo").status_code == 415


def test_a_full_queue_is_said_through_a_proxy(
    proxied: tuple[httpx.Client, httpx.Client], jpeg: Jpeg
) -> None:
    client, behind = proxied
    go_on = threading.Event()
    photo = jpeg()

    def slowly() -> Iterator[bytes]:
        yield photo[:100]
        assert go_on.wait(60)
        yield photo[100:]

    held: list[int] = []
    length = {"Content-Length": str(len(photo))}
    threads = [
        threading.Thread(
            target=lambda: held.append(
                client.post("/predict", content=slowly(), headers=length).status_code
            )
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    try:
        # They hold both places before their photos have arrived: the proxy passes them on.
        for _ in range(500):
            if behind.get("/health").json()["admitted_photos"] == 2:
                break
            time.sleep(0.02)
        full = client.post("/predict", content=jpeg(side=500))
        assert full.status_code == 429 and int(full.headers["retry-after"]) >= 1
    finally:
        go_on.set()
        for thread in threads:
            thread.join()
    assert held == [200, 200]
