# SPDX-License-Identifier: Apache-2.0
"""The operation of the server: its start, its end, and the replacement of the package."""

import concurrent.futures
import json
import re
import shutil
import socket
import subprocess
import sys
import time

from src.package import load_model
from tests.conftest import ROOT
from tests.inference_requests import LINES, are_close, tensor
from tests.processes import assert_refused
from tests.serving import INFER, Server, serving_python


def test_a_signal_drains_the_requests_in_progress(packages, tmp_path, expected):
    body = json.dumps({"inputs": [tensor("rows", LINES)]}).encode()
    with Server(packages[0], tmp_path / "log") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:100])
            time.sleep(0.5)
            server.stop()
            server.wait_for_line("stopping")
            wait_until_refused(server.port)
            connection.sendall(body[100:])
            response = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        head, _, content = response.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert are_close(json.loads(content)["outputs"][0]["data"], expected)
        assert server.process.wait(10) == 0


def wait_until_refused(port):
    """Wait until a port accepts no connections."""
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.02)
    raise AssertionError("new connections are still accepted")


def put_in_place(package, link):
    """Let a symbolic link lead to another package, in one step."""
    partial = link.with_name("next")
    partial.symlink_to(package)
    partial.rename(link)


def test_a_new_package_replaces_the_old_one_without_a_dropped_request(packages, tmp_path):
    link = tmp_path / "model"
    put_in_place(packages[0], link)
    expected = [load_model(package).predict(LINES[:20]) for package in packages]
    assert not are_close(*expected)
    with Server(link, tmp_path / "log") as server:
        versions = [server.version, None]
        is_done = False

        def ask():
            answers = []
            while not is_done:
                response = server.infer(tensor("rows", LINES[:20]))
                answers.append((response.content["model_version"], response.probabilities))
            return answers

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            for number in (1, 0, 1):
                put_in_place(packages[number], link)
                versions[number] = server.wait_for_line(rf"version (\w+) replaces {versions[1 - number]}\n$")[1]
            is_done = True
            answers = [answer for each in asking for answer in each.result()]
        assert {version for version, _ in answers} == set(versions)
        for version, probabilities in answers:
            assert are_close(probabilities, expected[versions.index(version)])
        assert server.metric('packages_total{result="loaded"}') == 4


def test_a_broken_package_is_refused_in_one_line_and_the_old_one_stays(packages, tmp_path):
    link, broken = tmp_path / "model", tmp_path / "broken"
    put_in_place(packages[0], link)
    shutil.copytree(packages[1], broken)
    with (broken / "model.onnx").open("r+b") as file:
        file.truncate(1000)
    with Server(link, tmp_path / "log") as server:
        put_in_place(broken, link)
        server.wait_for_line("refused a new package")
        assert server.infer(tensor("rows", LINES[:1])).content["model_version"] == server.version
        assert len(server.log.splitlines()) == 2 and "model.onnx" in server.log
        shutil.copy(packages[1] / "model.onnx", broken / "model.onnx")  # the same folder, repaired
        server.wait_for_line(f"replaces {server.version}")
        assert server.metric('packages_total{result="refused"}') == 1


def run_serve(*flags):
    command = [serving_python(), ROOT / "serve.py", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def test_mistakes_end_in_one_line(packages, tmp_path, server):
    assert_refused(run_serve(), "--model_path is missing")
    assert_refused(run_serve("--modelpath=x"), "--model_path")
    assert_refused(run_serve(f"--model_path={packages[0]}", "--port=99999"), "port=99999", "at most 65535")
    assert_refused(run_serve(f"--model_path={packages[0]}", "--max_body_mb=3000"), "max_body_mb=3000", "at most 1000")
    assert_refused(run_serve(f"--model_path={tmp_path}", "--port=0"), "holds no package.json")
    assert_refused(run_serve(f"--model_path={tmp_path}/none", "--port=0"), "none")
    assert_refused(run_serve(f"--model_path={packages[0]}", f"--port={server.port}"), f"--port={server.port}")
    taken = run_serve(f"--model_path={packages[0]}", "--port=0", f"--grpc_port={server.grpc_port}")
    assert_refused(taken, "--grpc_port", str(server.grpc_port))


def test_an_environment_without_the_packages_is_told_what_to_install(packages):
    finished = subprocess.run(
        [sys.executable, ROOT / "serve.py", f"--model_path={packages[0]}"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert_refused(finished, "requirements-serve.txt")


def test_the_environment_of_the_server_has_no_mindspore_and_importing_does_nothing():
    modules = ", ".join(f"src.serving.{path.stem}" for path in sorted((ROOT / "src" / "serving").glob("[!_]*.py")))
    code = f"import sys; sys.argv = ['x', '--none']; import serve, {modules}; sys.exit('mindspore' in sys.modules)"
    finished = subprocess.run([serving_python(), "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    listed = subprocess.run([serving_python(), "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"^(mindspore|torch|tensorflow)\b", listed, re.M | re.I)
