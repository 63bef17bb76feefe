# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of the tests' own, by openssl(1)."""

import pathlib
import subprocess
import tempfile


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    def __init__(self, folder=None, name="ca"):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="hearth-ca."))
        self.certificate, self.key = self.folder / (name + ".crt"), self.folder / (name + ".key")
        openssl("req", "-x509", *NEW_KEY, "-days", 30, "-subj", "/CN=" + name,
                "-keyout", self.key, "-out", self.certificate)

    def issue(self, name, alternatives, usage, dates=("-days", 10)):
        """PATH of the certificate and of its key. @dates may be in the past."""
        certificate, key, request, more = (self.folder / (name + end)
                                           for end in (".crt", ".key", ".csr", ".ext"))
        lines = ["extendedKeyUsage=" + usage]
        if alternatives:
            lines.append("subjectAltName=" + alternatives)
        more.write_text("\n".join(lines) + "\n")
        openssl("req", *NEW_KEY, "-subj", "/CN=" + name, "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", *dates, "-extfile", more, "-out", certificate)
        return certificate, key

    def server(self, name="server", **more):
        return self.issue(name, "DNS:localhost,IP:127.0.0.1", "serverAuth", **more)

    def client(self, name="client", alternatives=None, **more):
        return self.issue(name, alternatives, "clientAuth", **more)
