# SPDX-License-Identifier: Apache-2.0
"""A resolver for tests: resolver.py ADDRESS NAME=ADDRESS... Answers A queries by UDP on port 53 for
these names, with a time to live of a minute; others do not exist. Prints each name it is asked for."""

import socket
import struct
import sys

NXDOMAIN, TYPE_A = 3, 1


def name_of(message):
    at, labels = 12, []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels).lower(), at + 1


def answer(message, known):
    name, end = name_of(message)
    kind = struct.unpack_from(">H", message, end)[0]
    address = known.get(name) if kind == TYPE_A else None
    code = 0 if name in known else NXDOMAIN
    reply = message[:2] + struct.pack(">5H", 0x8180 | code, 1, 1 if address else 0, 0, 0)
    reply += message[12:end + 4]
    if address:
        reply += struct.pack(">HHHIH", 0xc00c, TYPE_A, 1, 60, 4) + socket.inet_aton(address)
    print(name, flush=True)
    return reply


def main():
    own, *pairs = sys.argv[1:]
    known = dict(pair.split("=") for pair in pairs)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((own, 53))
        while True:
            message, client = server.recvfrom(4096)
            server.sendto(answer(message, known), client)


if __name__ == "__main__":
    main()
