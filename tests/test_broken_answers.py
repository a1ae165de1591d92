"""What phones take for an answer: one that is whole, and no part of it."""

import socket
import threading

import pytest

from scripts.simulation.wire import NoAnswer, Wire

ANSWER = b'HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length: 15\r\netag: "a"\r\n\r\n{"accepted": 1}'


def ask(answer: bytes) -> object:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_once, args=(listener, answer))
        thread.start()
        try:
            return Wire(f"http://127.0.0.1:{listener.getsockname()[1]}").ask("GET", "/x").content
        finally:
            thread.join()


def answer_once(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


def test_a_whole_answer_is_one() -> None:
    assert ask(ANSWER) == {"accepted": 1}


def test_no_part_of_an_answer_is_one() -> None:
    for length in range(len(ANSWER)):
        with pytest.raises(NoAnswer):
            ask(ANSWER[:length])
